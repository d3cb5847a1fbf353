//! The write-ahead log as bytes (`docs/formats/wal.md`, protocols §8.1): records, batches, segments, and the rule
//! that tells a torn tail from corruption. Pure: the writer and the files are in `crates/consensus`.
//!
//! | module | holds |
//! |---|---|
//! | [`record`] | what one replica says to its log: votes, entries, cuts, marks |
//! | [`batch`] | records that are written and synced together, with their checksum |
//! | [`scan`] | where the log of a process ends, from the bytes of its segments |

pub mod batch;
pub mod record;
pub mod scan;

pub use batch::{BATCH_HEADER_BYTES, BatchWriter, BatchesOf, batches_of};
pub use record::{EntryRecord, LogPoint, Record, Replica, SavedVote};
pub use scan::{SegmentEnd, SegmentScan, WalCorrupt, join, scan};

/// The version of everything in this module. A reader that meets another one stops (rule G3).
pub const WAL_FORMAT: u8 = 1;

/// A place in the log: a segment, and a byte in it. Segments' ids rise in the order in which they are written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Position {
    /// The id of the segment.
    pub segment: u64,
    /// Bytes from its beginning.
    pub offset: u64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "byte {} of segment {:016x}", self.offset, self.segment)
    }
}
