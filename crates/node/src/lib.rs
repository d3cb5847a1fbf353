//! What every node does alike, whichever of the three services it runs.
//!
//! | module | holds |
//! |---|---|
//! | [`identity`] | the identity file of a volume: made once, raised at each start, locked while in use |
//! | [`me`] | who this process is, for the contexts of its calls |
//! | [`links`] | whom it can call: the view of the cluster and the network in one |
//! | [`membership`] | registration, heartbeats, and the view that they bring |
//! | [`door`] | what every node answers of itself |
//!
//! A node starts in this order: [`identity::open`] → wait for a cluster → [`membership::run`] → serve.

pub mod door;
pub mod identity;
pub mod links;
pub mod me;
pub mod membership;

pub use door::IdentityDoor;
pub use identity::{Identity, StartError, Volume};
pub use links::Links;
pub use me::Me;
pub use membership::Membership;
