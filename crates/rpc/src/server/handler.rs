//! One operation at work: polled where its stream is polled, never a task of its own.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use lamina_env::time::Instant;
use lamina_types::{Error, Reason, Result};

/// What a service does for one request.
pub type Work<A> = Pin<Box<dyn Future<Output = Result<A>> + Send>>;

/// One operation at work.
pub struct Handler<A> {
    /// The client's id for it.
    pub id: u64,
    /// The name of its request.
    pub operation: &'static str,
    /// When it was received.
    pub since: Instant,
    /// The bytes of its request, which count against the credits until it is answered.
    pub bytes: usize,
    trace: u128,
    work: Option<Work<A>>,
    /// For operations that can be cancelled: wakes the handler for that.
    waker: Option<Option<Waker>>,
}

/// What is left of a handler.
pub struct Finished<A> {
    pub id: u64,
    pub operation: &'static str,
    pub since: Instant,
    pub bytes: usize,
    pub answer: Result<A>,
}

impl<A> Handler<A> {
    pub fn new(
        id: u64,
        operation: &'static str,
        trace: u128,
        cancellable: bool,
        work: Work<A>,
    ) -> Handler<A> {
        Handler {
            id,
            operation,
            since: lamina_env::time::now(),
            bytes: 0,
            trace,
            work: Some(work),
            waker: cancellable.then_some(None),
        }
    }

    /// Nobody wants the answer any more: the work is dropped, and the handler answers with an error.
    pub fn cancel(&mut self) {
        if let Some(waker) = &mut self.waker {
            self.work = None;
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }

    fn finished(&mut self, answer: Result<A>) -> Poll<Finished<A>> {
        // Dropped here, so that nothing of the work outlives its answer.
        self.work = None;
        let (id, operation, since, bytes) = (self.id, self.operation, self.since, self.bytes);
        Poll::Ready(Finished { id, operation, since, bytes, answer })
    }
}

impl<A> Future for Handler<A> {
    type Output = Finished<A>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Finished<A>> {
        let this = &mut *self;
        let Some(work) = &mut this.work else {
            let error = Error::new(Reason::DeadlineExceeded, "the caller did not wait for the answer");
            return this.finished(Err(error));
        };
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Ready(answer)) => this.finished(answer),
            Ok(Poll::Pending) => {
                if let Some(waker) = &mut this.waker {
                    *waker = Some(context.waker().clone());
                }
                Poll::Pending
            }
            Err(panic) => {
                let error = panicked(this.operation, this.trace, panic.as_ref());
                this.finished(Err(error))
            }
        }
    }
}

/// What is answered for a handler that panicked; the panic's own words go to the log only.
pub fn panicked(operation: &str, trace: u128, panic: &(dyn Any + Send)) -> Error {
    let words = panic
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    let request_id = format!("{trace:032x}");
    tracing::error!(operation, request_id, words, "a handler has panicked");
    let message = format!("{operation} failed by a defect in Lamina; its request id is {request_id}");
    Error::new(Reason::Bug, message).with("request_id", request_id)
}
