//! What an entry brought. Every replica computes it; the proposer answers its caller from it.

use lamina_engine::tree::Refused;
use lamina_types::{
    Error, Level, LogIndex, NodeId, Reason, Reign, Result, SnapshotId, TableId, TabletId, Version,
};

/// What an entry brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A reign began.
    ReignBegun {
        /// The reign: the index of the entry.
        reign: Reign,
    },
    /// One result for each client write, in order.
    Writes(Vec<WriteOutcome>),
    /// The clock stands here now.
    Ticked {
        /// The last version.
        last_version: Version,
    },
    /// The snapshot is pinned, by this entry or by an earlier one.
    Pinned {
        /// The version that it reads.
        at: Version,
        /// It ends at this millisecond of the group's clock.
        expires_ms: u64,
    },
    /// Pins were given up.
    Unpinned {
        /// Those that stood.
        removed: Vec<SnapshotId>,
    },
    /// The read floor stands here now.
    FloorRaised {
        /// The read floor.
        floor: Version,
    },
    /// The active memtable became a memory view.
    Rotated {
        /// Names the memory view within its tablet: the index of the entry.
        rotated_at: LogIndex,
    },
    /// The memory view is gone, its tables are live.
    Flushed,
    /// The inputs were replaced by the outputs.
    Compacted {
        /// Tables that no view names any more.
        left: Vec<TableId>,
    },
    /// The list of copies was replaced.
    CopiesSet {
        /// Its new revision.
        rev: u64,
    },
    /// The tablet was cut in two.
    Split {
        /// The new tablet, on the right.
        right: TabletId,
    },
    /// The ban was stored.
    BanSet,
    /// The tablet has the new index shard.
    ShardSet,
    /// The configuration was replaced.
    ConfigSet,
    /// The level was raised.
    LevelSet {
        /// The level.
        level: Level,
    },
    /// A precondition did not hold; nothing was changed.
    Refused(Refusal),
}

impl Outcome {
    /// The outcome, or the refusal as an error.
    ///
    /// # Errors
    /// The entry had no effect.
    pub fn accepted(self) -> Result<Outcome, Refusal> {
        match self {
            Outcome::Refused(refusal) => Err(refusal),
            other => Ok(other),
        }
    }
}

/// What became of one client write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteOutcome {
    /// Done, now.
    Written {
        /// The version of all its operations.
        version: Version,
    },
    /// Done earlier under the same request id; this attempt changed nothing.
    Remembered {
        /// The version of the first attempt.
        version: Version,
    },
    /// The first key lies in no tablet of this group. Not done.
    NotOwner,
    /// Some keys lie in this group and some do not. Not done.
    BatchSpansGroups,
    /// Whether the conditions hold cannot be decided: the leader must read again and propose anew. Not done.
    Retry,
    /// A condition does not hold. Not done, and no other attempt with the same request id will be.
    ConditionFailed {
        /// Which, counted from 0.
        condition: u32,
        /// The version of the value that its key has; `None`: it has none.
        current: Option<Version>,
    },
    /// The window has forgotten this token. This attempt was not done, the fate of earlier ones is unknown.
    TokenExpired,
    /// The token's base lies ahead of the group's clock. Not done.
    ClockAhead,
    /// The client said that it has the answer to this request already. Not done again.
    AlreadyAnswered,
    /// Too many requests of this token are open. Not done.
    TooManyOpen,
    /// It has no operations. Not done.
    Empty,
}

impl WriteOutcome {
    /// The version, whether now or earlier.
    pub const fn version(&self) -> Option<Version> {
        match self {
            WriteOutcome::Written { version } | WriteOutcome::Remembered { version } => Some(*version),
            _ => None,
        }
    }

    /// The answer for the client. [`WriteOutcome::Retry`] is answered by the leader with another proposal; if it
    /// comes here all the same, it asks the client to repeat.
    ///
    /// # Errors
    /// Everything but a version. All of them mean that this attempt was not done.
    pub fn into_result(self) -> Result<Version> {
        let (reason, message) = match self {
            WriteOutcome::Written { version } | WriteOutcome::Remembered { version } => return Ok(version),
            WriteOutcome::NotOwner => {
                (Reason::NotOwner, "the group does not have the key; ask for the map again")
            }
            WriteOutcome::BatchSpansGroups => (
                Reason::BatchSpansGroups,
                "the keys of the batch lie in more than one group; split the batch",
            ),
            WriteOutcome::Retry => {
                (Reason::StateMoved, "the state moved on while the conditions were read; repeat the write")
            }
            WriteOutcome::ConditionFailed { condition, current } => {
                let error = Error::new(
                    Reason::ConditionFailed,
                    format!("condition {condition} does not hold; nothing was written"),
                );
                let error = error.with("condition", condition);
                return Err(match current {
                    Some(version) => error.with("version", version),
                    None => error,
                });
            }
            WriteOutcome::TokenExpired => (
                Reason::ClientTokenExpired,
                "the client token is older than what the tablet remembers; read, then write with a new token",
            ),
            WriteOutcome::ClockAhead => (
                Reason::ClockAhead,
                "the client token's base lies ahead of the group's clock; make a new token",
            ),
            WriteOutcome::AlreadyAnswered => {
                (Reason::AlreadyAnswered, "the client said that it has the answer to this request already")
            }
            WriteOutcome::TooManyOpen => {
                (Reason::TooManyOpen, "too many requests of this client token are open; wait for answers")
            }
            WriteOutcome::Empty => (Reason::BatchEmpty, "the batch has no operation"),
        };
        Err(Error::new(reason, message))
    }
}

