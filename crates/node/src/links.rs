//! Whom this process can call.

use std::sync::Arc;

use lamina_env::watch;
use lamina_peers::view::{ClusterView, NodeView};
use lamina_peers::{AdminPeer, DataPeer, GroupPeer, IndexPeer, KvPeer, Network, RaftPeer};
use lamina_types::{Error, NodeId, Reason, RequestContext, Result};

use crate::Me;

/// The view of the cluster and the network in one. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    /// Who calls.
    pub me: Arc<Me>,
    /// Finds peers behind addresses.
    pub network: Arc<dyn Network>,
    /// What is known of the cluster; `None` before the first registration.
    pub views: watch::Receiver<Option<Arc<ClusterView>>>,
}

impl Links {
    /// What is known of the cluster.
    ///
    /// # Errors
    /// `NOT_READY`: nothing yet.
    pub fn view(&self) -> Result<Arc<ClusterView>> {
        self.views.borrow().clone().ok_or_else(|| {
            Error::new(Reason::NotReady, "this node has not met its cluster yet; try again in a moment")
        })
    }

    /// A data node and the context of a call to it.
    ///
    /// # Errors
    /// `UNREACHABLE`: the node is not known (any more).
    pub fn data(&self, node: NodeId, deadline_ms: u64) -> Result<(DataPeer, RequestContext)> {
        self.reach(node, deadline_ms, |address| self.network.data(address))
    }

    /// An index node and the context of a call to it.
    ///
    /// # Errors
    /// As [`Links::data`].
    pub fn index(&self, node: NodeId, deadline_ms: u64) -> Result<(IndexPeer, RequestContext)> {
        self.reach(node, deadline_ms, |address| self.network.index(address))
    }

    /// A frontend as a leader of groups and the context of a call to it.
    ///
    /// # Errors
    /// As [`Links::data`].
    pub fn group(&self, node: NodeId, deadline_ms: u64) -> Result<(GroupPeer, RequestContext)> {
        self.reach(node, deadline_ms, |address| self.network.group(address))
    }

    /// A frontend's replicas and the context of a call to them.
    ///
    /// # Errors
    /// As [`Links::data`].
    pub fn raft(&self, node: NodeId, deadline_ms: u64) -> Result<(RaftPeer, RequestContext)> {
        self.reach(node, deadline_ms, |address| self.network.raft(address))
    }

    /// A frontend's door for keys and values and the context of a call to it.
    ///
    /// # Errors
    /// As [`Links::data`].
    pub fn kv(&self, node: NodeId, deadline_ms: u64) -> Result<(KvPeer, RequestContext)> {
        self.reach(node, deadline_ms, |address| self.network.kv(address))
    }

    /// A node's administration and the context of a call to it.
    ///
    /// # Errors
    /// As [`Links::data`].
    pub fn admin(&self, node: NodeId, deadline_ms: u64) -> Result<(AdminPeer, RequestContext)> {
        self.reach(node, deadline_ms, |address| self.network.admin(address))
    }

    fn reach<P>(
        &self,
        node: NodeId,
        deadline_ms: u64,
        find: impl FnOnce(&str) -> P,
    ) -> Result<(P, RequestContext)> {
        let view = self.view()?;
        let known: &NodeView = view.node(node).ok_or_else(|| {
            Error::new(
                Reason::Unreachable,
                format!("node {node} is not part of the cluster that this node knows"),
            )
        })?;
        let mut context = self.me.context(deadline_ms);
        context.to = Some(node);
        context.epoch = view.epoch;
        Ok((find(&known.address), context))
    }
}
