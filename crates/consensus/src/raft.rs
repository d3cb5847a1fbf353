//! openraft's traits over the shared log, the state machine and the wire. Nothing of openraft leaves this module and
//! the two that use it, [`crate::replica`] and [`crate::store`].
//!
//! | module | holds |
//! |---|---|
//! | [`types`] | the type configuration: one leader per term, entries of bytes |
//! | [`runtime`] | tokio, with our tasks, random numbers and watch |
//! | [`config`] | the library's settings (rule G7) |
//! | [`entry`] | entries and members as bytes |
//! | [`frame`] | messages as bytes |
//! | [`log`] | the log storage of one replica |
//! | [`applier`] | the apply worker: state machine, snapshots |
//! | [`network`] | messages to peers; snapshots in pieces |
//! | [`peers`] | what this replica knows of its peers: clocks, what they acknowledged, who is shut out |
//! | [`receiver`] | snapshots that come in pieces |

pub mod applier;
pub mod config;
pub mod entry;
pub mod frame;
pub mod log;
pub mod network;
pub mod peers;
pub mod receiver;
pub mod runtime;
pub mod types;

pub use types::{Proposal, Types};
