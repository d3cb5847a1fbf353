//! Why a replica stops.

use lamina_types::{Level, LogIndex};

use super::entry::EntryError;

/// Why a replica must stop: going on could make its state differ from the others' (rule G3).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StopReason {
    /// The entry cannot be understood.
    #[error("entry {index} cannot be understood: {why}; a newer binary may be needed")]
    Entry {
        /// The entry.
        index: LogIndex,
        /// Why.
        why: EntryError,
    },
    /// A level that this binary does not support.
    #[error("entry {index} raises the level to {}, this binary supports up to {}", level.0, Level::HIGHEST.0)]
    Level {
        /// The entry.
        index: LogIndex,
        /// The level.
        level: Level,
    },
    /// Entries must come in order.
    #[error("entry {index} was applied behind entry {applied}")]
    Order {
        /// The entry.
        index: LogIndex,
        /// The last one that was applied.
        applied: LogIndex,
    },
    /// There is no version left above the last one.
    #[error("entry {index} needs a version above the last possible one; a clock was far off")]
    Versions {
        /// The entry.
        index: LogIndex,
    },
    /// The state contradicts itself: a defect.
    #[error("the state of the group contradicts itself: {0}; this is a defect")]
    Contradiction(String),
    /// The picture of a state cannot be understood.
    #[error("the checkpoint of the group cannot be understood: {0}")]
    Checkpoint(String),
}
