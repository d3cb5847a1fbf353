//! Replicated log groups over one shared write-ahead log.
//!
//! A process opens its [`LogStore`] once; each replica of a group that it hosts is a [`Replica`] over a
//! [`StateMachine`]. Raft itself is openraft's, and none of its types leaves this crate.
