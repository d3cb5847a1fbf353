//! Client writes on their way to the writer of their group.

use lamina_group::data::WriteOutcome;
use lamina_group::data::entry::ClientWrite;
use lamina_types::{Error, Reason, Result};
use tokio::sync::{mpsc, oneshot};

use crate::heart::refusals::outcome_unknown;

/// Client writes that wait at most.
const QUEUE: usize = 16 << 10;

/// A client write that waits for its result.
pub struct Pending {
    /// The write.
    pub write: ClientWrite,
    /// Where the result goes.
    pub answer: oneshot::Sender<Result<WriteOutcome>>,
}

/// Where client writes are handed in.
pub struct Inbox(mpsc::Sender<Pending>);

/// What was handed in, for the writer.
pub struct Queue(mpsc::Receiver<Pending>);

impl Inbox {
    /// An inbox and its other end.
    pub fn new() -> (Inbox, Queue) {
        let (inbox, queue) = mpsc::channel(QUEUE);
        (Inbox(inbox), Queue(queue))
    }

    /// Hands a write in and waits until it is applied.
    ///
    /// # Errors
    /// `NOT_OWNER`, `DISK_FULL`, `OVERLOADED`: not done. `OUTCOME_UNKNOWN`: nobody knows.
    pub async fn write(&self, write: ClientWrite) -> Result<WriteOutcome> {
        let (answer, result) = oneshot::channel();
        self.0.try_send(Pending { write, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Error::new(Reason::Overloaded, "too many writes wait for the log; nothing was done")
                    .retry_after_ms(50)
            }
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })?;
        result.await.unwrap_or_else(|_| Err(outcome_unknown()))
    }
}

impl Queue {
    /// Waits for writes and takes up to `most` of them; 0: the host is gone.
    pub async fn take(&mut self, batch: &mut Vec<Pending>, most: usize) -> usize {
        self.0.recv_many(batch, most).await
    }
}

fn stopping() -> Error {
    Error::new(Reason::NotReady, "this node is stopping; ask another one")
}
