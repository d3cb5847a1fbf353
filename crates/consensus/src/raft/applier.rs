//! The apply worker: owns the state machine, applies entries in order, hands out pictures, takes in snapshots.

use std::io;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use lamina_engine::wal::{LogPoint, Record};
use lamina_env::watch;
use lamina_types::LogIndex;
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::log::GroupLog;
use super::types::{Answer, Entry, LogId, SnapshotMeta, StoredMembership, Types, log_id, point};
use crate::checkpoint::{Checked, Checkpoint, Head, Shelf};
use crate::machine::{Frozen, StateMachine, Stop};
use crate::raft::entry;

/// Entries that are applied before readers and proposers are told.
const TELL_EVERY: usize = 256;

/// A picture of a machine, with what belongs to it.
pub struct Picture {
    /// What its file will say.
    pub head: Head,
    /// The state.
    pub frozen: Box<dyn Frozen>,
}

/// The data of a snapshot, as the library passes them on.
pub enum SnapshotFile {
    /// A checkpoint of this replica.
    Here(Arc<Checkpoint>),
    /// One that came from the leader, and is not in its place yet: the library first cuts what contradicts it.
    Came(Checked),
}

/// What the apply worker shares with the replica.
pub struct Shared {
    /// The log.
    pub log: GroupLog,
    /// The checkpoints.
    pub shelf: Shelf,
    /// How far the state goes, as the index after the last applied entry; 0: nothing.
    pub applied: watch::Sender<u64>,
    /// Why the replica stopped, if the machine said so.
    pub stopped: watch::Sender<Option<Stop>>,
    /// Something was applied: look whether a checkpoint is due.
    pub progress: Notify,
    /// Bytes of entries that stay in memory.
    pub cache_bytes: usize,
}

/// The apply worker of one replica.
pub struct Applier<M> {
    machine: M,
    shared: Arc<Shared>,
    applied: Option<LogId>,
    members: StoredMembership,
}

impl<M: StateMachine> Applier<M> {
    /// A worker over a machine in its first state.
    pub fn new(machine: M, shared: Arc<Shared>) -> Applier<M> {
        Applier { machine, shared, applied: None, members: StoredMembership::default() }
    }

    /// A picture of the present state.
    pub fn picture(&self) -> Picture {
        let mut members = Vec::new();
        entry::put_stored_members(&mut members, &self.members);
        let head = Head {
            group: self.shared.log.owner().group,
            at: self.applied.as_ref().map(point),
            members: members.into(),
        };
        Picture { head, frozen: self.machine.freeze() }
    }

    /// Readers see the state, then those who proposed get their answers.
    fn tell(&mut self, answers: &mut Vec<(ApplyResponder<Types>, Answer)>) {
        let Some(applied) = &self.applied else { return };
        let index = applied.index;
        self.machine.applied(LogIndex(index));
        self.shared.applied.send_if_modified(|next| std::mem::replace(next, index + 1) != index + 1);
        for (responder, answer) in answers.drain(..) {
            responder.send(answer);
        }
        self.shared.log.table().applied(index, self.shared.cache_bytes);
        self.shared.progress.notify_one();
    }

    fn apply_one(&mut self, entry: Entry) -> io::Result<Answer> {
        // Entry 0 comes first; a log that was cut is behind a checkpoint.
        let expected = self.applied.as_ref().map_or(0, |applied| applied.index + 1);
        if entry.log_id.index != expected && self.applied.is_some() {
            return Err(self.stop(Stop(format!(
                "entry {} was to be applied where entry {expected} is due",
                entry.log_id.index
            ))));
        }
        let answer = match entry.payload {
            EntryPayload::Blank => Answer::default(),
            EntryPayload::Normal(proposal) => {
                match self.machine.apply(LogIndex(entry.log_id.index), proposal.0) {
                    Ok(outcome) => Answer::new(outcome),
                    Err(stop) => return Err(self.stop(stop)),
                }
            }
            EntryPayload::Membership(members) => {
                self.members = StoredMembership::new(Some(entry.log_id), members);
                Answer::default()
            }
        };
        self.applied = Some(entry.log_id);
        Ok(answer)
    }

    fn stop(&self, stop: Stop) -> io::Error {
        let owner = self.shared.log.owner();
        tracing::error!(group = %owner.group, replica = %owner.replica, %stop, "a replica stops");
        self.shared.stopped.send(Some(stop.clone()));
        io::Error::new(io::ErrorKind::InvalidData, stop)
    }
}

