//! Tests of the data group as a whole. `rig` plays the leader and the data nodes; `server` is the single server
//! that a group must equal.

mod entries;
mod golden;
mod history;
mod picture;
mod refusals;
mod rig;
mod server;
mod writes;
