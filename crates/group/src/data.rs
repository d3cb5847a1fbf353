//! The state machine of a data group: keys, memtables and the list of tables, changed only by log entries.
//!
//! Applying is pure (rule G1 of the protocols): it reads the state and the entry, nothing else. What readers see
//! is a [`GroupView`], which costs a few counters to take.
//!
//! | module | holds |
//! |---|---|
//! | [`entry`] | the log entries and their bytes (`docs/formats/entries.md`) |
//! | [`outcome`] | what an entry brought: results and refusals |
//! | [`stop`] | why a replica stops |
//! | [`config`] | the limits that apply uses, which are part of the state |
//! | [`state`] | the group's state and the way of an entry through it |
//! | [`write`] | acceptance of client writes (§5) |
//! | [`window`] | the memory of request ids (§5.3) |
//! | [`pins`] | snapshots come and go, the read floor rises (§6.2) |
//! | [`tables`] | flush, compaction and copies (§7) |
//! | [`tablets`] | split and index shards (§9) |
//! | [`view`] | what readers and the leader's flows see |
//! | [`checkpoint`] | the whole state as bytes (§8.2, `docs/formats/checkpoint-state.md`) |

pub mod checkpoint;
pub mod config;
pub mod entry;
pub mod outcome;
pub mod pins;
pub mod state;
pub mod stop;
pub mod tables;
pub mod tablets;
#[cfg(test)]
mod tests;
pub mod view;
pub mod window;
pub mod write;

pub use checkpoint::FrozenGroup;
pub use config::GroupConfig;
pub use entry::Entry;
pub use outcome::{Inadmissible, Outcome, Refusal, WriteOutcome};
pub use state::{DataGroup, InitialGroup};
pub use stop::StopReason;
pub use view::{Ban, GroupView, MemoryView, Pin, TabletState, TabletView, VersionRefused};
