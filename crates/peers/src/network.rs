//! Who answers where.

use crate::{AdminPeer, DataPeer, GroupPeer, IndexPeer, KvPeer, RaftPeer};

/// Finds who answers at an address (`host:port`, or a node's name inside one process). Never waits and never
/// fails: a peer that is not there answers `UNREACHABLE` when it is called.
pub trait Network: Send + Sync + 'static {
    /// A frontend's door for keys and values.
    fn kv(&self, address: &str) -> KvPeer;
    /// An index node.
    fn index(&self, address: &str) -> IndexPeer;
    /// A data node.
    fn data(&self, address: &str) -> DataPeer;
    /// A frontend that leads groups.
    fn group(&self, address: &str) -> GroupPeer;
    /// A frontend's replicas.
    fn raft(&self, address: &str) -> RaftPeer;
    /// Any node's administration.
    fn admin(&self, address: &str) -> AdminPeer;
}
