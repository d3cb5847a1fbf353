//! The LSM core: synchronous, without IO, without tasks. Flows fetch bytes; this crate says which and what they mean.
//!
//! | module | holds |
//! |---|---|
//! | [`entry`] | what a tree stores: key, version, put or tombstone |
pub mod entry;

pub use entry::{Entry, Value, cmp_entries};
