//! Frames between replicas: the door that takes them, and the wire that sends them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lamina_consensus::RaftWire;
use lamina_env::time::{self, Duration};
use lamina_node::Links;
use lamina_peers::Port;
use lamina_peers::raft::{RaftAnswer, RaftCall, RaftReply, RaftRequest};
use lamina_types::{Error, GroupId, NodeId, Reason, ReplicaId, RequestContext, Result};
use parking_lot::RwLock;

use crate::host::DataHost;
use crate::meta::founding::Founding;
use crate::meta::host::MetaHost;

/// The replicas that run here, by name.
#[derive(Default)]
pub struct Residents {
    meta: RwLock<Option<Arc<MetaHost>>>,
    data: RwLock<BTreeMap<(GroupId, ReplicaId), Arc<DataHost>>>,
}

impl Residents {
    /// The meta group's replica, if one runs here.
    pub fn meta(&self) -> Option<Arc<MetaHost>> {
        self.meta.read().clone()
    }

    /// The meta group's replica was opened, or closed.
    pub fn set_meta(&self, host: Option<Arc<MetaHost>>) {
        *self.meta.write() = host;
    }

    /// All replicas of data groups that run here.
    pub fn data(&self) -> Vec<Arc<DataHost>> {
        self.data.read().values().cloned().collect()
    }

    /// A replica was opened.
    pub fn add(&self, host: Arc<DataHost>) {
        self.data.write().insert((host.group, host.replica.id()), host);
    }

    /// Whether a replica runs here.
    pub fn has(&self, group: GroupId, replica: ReplicaId) -> bool {
        self.data.read().contains_key(&(group, replica))
    }

    /// A replica is closed.
    pub fn remove(&self, group: GroupId, replica: ReplicaId) -> Option<Arc<DataHost>> {
        self.data.write().remove(&(group, replica))
    }

    fn find(&self, group: GroupId, replica: ReplicaId) -> Option<Arc<DataHost>> {
        self.data.read().get(&(group, replica)).cloned()
    }
}

/// Takes frames for the replicas that run here.
pub struct RaftDoor(pub Arc<Residents>);

#[async_trait]
impl Port<RaftRequest, RaftAnswer> for RaftDoor {
    async fn call(&self, _: RequestContext, request: RaftRequest) -> Result<RaftAnswer> {
        let RaftRequest::RaftCall(RaftCall { group, from, to, frame, .. }) = request;
        let frame = if group == GroupId::META {
            let host = self.0.meta().filter(|host| host.replica.id() == to);
            host.ok_or_else(|| no_replica(group, to))?.replica.handle(from, frame).await?
        } else {
            let host = self.0.find(group, to);
            host.ok_or_else(|| no_replica(group, to))?.replica.handle(from, frame).await?
        };
        Ok(RaftAnswer::RaftCall(RaftReply { frame }))
    }
}

fn no_replica(group: GroupId, replica: ReplicaId) -> Error {
    Error::new(Reason::NotFound, format!("replica {replica} of group {group} does not run on this node"))
}

/// Sends frames to replicas on other frontends.
pub struct Wire {
    links: Links,
    founding: Arc<Founding>,
}

impl Wire {
    /// A wire that finds replicas by the view of the cluster, and the first members by the bootstrap record.
    pub fn new(links: Links, founding: Arc<Founding>) -> Wire {
        Wire { links, founding }
    }

    fn place(&self, group: GroupId, replica: ReplicaId) -> Option<(NodeId, String)> {
        let view = self.links.views.borrow().clone();
        let placed = view.as_ref().and_then(|view| {
            let placement = view.group(group)?.replicas.iter().find(|it| it.replica == replica)?;
            let node = view.node(placement.node)?;
            Some((node.node, node.address.clone()))
        });
        placed.or_else(|| {
            let record = self.founding.record().filter(|_| group == GroupId::META)?;
            let at = usize::try_from(replica.0.checked_sub(1)?).ok()?;
            let member = record.members.get(at)?;
            Some((member.node, member.address.clone()))
        })
    }
}

#[async_trait]
impl RaftWire for Wire {
    async fn call(
        &self,
        group: GroupId,
        from: ReplicaId,
        to: ReplicaId,
        bulk: bool,
        deadline_ms: u64,
        frame: Bytes,
    ) -> Result<Bytes> {
        let (node, address) = self.place(group, to).ok_or_else(|| {
            Error::new(Reason::Unreachable, format!("nobody knows where replica {to} of group {group} is"))
        })?;
        let mut context = self.links.me.context(deadline_ms);
        context.to = Some(node);
        let peer = self.links.network.raft(&address);
        let call = peer.call(context, RaftCall { group, from, to, bulk, frame });
        match time::timeout(Duration::from_millis(deadline_ms), call).await {
            Ok(answer) => answer.map(|reply| reply.frame),
            Err(_) => Err(Error::new(Reason::DeadlineExceeded, "the replica did not answer in time")),
        }
    }
}
