//! The index service: the index blocks and filters of every table, in memory, cut into shards.
//!
//! | room | module | holds |
//! |---|---|---|
//! | door | [`door`] | takes requests of the index port |
//! | flows | [`load`] | fills shards after an assignment or a restart, and compares them with the leaders' lists |
//! | heart | [`residents`] | the parts in memory, exactly accounted |
//! | wiring | [`node`] | one index node from its start to its end |
//!
//! An index node knows nothing of versions: candidates come from the reader's view, and a part that is not resident
//! is named, so no set of parts can make an answer wrong (invariant X1).

pub mod assembly;
pub mod door;
pub mod load;
pub mod metrics;
pub mod node;
pub mod residents;

pub use node::{IndexNode, IndexOptions};
