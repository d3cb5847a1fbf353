//! Load generator, ledger of acknowledged writes, history checkers.
//!
//! | module | holds |
//! |---|---|
//! | [`octets`] | bytes as text and back: keys and values in histories, TSV files, terminals |
//! | [`history`] | [`Operation`]s that were called on a store, with their answers; JSON lines |
//! | [`recorder`] | a client that notes down what it does |
//! | [`ledger`] | [`Ledger`]: what a store must have after everything (I1) |
//! | [`check`] | judges of a history: linearizable keys (I3, I6), scans and batches (I4, I5), at most once (I7) |
//! | [`load`] | [`Plan`], [`run`], [`Outcome`]: closed and open loops against a [`Target`] |
//! | [`target`] | Lamina, etcd, Redis, measured the same way |
//!
//! The checkers know nothing of Lamina's inside: they believe only what was called, what was answered and when.
//! They are exact in one direction: what they report is wrong. What no history can decide (a write of unknown
//! outcome that nobody saw, an entry that may have expired) they let pass.

pub mod check;
pub mod history;
pub mod ledger;
pub mod load;
pub mod octets;
pub mod recorder;
pub mod target;

pub use check::{Rule, Violation, check};
pub use history::{Answer, Call, Item, Operation, Seen, SeenRow};
pub use ledger::{Ledger, Loss};
pub use load::{Distribution, LoadError, Mix, Outcome, Plan, Progress, run};
pub use octets::Octets;
pub use recorder::{Recorder, Session};
pub use target::Target;
