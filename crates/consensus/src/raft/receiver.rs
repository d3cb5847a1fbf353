//! Snapshots that come in pieces. One transfer at a time; the same one may go on after its connection was lost.

use std::io;

use bytes::Bytes;
use tokio::sync::Mutex;

use super::frame::{Answer, Transfer};
use crate::checkpoint::shelf::Draft;
use crate::checkpoint::{Checked, Shelf};

/// Takes in snapshots of one replica.
#[derive(Default)]
pub struct Receiver {
    incoming: Mutex<Option<Incoming>>,
}

struct Incoming {
    transfer: Transfer,
    length: u64,
    offset: u64,
    draft: Draft,
}

impl Receiver {
    /// A transfer begins, or goes on: answers from which byte.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn begin(&self, shelf: &Shelf, transfer: Transfer, length: u64) -> io::Result<Answer> {
        let mut incoming = self.incoming.lock().await;
        if let Some(known) =
            incoming.as_ref().filter(|known| known.transfer == transfer && known.length == length)
        {
            return Ok(Answer::SnapshotAt(Some(known.offset)));
        }
        if let Some(other) = incoming.take() {
            shelf.discard(other.draft).await;
        }
        let draft = shelf.draft("incoming").await?;
        *incoming = Some(Incoming { transfer, length, offset: 0, draft });
        Ok(Answer::SnapshotAt(Some(0)))
    }

    /// A piece: answers from which byte to go on.
    ///
    /// # Errors
    /// What the disk says; the transfer is given up.
    pub async fn piece(
        &self,
        shelf: &Shelf,
        transfer: Transfer,
        offset: u64,
        bytes: Bytes,
    ) -> io::Result<Answer> {
        let mut slot = self.incoming.lock().await;
        let Some(incoming) = slot.as_mut().filter(|incoming| incoming.transfer == transfer) else {
            return Ok(Answer::SnapshotAt(None));
        };
        let end = offset + bytes.len() as u64;
        // A piece that came before, because its answer was lost, changes nothing.
        if offset == incoming.offset && end <= incoming.length {
            if let Err(error) = incoming.draft.file.write_at(offset, vec![bytes]).await {
                if let Some(incoming) = slot.take() {
                    shelf.discard(incoming.draft).await;
                }
                return Err(error);
            }
            incoming.offset = end;
        }
        Ok(Answer::SnapshotAt(Some(incoming.offset)))
    }

    /// The transfer is complete: what it brought. `None`: it is not complete, or damaged.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn end(&self, shelf: &Shelf, transfer: Transfer) -> io::Result<Option<Checked>> {
        let mut slot = self.incoming.lock().await;
        if slot.as_ref().is_none_or(|known| known.transfer != transfer || known.offset != known.length) {
            return Ok(None);
        }
        let Some(incoming) = slot.take() else { return Ok(None) };
        match shelf.check(incoming.draft).await {
            Ok(checked) => Ok(Some(checked)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(%error, "a snapshot came damaged and is asked for again");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
