//! What every call carries: who asks, for which request, until when.

use serde::{Deserialize, Serialize};

use crate::{ClusterId, Epoch, Incarnation, NodeId, Version};

/// Names a client's stream of requests: 16 random bytes and the version at which the client made them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ClientToken {
    /// Random, made by the client.
    pub id: u128,
    /// A version that the store gave the client when it made the token (protocols §5.3).
    pub base: Version,
}

/// Names one write, so that a retry takes effect at most once (invariant W2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RequestId {
    /// The client's token.
    pub token: ClientToken,
    /// Counted by the client, from 1.
    pub seq: u64,
    /// The client has the answers to all lower numbers.
    pub done_below: u64,
}

/// Who sent an internal message (rule G5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sender {
    /// The store that the sender belongs to.
    pub cluster: ClusterId,
    /// The sender.
    pub node: NodeId,
    /// Its incarnation: a receiver refuses one lower than the highest that it knows.
    pub incarnation: Incarnation,
}

/// Travels with every call through every flow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RequestContext {
    /// Names the call in logs and traces: random, made where the call entered the store (or by the client).
    pub trace: u128,
    /// Milliseconds that are left, relative to the moment of receipt; 0: nothing is left.
    pub deadline_ms: u64,
    /// Who asks. Empty until users exist.
    pub principal: String,
    /// For calls between nodes.
    pub sender: Option<Sender>,
    /// The node that the caller wants to reach; another one refuses (a name may have gone to a new node).
    pub to: Option<NodeId>,
    /// The epoch of the caller's view of the cluster: an answer with a higher one tells it to refresh.
    pub epoch: Epoch,
    /// The call was forwarded already: it is never forwarded again.
    pub forwarded: bool,
}

impl RequestContext {
    /// A context of a call that starts here.
    pub fn new(trace: u128, deadline_ms: u64) -> RequestContext {
        RequestContext {
            trace,
            deadline_ms,
            principal: String::new(),
            sender: None,
            to: None,
            epoch: Epoch::ZERO,
            forwarded: false,
        }
    }
}
