//! The LSM core: synchronous, without IO, without tasks. Flows fetch bytes; this crate says which and what they mean.
//!
//! | module | holds |
//! |---|---|
//! | [`entry`] | what a tree stores: key, version, put or tombstone |
//! | [`wal`] | the write-ahead log as bytes: records, batches, segments, the end of a log |
pub mod entry;
pub mod wal;

pub use entry::{Entry, Value, cmp_entries};
