//! The LSM core: synchronous, without IO, without tasks. Flows fetch bytes; this crate says which and what they mean.
//!
//! | module | holds |
//! |---|---|
//! | [`entry`] | what a tree stores: key, version, put or tombstone |
//! | [`cursor`] | the one shape of everything that is walked in order |
//! | [`corruption`] | the answer of every decoder to damaged bytes |
//! | [`properties`] | counts and bounds of a table |
//! | [`tree`] | the tables of a tablet: runs of views; flush, compaction, split and merge as edits |
//! | [`compaction`] | which tables are merged next |
pub mod compaction;
pub mod corruption;
pub mod cursor;
pub mod entry;
pub mod properties;
pub mod tree;

pub use compaction::{Policy, Pressure, Task, TreeStats, pick};
pub use corruption::Corruption;
pub use cursor::{Cursor, EntryRef, ValueRef};
pub use entry::{Entry, Value, cmp_entries};
pub use properties::Properties;
pub use tree::{Refused, Run, TableRecord, TableView, Tree};
