//! The ports between the parts of a store, and their plain messages.
//!
//! All parts know each other through a [`Peer`]: something that takes one of a port's requests and gives its answer.
//! What stands behind it is a gRPC connection (`crates/rpc`), the service itself (`lamina up`, embedded), or the
//! simulator's network. A port is an enumeration of requests with one answer each; [`Peer::call`] is typed:
//!
//! ```ignore
//! let read: BlocksRead = data.call(context, ReadBlocks { blocks }).await?;
//! ```
//!
//! | module | port | who asks whom |
//! |---|---|---|
//! | [`kv`] | [`KvPeer`] | clients → frontends, and frontends → frontends to forward |
//! | [`index`] | [`IndexPeer`] | frontends → index nodes, index nodes → their peer replicas |
//! | [`data`] | [`DataPeer`] | frontends, index nodes and data nodes → data nodes |
//! | [`group`] | [`GroupPeer`] | index nodes and the meta leader → leaders of groups |
//! | [`raft`] | [`RaftPeer`] | replicas of a group → one another |
//! | [`admin`] | [`AdminPeer`] | nodes, the keeper and the command line → the meta group |
//! | [`pieces`] | | index parts that do not fit into a message |
//! | [`view`] | | what every process knows of its cluster |
//!
//! [`Network`] finds the peer behind an address.

pub mod admin;
pub mod data;
pub mod group;
pub mod index;
pub mod kv;
mod network;
pub mod pieces;
mod port;
pub mod raft;
pub mod view;

pub use admin::AdminPeer;
pub use data::DataPeer;
pub use group::GroupPeer;
pub use index::IndexPeer;
pub use kv::KvPeer;
pub use network::Network;
pub use port::{Named, Operation, Peer, Port};
pub use raft::RaftPeer;
