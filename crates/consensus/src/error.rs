//! What can go wrong, and what it says about the entry.

use std::io;

use lamina_engine::wal::WalCorrupt;
use lamina_types::{GroupId, ReplicaId};

/// Why the log of a volume, or a replica on it, cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// `WAL_CORRUPT`: synced bytes are damaged. The process stops, and the node is replaced under a new identity:
    /// it may have lost a vote, so it must not repair itself (protocols §8.1).
    #[error("the log on this volume cannot be used ({0}): replace the node under a new identity")]
    Corrupt(#[from] WalCorrupt),
    /// `WAL_CORRUPT`: the log is whole, but entries or a checkpoint of one replica are not.
    #[error(
        "replica {replica} of group {group} cannot be restored ({what}): replace the node under a new identity"
    )]
    ReplicaCorrupt {
        /// The group.
        group: GroupId,
        /// The replica.
        replica: ReplicaId,
        /// What is missing or damaged.
        what: String,
    },
    /// The replica was deleted from this volume, or is open already: its id stands for one log for ever (Q1).
    #[error(
        "replica {replica} of group {group} was deleted here or is open already: its id is not used again"
    )]
    IdUsed {
        /// The group.
        group: GroupId,
        /// The replica.
        replica: ReplicaId,
    },
    /// A file has a format that this program does not know (rule G3).
    #[error("{what} has a format that this program does not know: start the version that wrote it")]
    Level {
        /// Which file.
        what: String,
    },
    /// The operating system refused.
    #[error("the log's files cannot be used: {0}")]
    Io(#[from] io::Error),
    /// Raft refused to start with what was found.
    #[error("replica {replica} of group {group} does not start: {what}")]
    Raft {
        /// The group.
        group: GroupId,
        /// The replica.
        replica: ReplicaId,
        /// What the library said.
        what: String,
    },
}

/// The shared log cannot go on: the process must end. Nothing more is acknowledged.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogFailure {
    /// A write or a sync failed. It is never tried again: after a failed sync the page cache may show bytes that
    /// the disk never got.
    #[error(
        "writing or syncing the log failed ({0}): the process ends, and starts again from what is on disk"
    )]
    SyncFailed(String),
    /// The next segment could not be made, for another reason than lack of room.
    #[error("the next segment of the log cannot be made ({0}): the process ends")]
    SegmentFailed(String),
}

/// Why a proposal has no result.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProposeError {
    /// This replica does not lead in that term. Definitely not done.
    #[error("this replica does not lead the group in that term")]
    NotLeader {
        /// Who may.
        leader: Option<ReplicaId>,
    },
    /// The disk has no room for the log. Definitely not done.
    #[error("the disk is full: nothing was done")]
    Full,
    /// It may or may not be done, now or later (rule G4).
    #[error("the leader lost its term before it saw the result: the entry may or may not take effect")]
    Unknown,
    /// The replica has stopped. The entry did not enter the log here.
    #[error("the replica has stopped")]
    Stopped,
}

/// Why a leadership round failed. No read may be answered from it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RoundError {
    /// This replica does not lead.
    #[error("this replica does not lead the group")]
    NotLeader {
        /// Who may.
        leader: Option<ReplicaId>,
    },
    /// No majority confirmed in time that no higher term exists.
    #[error("no majority of the group answers")]
    NoQuorum,
    /// The replica has stopped.
    #[error("the replica has stopped")]
    Stopped,
}

/// Why a change of members did not happen, or is not known to have happened. All of them may be repeated.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MemberError {
    /// This replica does not lead.
    #[error("this replica does not lead the group")]
    NotLeader {
        /// Who may.
        leader: Option<ReplicaId>,
    },
    /// Another change is under way.
    #[error("another change of members is under way")]
    InProgress,
    /// The change is not possible: a voter that was no learner before, no voter left, a replica that is not pristine.
    #[error("the members cannot be changed so: {0}")]
    Refused(String),
    /// The leader changed meanwhile: look at the members, and repeat.
    #[error("the leader changed meanwhile: the change may or may not be done")]
    Unknown,
    /// It did not happen in the time that it may take.
    #[error("it did not happen in time")]
    Timeout,
    /// The log or the replica has stopped.
    #[error("the replica has stopped")]
    Stopped,
}
