//! Replica → replica of one group. The frames belong to `crates/consensus`; nobody else reads them.

use bytes::Bytes;
use lamina_types::{GroupId, ReplicaId};
use serde::{Deserialize, Serialize};

crate::port::port! {
    /// A frontend's replicas.
    RaftPeer: RaftRequest => RaftAnswer {
        RaftCall => RaftReply,
    }
}

/// One message from one replica to another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RaftCall {
    /// The group.
    pub group: GroupId,
    /// Who sends.
    pub from: ReplicaId,
    /// Who must receive: a node without this replica answers `NOT_FOUND`.
    pub to: ReplicaId,
    /// Large and slow (a piece of a snapshot): goes on the connection for bulk bytes.
    pub bulk: bool,
    /// The message.
    pub frame: Bytes,
}

/// The answer to one message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RaftReply {
    /// The answer.
    pub frame: Bytes,
}