/// Why an entry other than `Writes` had no effect.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The proposer's reign is over (rule G2).
    #[error("the entry was proposed in another reign than {current}; its leader is deposed")]
    StaleReign {
        /// The reign now.
        current: Reign,
    },
    /// No such tablet in this group.
    #[error("the group has no tablet {tablet}")]
    TabletUnknown {
        /// Which was named.
        tablet: TabletId,
    },
    /// The tablet was split, or otherwise changed, since.
    #[error("tablet {tablet} has generation {current} by now")]
    GenerationDiffers {
        /// The tablet.
        tablet: TabletId,
        /// Its generation.
        current: u64,
    },
    /// A pin below the read floor.
    #[error("the version lies below the read floor {floor}")]
    BelowFloor {
        /// The read floor.
        floor: Version,
    },
    /// A pin too far ahead of the clock.
    #[error("the version lies too far ahead of the group's clock")]
    PinAhead,
    /// As many pins as allowed.
    #[error("{limit} snapshots are open, more are not allowed")]
    TooManyPins {
        /// The limit.
        limit: u32,
    },
    /// Nothing to rotate.
    #[error("the active memtable of tablet {tablet} is empty")]
    MemtableEmpty {
        /// The tablet.
        tablet: TabletId,
    },
    /// The flushes lag behind.
    #[error("tablet {tablet} has {limit} memory views, more are not allowed")]
    TooManyImmutables {
        /// The tablet.
        tablet: TabletId,
        /// The limit.
        limit: u32,
    },
    /// It was flushed, or cut by a split.
    #[error("tablet {tablet} has no memory view of entry {rotated_at} with this range")]
    MemoryViewGone {
        /// The tablet.
        tablet: TabletId,
        /// The name of the memory view.
        rotated_at: LogIndex,
    },
    /// Tables of it would hide older entries that are still in memory.
    #[error("tablet {tablet} has a memory view older than that of entry {rotated_at} that overlaps it")]
    MemoryViewNotOldest {
        /// The tablet.
        tablet: TabletId,
        /// The name of the memory view.
        rotated_at: LogIndex,
    },
    /// Versions were dropped that may still be read.
    #[error("the floor of the entry lies above the read floor {floor}")]
    FloorNotReached {
        /// The read floor.
        floor: Version,
    },
    /// A table may not become live.
    #[error("table {table} may not become live: {why}")]
    Inadmissible {
        /// The table.
        table: TableId,
        /// Why.
        why: Inadmissible,
    },
    /// The tree does not take the edit.
    #[error("the tables of tablet {tablet} do not allow it: {why}")]
    Tree {
        /// The tablet.
        tablet: TabletId,
        /// Why.
        why: Refused,
    },
    /// No view names the table.
    #[error("table {table} is not live")]
    TableNotLive {
        /// The table.
        table: TableId,
    },
    /// The copies were changed since.
    #[error("the copies of table {table} have revision {current} by now")]
    RevisionDiffers {
        /// The table.
        table: TableId,
        /// The revision.
        current: u64,
    },
    /// A copy on a banned node.
    #[error("data node {node} takes no new copies")]
    NodeBanned {
        /// The node.
        node: NodeId,
    },
    /// A table needs a copy.
    #[error("the list of copies of table {table} would be empty")]
    NoCopies {
        /// The table.
        table: TableId,
    },
    /// The split key must leave both sides a key.
    #[error("the split key does not lie inside tablet {tablet}")]
    SplitKeyOutside {
        /// The tablet.
        tablet: TabletId,
    },
    /// A newer word on this node is known.
    #[error("the ban of data node {node} is newer already")]
    BanNotNewer {
        /// The node.
        node: NodeId,
    },
    /// Levels rise one by one.
    #[error("the level is {}, so the next one is {}", current.0, current.0.saturating_add(1))]
    LevelNotNext {
        /// The level now.
        current: Level,
    },
}

/// Why a table may not become live (protocols §3, *admissible*).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Inadmissible {
    /// Its id belongs to another group.
    #[error("its id is of another group")]
    OtherGroup,
    /// Its id was made in another reign.
    #[error("its id is of another reign")]
    OtherReign,
    /// It is live already, or named twice.
    #[error("it is live already, or named twice")]
    Live,
    /// Too few sealed copies on nodes that may have one.
    #[error("{left} copies on allowed nodes, {needed} needed")]
    TooFewCopies {
        /// Copies on nodes that are not banned.
        left: u32,
        /// The write quorum.
        needed: u32,
    },
    /// Its keys reach beyond what it replaces.
    #[error("its keys reach beyond the range that it replaces")]
    OutsideRange,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        let reason = match &refusal {
            Refusal::StaleReign { .. } => Reason::NotOwner,
            Refusal::BelowFloor { .. } => Reason::SnapshotExpired,
            Refusal::PinAhead => Reason::VersionInFuture,
            Refusal::TooManyPins { .. } => Reason::TooManyOpen,
            Refusal::TooManyImmutables { .. } => Reason::Overloaded,
            _ => Reason::StateMoved,
        };
        Error::new(reason, refusal.to_string())
    }
}
