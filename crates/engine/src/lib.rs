//! The LSM core: synchronous, without IO, without tasks. Flows fetch bytes; this crate says which and what they mean.
//!
//! | module | holds |
//! |---|---|
//! | [`entry`] | what a tree stores: key, version, put or tombstone |
//! | [`cursor`] | the one shape of everything that is walked in order |
//! | [`corruption`] | the answer of every decoder to damaged bytes |
//! | [`memtable`] | what was written since the last flush |
//! | [`block`] | data blocks: the unit that is stored, checked, read and cached |
//! | [`filter`] | is a key surely not in a table? |
//! | [`properties`] | counts and bounds of a table |
//! | [`index_part`] | which blocks of a table may hold a key, and where they lie |
//! | [`table`] | files: builder, footer |
//! | [`tree`] | the tables of a tablet: runs of views; flush, compaction, split and merge as edits |
//! | [`merge`] | many sorted sources as one; what survives a flush or a compaction |
//! | [`scan`] | what a reader at one version sees, forward and reverse |
//! | [`compaction`] | which tables are merged next |
//! | [`wal`] | the write-ahead log as bytes: records, batches, segments, the end of a log |
pub mod block;
pub mod compaction;
pub mod corruption;
pub mod cursor;
pub mod entry;
pub mod filter;
pub mod index_part;
pub mod memtable;
pub mod merge;
#[cfg(test)]
mod model;
pub mod properties;
#[cfg(test)]
mod samples;
pub mod scan;
pub mod table;
pub mod tree;
mod varint;
pub mod wal;

pub use block::codec::Codec;
pub use block::cursor::BlockCursor;
pub use block::{BLOCK_BYTES_MAX, Block};
pub use compaction::{Policy, Pressure, Task, TreeStats, pick};
pub use corruption::Corruption;
pub use cursor::{Cursor, EntryRef, ValueRef};
pub use entry::{Entry, Value, cmp_entries};
pub use filter::{Filter, FilterKind, key_hash};
pub use index_part::{BlockInfo, IndexPart};
pub use memtable::{MemCursor, Memtable};
pub use merge::{Cutter, DropRules, HandleRequest, Merge, MergeInput, MergeStep, Need, ReadAhead};
pub use properties::Properties;
pub use scan::{Look, Scan, ScanSpec, Step, look};
pub use table::{
    BLOCK_BYTES_DEFAULT, BuildError, BuiltTable, FOOTER_BYTES, Footer, Section, TableBuilder, TableSpec,
};
pub use tree::{Refused, Run, TableRecord, TableView, Tree};
