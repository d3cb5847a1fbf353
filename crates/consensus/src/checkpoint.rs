//! Files that hold a whole state at one index (`docs/formats/checkpoint.md`, protocols §8.2).
//!
//! The same bytes are a replica's checkpoint on disk and a snapshot on its way to a follower. A file is written under
//! a temporary name, synced, renamed, and its directory synced; then a record in the log says so.
//!
//! | module | holds |
//! |---|---|
//! | [`format`] | the frames of a file |
//! | [`shelf`] | the checkpoints of one replica on its volume |

pub mod format;
pub mod shelf;

pub use format::Head;
pub use shelf::{Checked, Checkpoint, Shelf, verify};

/// Whether a checkpoint was refused because another version wrote it.
pub fn is_of_another_format(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<format::CheckpointError>());
    matches!(inner, Some(format::CheckpointError::Format(_)))
}