impl<M: StateMachine> RaftStateMachine<Types> for Applier<M> {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut answers = Vec::new();
        let mut untold = 0;
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let answer = self.apply_one(entry)?;
            answers.extend(responder.map(|responder| (responder, answer)));
            untold += 1;
            if untold == TELL_EVERY {
                untold = 0;
                self.tell(&mut answers);
            }
        }
        if untold > 0 {
            self.tell(&mut answers);
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        if force {
            return Some(self.get_snapshot_builder().await);
        }
        // Our keeper made the checkpoint before it asked the library to look: only show it.
        let current = self.shared.shelf.current()?;
        Some(Builder { shared: self.shared.clone(), what: What::Ready(current) })
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { shared: self.shared.clone(), what: What::Picture(Mutex::new(Some(self.picture()))) }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotFile) -> Result<(), io::Error> {
        let checkpoint = match data {
            SnapshotFile::Here(checkpoint) => checkpoint,
            SnapshotFile::Came(checked) => {
                // The library has cut the log where it contradicts the snapshot. That cut must be durable first:
                // a checkpoint beside a log that contradicts it could not be opened again.
                let log = &self.shared.log;
                log.wal().submit_and_wait(log.table().clone(), Vec::new()).await?;
                self.shared.shelf.place(checked).await?
            }
        };
        note_checkpoint(&self.shared, checkpoint.head.at).await?;
        if let (Some(applied), Some(last)) = (&self.applied, &meta.last_log_id)
            && applied.index >= last.index
        {
            return Ok(());
        }
        let pieces = checkpoint.pieces().await?;
        let index = meta.last_log_id.as_ref().map_or(0, |last| last.index);
        if let Err(stop) = self.machine.restore(LogIndex(index), &mut pieces.into_iter()) {
            return Err(self.stop(stop));
        }
        self.applied = meta.last_log_id;
        self.members = meta.last_membership.clone();
        self.tell(&mut Vec::new());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<LibrarySnapshot>, io::Error> {
        self.shared.shelf.current().map(snapshot_of).transpose()
    }
}

/// The library's snapshot.
pub type LibrarySnapshot = openraft::type_config::alias::SnapshotOf<Types, SnapshotFile>;

/// The library's snapshot of a checkpoint.
///
/// # Errors
/// `InvalidData`: the members in it cannot be read.
pub fn snapshot_of(checkpoint: Arc<Checkpoint>) -> io::Result<LibrarySnapshot> {
    Ok(Snapshot { meta: meta_of(&checkpoint.head)?, snapshot: SnapshotFile::Here(checkpoint) })
}

/// What the library knows of a checkpoint.
///
/// # Errors
/// `InvalidData`: the members in it cannot be read.
pub fn meta_of(head: &Head) -> io::Result<SnapshotMeta> {
    let mut reader = lamina_types::wire::Reader::new(head.members.clone());
    let members = entry::get_stored_members(&mut reader)
        .and_then(|members| reader.end().map(|()| members))
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(SnapshotMeta { last_log_id: head.at.map(log_id), last_membership: members })
}

/// Says in the log that a checkpoint is durable.
async fn note_checkpoint(shared: &Shared, at: Option<LogPoint>) -> io::Result<()> {
    let Some(at) = at else { return Ok(()) };
    let log = &shared.log;
    if log.table().lock().checkpoint.is_some_and(|known| known.index >= at.index) {
        return Ok(());
    }
    let record = Record::Checkpoint(log.owner(), at);
    log.wal().submit_and_wait(log.table().clone(), vec![record]).await?;
    log.table().lock().checkpointed(at);
    Ok(())
}

/// Writes a picture to a file and makes it the current checkpoint, once everything in it is synced in this
/// replica's own log (protocols §8.2, openraft.md trap 2.16).
///
/// # Errors
/// What the disk or the log says.
pub async fn keep(shared: &Shared, picture: Picture) -> io::Result<Arc<Checkpoint>> {
    let at = picture.head.at;
    let draft = shared.shelf.write(picture.head, picture.frozen).await?;
    if let Some(at) = at {
        let mut synced = shared.log.table().synced();
        let waited = synced.wait_for(|next| *next > at.index).await.map(|_| ());
        waited.map_err(io::Error::other)?;
    }
    let checked = shared.shelf.check(draft).await?;
    let checkpoint = shared.shelf.place(checked).await?;
    note_checkpoint(shared, checkpoint.head.at).await?;
    Ok(checkpoint)
}

/// Makes the library's snapshot.
pub struct Builder {
    shared: Arc<Shared>,
    what: What,
}

enum What {
    Ready(Arc<Checkpoint>),
    Picture(Mutex<Option<Picture>>),
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<LibrarySnapshot, io::Error> {
        let checkpoint = match &mut self.what {
            What::Ready(current) => current.clone(),
            What::Picture(picture) => {
                let picture =
                    picture.lock().take().ok_or_else(|| io::Error::other("the picture was taken before"))?;
                keep(&self.shared, picture).await?
            }
        };
        snapshot_of(checkpoint)
    }
}
