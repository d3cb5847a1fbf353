//! Who this process is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use lamina_env::random;
use lamina_types::{ClusterId, Incarnation, NodeId, RequestContext, Role, Sender};

/// Who this process is: settled step by step as it starts, then fixed.
#[derive(Debug)]
pub struct Me {
    role: Role,
    name: String,
    address: String,
    node: OnceLock<NodeId>,
    cluster: OnceLock<ClusterId>,
    incarnation: AtomicU64,
    nonce: u64,
}

impl Me {
    /// A process of this role, under this name, that others reach at this address.
    pub fn new(role: Role, name: impl Into<String>, address: impl Into<String>) -> Me {
        Me {
            role,
            name: name.into(),
            address: address.into(),
            node: OnceLock::new(),
            cluster: OnceLock::new(),
            incarnation: AtomicU64::new(0),
            nonce: random::u64(),
        }
    }

    /// What it runs.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its name, as of its pod or directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where others reach it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Random, made at this start.
    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Its id, once it is settled.
    pub fn node(&self) -> Option<NodeId> {
        self.node.get().copied()
    }

    /// Its store, once it has one.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster.get().copied()
    }

    /// Its present start; 0 as long as that is open.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.incarnation.load(Ordering::Acquire))
    }

    /// Settles the id. The first one stays.
    pub fn settle_node(&self, node: NodeId) -> NodeId {
        *self.node.get_or_init(|| node)
    }

    /// Settles the store. The first one stays and is returned.
    pub fn settle_cluster(&self, cluster: ClusterId) -> ClusterId {
        *self.cluster.get_or_init(|| cluster)
    }

    /// Settles the start.
    pub fn settle_incarnation(&self, incarnation: Incarnation) {
        self.incarnation.store(incarnation.0, Ordering::Release);
    }

    /// The context of a call that this node makes by itself.
    pub fn context(&self, deadline_ms: u64) -> RequestContext {
        RequestContext { sender: self.sender(), ..RequestContext::new(random::u128(), deadline_ms) }
    }

    /// The context of a call that this node makes to carry out a call that it got.
    pub fn context_for(&self, cause: &RequestContext, deadline_ms: u64) -> RequestContext {
        RequestContext {
            sender: self.sender(),
            to: None,
            deadline_ms: deadline_ms.min(cause.deadline_ms),
            ..cause.clone()
        }
    }

    /// Nobody yet, as long as the start has no number: an index node gets it when it registers, and a call in the
    /// name of start 0 would be refused by whoever has heard of an earlier start.
    fn sender(&self) -> Option<Sender> {
        let (node, cluster, incarnation) = (self.node()?, self.cluster()?, self.incarnation());
        (incarnation != Incarnation::ZERO).then_some(Sender { cluster, node, incarnation })
    }
}
