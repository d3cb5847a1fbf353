//! The replicated state machines and their log entries: pure apply (rule G1). No clock, no files, no tasks.
//!
//! | module | holds |
//! |---|---|
//! | [`data`] | a data group: keys, memtables, lists of tables |
//! | [`meta`] | group 0: the cluster, its nodes, groups and index shards |

pub mod data;
pub mod meta;
