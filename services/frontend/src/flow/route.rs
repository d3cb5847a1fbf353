//! Which group has a key, and who leads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use lamina_node::Links;
use lamina_peers::kv::{KvAnswer, KvRequest};
use lamina_types::{Error, GroupId, KeyRange, Keyspace, NodeId, Reason, ReplicaId, RequestContext, Result};
use parking_lot::RwLock;

use crate::host::DataHost;

/// The bytes of a keyspace before each key.
pub const KEYSPACE_BYTES: usize = 4;

/// Knows the groups of this frontend and the leaders of all. Cheap to clone.
#[derive(Clone)]
pub struct Router {
    /// The cluster.
    pub links: Links,
    hosts: Arc<RwLock<BTreeMap<GroupId, Arc<DataHost>>>>,
}

/// Where a request is served.
pub enum Route {
    /// Here: this node leads the group.
    Here(Arc<DataHost>),
    /// There, as far as is known.
    There {
        /// The group.
        group: GroupId,
        /// Its leader; `None`: nobody knows at this moment.
        leader: Option<NodeId>,
    },
}

impl Router {
    /// A router without groups.
    pub fn new(links: Links) -> Router {
        Router { links, hosts: Arc::default() }
    }

    /// The replica of a group on this frontend.
    pub fn host(&self, group: GroupId) -> Option<Arc<DataHost>> {
        self.hosts.read().get(&group).cloned()
    }

    /// All replicas of data groups on this frontend.
    pub fn hosts(&self) -> Vec<Arc<DataHost>> {
        self.hosts.read().values().cloned().collect()
    }

    /// A replica was opened.
    pub fn add(&self, host: Arc<DataHost>) {
        self.hosts.write().insert(host.group, host);
    }

    /// A replica was closed. Another one of its group that was opened since stays.
    pub fn remove(&self, host: &Arc<DataHost>) {
        let mut hosts = self.hosts.write();
        if hosts.get(&host.group).is_some_and(|known| Arc::ptr_eq(known, host)) {
            hosts.remove(&host.group);
        }
    }

    /// Where requests for a group are served.
    pub fn route_group(&self, group: GroupId) -> Route {
        match self.host(group) {
            Some(host) if host.leads() => Route::Here(host),
            host => Route::There { group, leader: self.leader_of(group, host.as_deref()) },
        }
    }

    /// Where requests for a key (keyspace first) are served.
    ///
    /// # Errors
    /// `NOT_READY`: no group is known that has the key.
    pub fn route_key(&self, key: &[u8]) -> Result<Route> {
        Ok(self.route_group(self.group_of(key)?))
    }

    /// The group that has a key (keyspace first), as far as is known. The group's own log is the truth.
    ///
    /// # Errors
    /// `NOT_READY`: none is known.
    pub fn group_of(&self, key: &[u8]) -> Result<GroupId> {
        for host in self.hosts.read().values() {
            if host.leads() && host.published.view().tablet_of(key).is_some() {
                return Ok(host.group);
            }
        }
        self.links.view()?.group_of_key(key).ok_or_else(|| {
            Error::new(Reason::NotReady, "the store has no group for this key yet; try again in a moment")
        })
    }

    /// All data groups.
    ///
    /// # Errors
    /// `NOT_READY`: this node has not met its cluster.
    pub fn groups(&self) -> Result<Vec<GroupId>> {
        let view = self.links.view()?;
        Ok(view.groups.iter().map(|group| group.group).filter(|group| *group != GroupId::META).collect())
    }

    /// Sends a request on to the leader of a group, at most once on its way.
    ///
    /// # Errors
    /// `NOT_OWNER`: it was sent on before, or nobody knows the leader. Else what the leader says.
    pub async fn forward(
        &self,
        context: &RequestContext,
        group: GroupId,
        leader: Option<NodeId>,
        request: KvRequest,
    ) -> Result<KvAnswer> {
        let me = self.links.me.node();
        match leader {
            Some(leader) if !context.forwarded && Some(leader) != me => {
                let (peer, own) = self.links.kv(leader, context.deadline_ms)?;
                let onward =
                    RequestContext { sender: own.sender, to: own.to, forwarded: true, ..context.clone() };
                peer.forward(onward, request).await
            }
            leader => Err(self.not_owner(group, leader)),
        }
    }

    /// That another node leads the group, and which, as far as is known.
    pub fn not_owner(&self, group: GroupId, leader: Option<NodeId>) -> Error {
        let error = Error::new(
            Reason::NotOwner,
            format!("this node does not lead group {group}; nothing was done, ask its leader"),
        )
        .with("group", group);
        let leader = leader.and_then(|leader| {
            let view = self.links.view().ok()?;
            let node = view.node(leader)?;
            Some((leader, node.address.clone()))
        });
        match leader {
            Some((node, address)) => error.with("leader", node).with("leader_address", address),
            None => error.retry_after_ms(50),
        }
    }

    fn leader_of(&self, group: GroupId, host: Option<&DataHost>) -> Option<NodeId> {
        let view = self.links.view().ok()?;
        let group = view.group(group)?;
        let node_of = |replica: ReplicaId| {
            group.replicas.iter().find(|placement| placement.replica == replica).map(|it| it.node)
        };
        // What the replica's own log says is newer than what meta heard.
        let own = host.and_then(|host| host.replica.leadership().borrow().leader).and_then(node_of);
        own.or(group.leader)
    }
}

/// A user's key as it is inside the store.
pub fn inside(key: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(KEYSPACE_BYTES + key.len());
    out.put_u32(Keyspace::DEFAULT.0);
    out.put_slice(key);
    out.freeze()
}

/// A key of the store as its user knows it.
pub fn outside(key: &Bytes) -> Bytes {
    key.slice(KEYSPACE_BYTES.min(key.len())..)
}

/// A user's range as it is inside the store.
pub fn range_inside(range: &KeyRange) -> KeyRange {
    let end = match &range.end {
        Some(end) => inside(end),
        None => Bytes::copy_from_slice(&(Keyspace::DEFAULT.0 + 1).to_be_bytes()),
    };
    KeyRange { start: inside(&range.start), end: Some(end) }
}
