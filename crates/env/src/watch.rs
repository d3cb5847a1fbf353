//! One value that many wait on. As `tokio::sync::watch`, but waiters wake in the order in which they came: tokio's
//! picks the order by a random number of its own, which would make two runs of one seed differ.

use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::Notify;

/// The writing side. Cheap to clone.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

/// A reading side, which remembers what it has seen.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
    _alive: Arc<ReceiverToken>,
}

/// All senders are gone; the value will not change any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("nobody can change the value any more")]
pub struct Closed;

/// The present value; writers wait as long as this is held.
pub type Ref<'a, T> = parking_lot::MappedRwLockReadGuard<'a, T>;

#[derive(Debug)]
struct Shared<T> {
    state: RwLock<State<T>>,
    changed: Notify,
    receivers: Arc<ReceiverToken>,
}

#[derive(Debug)]
struct State<T> {
    value: T,
    version: u64,
    senders: usize,
}

#[derive(Debug)]
struct ReceiverToken;

/// A new value with one sender and one receiver that has seen it.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender(Arc::new(Shared {
        state: RwLock::new(State { value, version: 0, senders: 1 }),
        changed: Notify::new(),
        receivers: Arc::new(ReceiverToken),
    }));
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    /// Replaces the value and wakes all who wait.
    pub fn send(&self, value: T) {
        self.send_if_modified(|present| {
            *present = value;
            true
        });
    }

    /// Changes the value in place; wakes those who wait iff `modify` says that it did.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = {
            let mut state = self.0.state.write();
            let modified = modify(&mut state.value);
            if modified {
                state.version += 1;
            }
            modified
        };
        if modified {
            self.0.changed.notify_waiters();
        }
        modified
    }

    /// The present value.
    pub fn borrow(&self) -> Ref<'_, T> {
        RwLockReadGuard::map(self.0.state.read(), |state| &state.value)
    }

    /// A receiver that has seen the present value.
    pub fn subscribe(&self) -> Receiver<T> {
        let seen = self.0.state.read().version;
        Receiver { shared: self.0.clone(), seen, _alive: self.0.receivers.clone() }
    }

    /// How many receivers there are.
    pub fn receiver_count(&self) -> usize {
        Arc::strong_count(&self.0.receivers) - 1
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.state.write().senders += 1;
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let last = {
            let mut state = self.0.state.write();
            state.senders -= 1;
            state.senders == 0
        };
        if last {
            self.0.changed.notify_waiters();
        }
    }
}

impl<T> Receiver<T> {
    /// Waits until the value has changed since this receiver last looked.
    ///
    /// # Errors
    /// [`Closed`]: it has not, and all senders are gone.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            let shared = self.shared.clone();
            let notified = shared.changed.notified();
            let mut notified = std::pin::pin!(notified);
            // Enlisted before the look, so that a change between look and wait is not missed.
            notified.as_mut().enable();
            {
                let state = self.shared.state.read();
                if state.version != self.seen {
                    self.seen = state.version;
                    return Ok(());
                }
                if state.senders == 0 {
                    return Err(Closed);
                }
            }
            notified.await;
        }
    }

    /// Waits until `condition` holds for the value, which may be at once.
    ///
    /// # Errors
    /// [`Closed`]: it does not hold, and all senders are gone.
    pub async fn wait_for(&mut self, mut condition: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, Closed> {
        loop {
            if condition(&self.borrow()) {
                return Ok(self.borrow_and_update());
            }
            self.changed().await?;
        }
    }

    /// The present value.
    pub fn borrow(&self) -> Ref<'_, T> {
        RwLockReadGuard::map(self.shared.state.read(), |state| &state.value)
    }

    /// The present value, which counts as seen.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let state = self.shared.state.read();
        self.seen = state.version;
        RwLockReadGuard::map(state, |state| &state.value)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        Receiver { shared: self.shared.clone(), seen: self.seen, _alive: self._alive.clone() }
    }
}

#[cfg(test)]
mod tests;
