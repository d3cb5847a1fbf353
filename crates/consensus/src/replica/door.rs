//! Frames from peers.

use std::io;

use bytes::Bytes;
use lamina_types::{Error, Reason, ReplicaId, Result};
use openraft::async_runtime::WatchReceiver;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::storage::Snapshot;

use super::{Replica, Types};
use crate::machine::StateMachine;
use crate::raft::applier::{LibrarySnapshot, SnapshotFile, meta_of, snapshot_of};
use crate::raft::entry::from_record;
use crate::raft::frame::{Answer, Append, Appended, Ask, Candidacy, Transfer};
use crate::raft::types::{log_id, point, saved_vote, vote};

impl<M: StateMachine> Replica<M> {
    /// Takes a frame from a peer of the group and answers it: the other side of [`crate::RaftWire`].
    ///
    /// # Errors
    /// `NOT_READY`: the replica is shut or has stopped. `STATE_REFUSED`: the sender is shut out. `FIELD_INVALID`:
    /// the frame cannot be read.
    pub async fn handle(&self, from: ReplicaId, frame: Bytes) -> Result<Bytes> {
        if !self.is_admitted() {
            return Err(Error::new(
                Reason::NotReady,
                "the replica is shut until the start of its node is registered",
            ));
        }
        if self.0.peers.is_shut_out(from.0) {
            return Err(Error::new(
                Reason::StateRefused,
                format!("replica {from} lost entries that it had acknowledged: replace its node"),
            ));
        }
        let ask = Ask::decode(frame).map_err(|error| Error::new(Reason::FieldInvalid, error.to_string()))?;
        let answer = match ask {
            Ask::Append(append) => self.appended(append).await?,
            Ask::Vote(candidacy) => {
                voted(self.0.raft.vote(candidate(candidacy)).await.map_err(|error| stopped(&error))?)
            }
            Ask::PreVote(candidacy) => {
                voted(self.0.raft.pre_vote(candidate(candidacy)).await.map_err(|error| stopped(&error))?)
            }
            Ask::Transfer { from, to, last } => {
                let request = TransferLeaderRequest::new(vote(from), to, last.map(log_id));
                let answer = self.0.raft.handle_transfer_leader(request).await;
                Answer::Transferred { accepted: answer.map_err(|error| stopped(&error))?.is_ok() }
            }
            Ask::SnapshotBegin { transfer, length, .. } => self
                .0
                .receiver
                .begin(&self.0.shared.shelf, transfer, length)
                .await
                .map_err(|error| disk(&error))?,
            Ask::SnapshotPiece { transfer, offset, bytes } => {
                let taken = self.0.receiver.piece(&self.0.shared.shelf, transfer, offset, bytes).await;
                taken.map_err(|error| disk(&error))?
            }
            Ask::SnapshotEnd { transfer, vote: leader } => self.install(transfer, vote(leader)).await?,
        };
        Ok(answer.encode())
    }

    async fn appended(&self, append: Append) -> Result<Answer> {
        let entries = append.entries.into_iter().map(|entry| from_record(entry.at, entry.payload));
        let entries: std::result::Result<_, _> = entries.collect();
        let request = AppendEntriesRequest::<Types> {
            vote: vote(append.vote),
            prev_log_id: append.previous.map(log_id),
            entries: entries.map_err(|error| {
                Error::new(Reason::FieldInvalid, format!("an entry cannot be read: {error}"))
            })?,
            leader_commit: append.committed.map(log_id),
        };
        let outcome = match self.0.raft.append_entries(request).await.map_err(|error| stopped(&error))? {
            AppendEntriesResponse::Success => Appended::All,
            AppendEntriesResponse::PartialSuccess(at) => Appended::UpTo(at.as_ref().map(point)),
            AppendEntriesResponse::Conflict => Appended::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Appended::HigherVote(saved_vote(&vote)),
        };
        Ok(Answer::Appended { outcome, clock_ms: self.0.peers.clock_ms() })
    }

    async fn install(&self, transfer: Transfer, leader: crate::raft::types::Vote) -> Result<Answer> {
        let shelf = &self.0.shared.shelf;
        let snapshot: LibrarySnapshot = if shelf.at() == Some(transfer.at) {
            // It is installed already, and the answer was lost.
            let Some(current) = shelf.current() else { return Ok(Answer::SnapshotDamaged) };
            snapshot_of(current).map_err(|error| disk(&error))?
        } else {
            let came = self.0.receiver.end(shelf, transfer).await.map_err(|error| disk(&error))?;
            let Some(checked) = came else { return Ok(Answer::SnapshotDamaged) };
            let meta = meta_of(checked.head()).map_err(|error| disk(&error))?;
            Snapshot { meta, snapshot: SnapshotFile::Came(checked) }
        };
        let installed =
            self.0.raft.install_full_snapshot(leader, snapshot).await.map_err(|error| stopped(&error))?;
        Ok(Answer::SnapshotDone { vote: saved_vote(&installed.vote) })
    }

    /// Whether the library has stopped.
    pub(crate) fn has_stopped(&self) -> bool {
        self.0.raft.metrics().borrow_watched().running_state.is_err()
    }
}

fn candidate(candidacy: Candidacy) -> VoteRequest<Types> {
    let mut request = VoteRequest::new(vote(candidacy.vote), candidacy.last.map(log_id));
    request.leadership_transfer = candidacy.transfer;
    request
}

fn voted(response: VoteResponse<Types>) -> Answer {
    Answer::Voted {
        vote: saved_vote(&response.vote),
        last: response.last_log_id.as_ref().map(point),
        granted: response.vote_granted,
    }
}

fn stopped<E: std::fmt::Display>(error: &E) -> Error {
    Error::new(Reason::NotReady, format!("the replica has stopped: {error}"))
}

fn disk(error: &io::Error) -> Error {
    let reason = if error.kind() == io::ErrorKind::StorageFull { Reason::DiskFull } else { Reason::NotReady };
    Error::new(reason, format!("the snapshot cannot be taken in: {error}"))
}
