//! The words of Lamina: every id, number and range that crosses a border has its type here.
//!
//! This crate knows nothing of disks, networks or tasks, and imports nothing of ours.
//!
//! | module | holds |
//! |---|---|
//! | [`id`] | who and what: clusters, nodes, groups, replicas, tablets, tables, shards |
//! | [`version`] | the hybrid logical clock, reigns, epochs, incarnations |
//! | [`range`] | key ranges |
//! | [`block`] | block handles |
//! | [`request`] | request ids and the context that every call carries |
//! | [`error`] | the eight kinds of failure and their stable reasons |
//! | [`limits`] | what a request may be at most |
//! | [`settings`] | the shape of a store, settled once |
//! | [`wire`] | small readers and writers for the formats that we write by hand |

pub mod block;
pub mod error;
pub mod id;
pub mod limits;
pub mod range;
pub mod request;
pub mod settings;
pub mod version;
pub mod wire;

pub use block::BlockHandle;
pub use error::{Error, Kind, Reason, Result};
pub use id::{
    ClusterId, CopyStamp, GroupId, Keyspace, NodeId, ReplicaId, Role, ShardId, SnapshotId, TableId, TabletId,
};
pub use range::KeyRange;
pub use request::{ClientToken, RequestContext, RequestId, Sender};
pub use settings::Settings;
pub use version::{Epoch, Incarnation, Level, LogIndex, Reign, Version};
