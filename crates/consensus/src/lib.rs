//! Replicated log groups over one shared write-ahead log.
//!
//! A process opens its [`LogStore`] once; each replica of a group that it hosts is a [`Replica`] over a
//! [`StateMachine`]. Raft itself is openraft's, and none of its types leaves this crate.
//!
//! | module | holds |
//! |---|---|
//! | [`machine`] | what a group replicates |
//! | [`options`] | timings and limits |
//! | [`error`] | what can go wrong, and what it says about the entry |
//! | [`wire`] | how frames travel between replicas |
//! | `wal` | the shared log: one writer, its segments, recovery, what each replica has in it |
//! | `directory` | directories whose names survive a crash |
//! | `checkpoint` | files that hold a whole state |
//! | `raft` | openraft's traits over all this: types, runtime, log, state machine, network |
//! | [`store`] | [`LogStore`]: one per process |
//! | [`replica`] | [`Replica`]: proposals, leadership rounds, members |

mod checkpoint;
mod directory;
pub mod error;
pub mod machine;
pub mod options;
mod raft;
pub mod replica;
pub mod store;
mod wal;
pub mod wire;

pub use checkpoint::verify as verify_checkpoint;
pub use error::{LogFailure, MemberError, OpenError, ProposeError, RoundError};
pub use machine::{Frozen, StateMachine, Stop};
pub use options::LogOptions;
pub use replica::{Leadership, Members, Progress, Replica};
pub use store::{LogStats, LogStore, Spread};
pub use wire::RaftWire;
