//! Where things go: pure functions from what is known to what to do. No clock, no randomness, no state.
//!
//! The same input gives the same answer on every machine, so a plan can be shown before it is carried out, and a
//! simulator can judge it. The decisions are carried out by others: the meta leader (index shards, group replicas)
//! and the leaders of groups (copies of tables, splits of tablets).
//!
//! | module | decides |
//! |---|---|
//! | [`site`] | – : a node where something may be put |
//! | [`shards`] | which index nodes serve each index shard, and which shard a new tablet goes to |
//! | [`copies`] | which data nodes hold the copies of a table, and what its copies lack |
//! | [`replicas`] | which frontends hold the replicas of a group, who leads, and the next step of its membership |
//! | [`tablets`] | which tablet is split next |

mod balance;
pub mod copies;
pub mod replicas;
pub mod shards;
pub mod site;
pub mod tablets;

pub use site::Site;
