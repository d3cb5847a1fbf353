//! tokio for openraft, with three things of ours: tasks end with their node, random numbers come from the world's
//! seed, and watchers wake in order. So two runs of a seed are identical, without `tokio_unstable`.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use lamina_env::{random, task, watch};
use openraft::async_runtime::watch as port;
use openraft::impls::TokioRuntime as Tokio;
use openraft::{AsyncRuntime, OptionalSend, OptionalSync};
use rand::TryRng;

/// The runtime.
#[derive(Debug)]
pub struct Runtime(Tokio);

impl AsyncRuntime for Runtime {
    type JoinError = <Tokio as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Tokio as AsyncRuntime>::Sleep;
    type Instant = <Tokio as AsyncRuntime>::Instant;
    type TimeoutError = <Tokio as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <Tokio as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = EnvRng;
    type Mpsc = <Tokio as AsyncRuntime>::Mpsc;
    type Watch = EnvWatch;
    type Oneshot = <Tokio as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        task::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Tokio::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Tokio::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        Tokio::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Tokio::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        Tokio::is_panic(join_error)
    }

    fn thread_rng() -> EnvRng {
        EnvRng
    }

    fn new(threads: usize) -> Runtime {
        Runtime(Tokio::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

/// Draws from [`lamina_env::random`].
#[derive(Debug)]
pub struct EnvRng;

impl TryRng for EnvRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(random::u64() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(random::u64())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        random::with(|rng| rng.fill_bytes(out));
        Ok(())
    }
}

/// [`lamina_env::watch`] for openraft.
#[derive(Debug)]
pub struct EnvWatch;

/// The writing side.
#[derive(Debug)]
pub struct EnvSender<T>(watch::Sender<T>);

/// A reading side.
#[derive(Debug)]
pub struct EnvReceiver<T>(watch::Receiver<T>);

impl<T> Clone for EnvSender<T> {
    fn clone(&self) -> EnvSender<T> {
        EnvSender(self.0.clone())
    }
}

impl<T> Clone for EnvReceiver<T> {
    fn clone(&self) -> EnvReceiver<T> {
        EnvReceiver(self.0.clone())
    }
}

impl port::Watch for EnvWatch {
    type Sender<T: OptionalSend + OptionalSync> = EnvSender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = EnvReceiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = watch::Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (EnvSender<T>, EnvReceiver<T>) {
        let (sender, receiver) = watch::channel(init);
        (EnvSender(sender), EnvReceiver(receiver))
    }
}

impl<T: OptionalSend + OptionalSync> port::WatchSender<EnvWatch, T> for EnvSender<T> {
    fn send(&self, value: T) -> Result<(), port::SendError<T>> {
        if self.0.receiver_count() == 0 {
            return Err(port::SendError(value));
        }
        self.0.send(value);
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        self.0.send_if_modified(modify)
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.0.borrow()
    }

    fn subscribe(&self) -> EnvReceiver<T> {
        EnvReceiver(self.0.subscribe())
    }
}

impl<T: OptionalSend + OptionalSync> port::WatchReceiver<EnvWatch, T> for EnvReceiver<T> {
    async fn changed(&mut self) -> Result<(), port::RecvError> {
        self.0.changed().await.map_err(|_| port::RecvError(()))
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.0.borrow()
    }

    fn borrow_and_update(&mut self) -> watch::Ref<'_, T> {
        self.0.borrow_and_update()
    }
}
