//! The shared log of a process: one writer, its segments, recovery, and what each replica has in it.
//!
//! A replica queues records ([`Wal::submit`]); the writer takes whatever has gathered while it synced the batch
//! before, writes it as one batch, syncs it, and then tells each replica.
//!
//! | module | holds |
//! |---|---|
//! | [`ledger`] | folded records: the state of each replica, and which segments its entries need |
//! | [`table`] | one replica's entries: in memory, or where they are on disk |
//! | [`queue`] | records on their way to the writer |
//! | [`segment`] | names and files of segments |
//! | `ahead` | the segment that is allocated ahead |
//! | [`spread`] | how figures of batches are spread |
//! | [`writer`] | the one task that writes |
//! | [`recover`] | from the files of a volume to all this |

mod ahead;
pub mod ledger;
pub mod queue;
pub mod recover;
pub mod segment;
pub mod spread;
pub mod table;
pub mod writer;

pub use queue::{Item, LogStats, Wal};
pub use spread::Spread;
pub use table::LogTable;

/// Whose record: a replica of a group on this volume.
pub type Owner = lamina_engine::wal::Replica;
