//! The door for administration: answers what every frontend knows, and sends on to the meta leader what only that
//! one may answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use lamina_env::Disk;
use lamina_env::time::{self, Duration};
use lamina_node::{IdentityDoor, Links};
use lamina_peers::Port;
use lamina_peers::admin::{
    AdminAnswer, AdminRequest, Bootstrap, Bootstrapped, ClusterStatus, Figures, FlushStore, Identify,
    Identity, MetaIs, NodeStatus, Probed, Status, StoreFlushed, ViewChanged, Watch,
};
use lamina_peers::data::DataStat;
use lamina_peers::group::{CompactGroup, GroupVersion, ProbeGroup};
use lamina_peers::index::IndexStat;
use lamina_peers::view::NodeView;
use lamina_telemetry::memory;
use lamina_types::{Error, GroupId, NodeId, Reason, RequestContext, Result, Role, Version};
use tokio::sync::mpsc;

use crate::door::figures::Figures as FrontendFigures;
use crate::door::raft::Residents;
use crate::flow::route::{Route, Router};
use crate::meta::founding::Founding;
use crate::meta::host::{MetaHost, not_meta_leader};
use crate::meta::lead::ask_groups;
use crate::meta::serve;

/// What one question to a node may take when a status is put together.
const STATUS_DEADLINE_MS: u64 = 1_000;
/// What a call that is sent on may take.
const ONWARD_DEADLINE_MS: u64 = 10_000;

/// Asks the frontend to become a first member of a store.
pub struct BootstrapOrder {
    /// The record.
    pub record: Bootstrap,
    /// Where the result goes.
    pub answer: tokio::sync::oneshot::Sender<Result<Bootstrapped>>,
}

/// Takes administration requests.
pub struct AdminDoor {
    /// The cluster.
    pub links: Links,
    /// Who this node is.
    pub identity: Arc<IdentityDoor>,
    /// Replicas that run here.
    pub residents: Arc<Residents>,
    /// The groups.
    pub router: Router,
    /// The bootstrap record.
    pub founding: Arc<Founding>,
    /// Addresses of frontends.
    pub seeds: Vec<String>,
    /// Where bootstrap orders go: the node's own task, which owns the volume.
    pub orders: mpsc::Sender<BootstrapOrder>,
    /// Figures of this frontend.
    pub figures: FrontendFigures,
    /// Its volume.
    pub disk: Arc<dyn Disk>,
    /// The version of the program.
    pub version: String,
}

impl AdminDoor {
    async fn serve(&self, context: &RequestContext, request: AdminRequest) -> Result<AdminAnswer> {
        match request {
            AdminRequest::Identify(_) => Ok(AdminAnswer::Identify(self.identity.identity())),
            AdminRequest::WhereIsMeta(_) => self.where_is_meta().map(AdminAnswer::WhereIsMeta),
            AdminRequest::Bootstrap(record) => self.bootstrap(record).await.map(AdminAnswer::Bootstrap),
            AdminRequest::Watch(watch) => self.watch(context, watch).await.map(AdminAnswer::Watch),
            AdminRequest::ClusterStatus(_) => self.status(context).await.map(AdminAnswer::ClusterStatus),
            AdminRequest::Probe(_) => self.probe(context).await.map(AdminAnswer::Probe),
            AdminRequest::FlushStore(flush) => self.flush(context, flush).await.map(AdminAnswer::FlushStore),
            request => self.meta(context, request).await,
        }
    }

    /// What only the meta leader answers: here if that is this node, else there.
    async fn meta(&self, context: &RequestContext, request: AdminRequest) -> Result<AdminAnswer> {
        if let Some(host) = self.residents.meta()
            && host.reigning().is_ok()
        {
            return self.lead(&host, context, request).await;
        }
        if context.forwarded {
            return Err(not_meta_leader());
        }
        let mut last = not_meta_leader();
        for address in self.meta_addresses() {
            if address == self.links.me.address() {
                continue;
            }
            let peer = self.links.network.admin(&address);
            let deadline_ms = ONWARD_DEADLINE_MS.min(context.deadline_ms);
            let onward = RequestContext {
                forwarded: true,
                to: None,
                deadline_ms,
                ..self.links.me.context(deadline_ms)
            };
            let onward = RequestContext { trace: context.trace, ..onward };
            let call = peer.forward(onward, request.clone());
            match time::timeout(Duration::from_millis(deadline_ms), call).await {
                Ok(Err(error)) if error.reason() == Reason::NotOwner => last = error,
                Ok(Err(error)) if error.reason() == Reason::Unreachable => last = not_meta_leader(),
                Ok(answer) => return answer,
                Err(_) => {
                    last = Error::new(Reason::DeadlineExceeded, "the meta leader did not answer in time")
                }
            }
        }
        Err(last)
    }

    async fn lead(
        &self,
        host: &MetaHost,
        context: &RequestContext,
        request: AdminRequest,
    ) -> Result<AdminAnswer> {
        let links = &self.links;
        match request {
            AdminRequest::RegisterNode(register) => {
                let ours = links.me.cluster().ok_or_else(not_meta_leader)?;
                let theirs = context.sender.map_or(ours, |sender| sender.cluster);
                serve::register(host, register, theirs).await.map(AdminAnswer::RegisterNode)
            }
            AdminRequest::Heartbeat(heartbeat) => {
                serve::heartbeat(host, heartbeat).map(AdminAnswer::Heartbeat)
            }
            AdminRequest::CanStop(stop) => serve::stop(host, links, stop).await.map(AdminAnswer::CanStop),
            AdminRequest::EndGrant(end) => serve::end_grant(host, end).await.map(AdminAnswer::EndGrant),
            AdminRequest::SetNodeState(set) => {
                serve::set_state(host, set).await.map(AdminAnswer::SetNodeState)
            }
            AdminRequest::SetNodeZone(set) => serve::set_zone(host, set).await.map(AdminAnswer::SetNodeZone),
            AdminRequest::ReleaseVolume(release) => {
                serve::release(host, links, release).await.map(AdminAnswer::ReleaseVolume)
            }
            other => {
                Err(Error::new(Reason::Bug, format!("{} is no request for the meta leader", other.name())))
            }
        }
    }

    /// Where the meta leader may be: first who is believed to lead, then every member, then the seeds.
    fn meta_addresses(&self) -> Vec<String> {
        let mut addresses = Vec::new();
        let mut add = |address: String| {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        };
        if let Ok(view) = self.links.view() {
            let meta = view.group(GroupId::META);
            let believed = self.residents.meta().and_then(|host| host.leader());
            let leader = believed.or(meta.and_then(|meta| meta.leader));
            let members =
                meta.into_iter().flat_map(|meta| meta.replicas.iter().map(|placement| placement.node));
            for node in leader.into_iter().chain(members) {
                if let Some(node) = view.node(node) {
                    add(node.address.clone());
                }
            }
        }
        for member in self.founding.record().into_iter().flat_map(|record| record.members) {
            add(member.address);
        }
        self.seeds.iter().cloned().for_each(&mut add);
        addresses
    }

    fn where_is_meta(&self) -> Result<MetaIs> {
        let cluster = self.links.me.cluster().ok_or_else(|| {
            Error::new(Reason::NotReady, "this node belongs to no store yet; bootstrap comes first")
        })?;
        let view = self.links.views.borrow().clone();
        let leader = view.as_ref().and_then(|view| {
            let believed = self.residents.meta().and_then(|host| host.leader());
            let leader = believed.or(view.group(GroupId::META)?.leader)?;
            Some(view.node(leader)?.address.clone())
        });
        Ok(MetaIs { cluster, leader, members: self.meta_addresses() })
    }

    async fn bootstrap(&self, record: Bootstrap) -> Result<Bootstrapped> {
        let (answer, result) = tokio::sync::oneshot::channel();
        let stopping = || Error::new(Reason::NotReady, "this node is stopping");
        self.orders.send(BootstrapOrder { record, answer }).await.map_err(|_| stopping())?;
        result.await.unwrap_or_else(|_| Err(stopping()))
    }

    async fn watch(&self, context: &RequestContext, watch: Watch) -> Result<ViewChanged> {
        let mut views = self.links.views.clone();
        let limit = Duration::from_millis(context.deadline_ms.saturating_sub(200));
        let newer = |view: &Option<Arc<lamina_peers::view::ClusterView>>| {
            view.as_ref().is_some_and(|view| view.epoch > watch.after)
        };
        let _ = time::timeout(limit, views.wait_for(newer)).await;
        Ok(ViewChanged { view: self.links.view()?.as_ref().clone() })
    }

    /// The state of the store. A frontend that was asked by another one tells of itself only.
    async fn status(&self, context: &RequestContext) -> Result<Status> {
        let view = self.links.view()?;
        if context.forwarded {
            let own = self.own_status().await?;
            return Ok(Status {
                view: view.as_ref().clone(),
                nodes: vec![own],
                groups: Vec::new(),
                grant: self.grant(),
            });
        }
        let told = join_all(view.nodes.iter().map(|node| self.node_status(node))).await;
        let (nodes, grants): (Vec<NodeStatus>, Vec<_>) = told.into_iter().flatten().unzip();
        // Whoever did not tell of itself within a second is not waited for again.
        let there: BTreeSet<NodeId> = nodes.iter().map(|status| status.node).collect();
        // Three frontends that know nothing one after the other still leave the caller its answer in time.
        let deadline_ms = context.deadline_ms / 6;
        let groups = ask_groups(&self.links, &[], deadline_ms, |node| there.contains(&node)).await;
        // Not every frontend has a replica of the meta group, and one that has may be late.
        let grant = grants.into_iter().flatten().next();
        Ok(Status { view: view.as_ref().clone(), nodes, groups: groups.into_iter().collect(), grant })
    }

    /// The grant that is out, as far as this node's replica of the meta group knows.
    fn grant(&self) -> Option<(String, NodeId)> {
        let state = self.residents.meta()?.state();
        state.grant().map(|grant| (grant.id.clone(), grant.node))
    }

    async fn own_status(&self) -> Result<NodeStatus> {
        let node = self.links.me.node().ok_or_else(|| Error::new(Reason::NotReady, "the node starts"))?;
        let free_bytes = self.disk.space().await.map_or(0, |space| space.free);
        Ok(NodeStatus {
            node,
            version: self.version.clone(),
            memory_bytes: memory::read().map_or(0, |memory| memory.resident),
            figures: Figures::Frontend(self.figures.stats(free_bytes)),
        })
    }

    /// What a node says of itself, and of the grant that is out; `None`: nothing within a second.
    async fn node_status(&self, node: &NodeView) -> Option<(NodeStatus, Option<(String, NodeId)>)> {
        if Some(node.node) == self.links.me.node() {
            return Some((self.own_status().await.ok()?, self.grant()));
        }
        if node.role == Role::Frontend {
            let (peer, context) = self.links.admin(node.node, STATUS_DEADLINE_MS).ok()?;
            let context = RequestContext { forwarded: true, ..context };
            let status = within(peer.call(context, ClusterStatus {})).await.ok()?;
            let own = status.nodes.into_iter().find(|own| own.node == node.node)?;
            return Some((own, status.grant));
        }
        let (identity, figures) = futures::future::join(self.identity_of(node), self.figures_of(node)).await;
        // Their processes tell nobody how much memory they hold, except at their own /metrics.
        let version = identity.ok()?.version;
        Some((NodeStatus { node: node.node, version, memory_bytes: 0, figures: figures.ok()? }, None))
    }

    async fn identity_of(&self, node: &NodeView) -> Result<Identity> {
        let (peer, context) = self.links.admin(node.node, STATUS_DEADLINE_MS)?;
        within(peer.call(context, Identify {})).await
    }

    async fn figures_of(&self, node: &NodeView) -> Result<Figures> {
        match node.role {
            // They tell more than figures: they are asked for their status.
            Role::Frontend => Ok(Figures::None),
            Role::Index => {
                let (peer, context) = self.links.index(node.node, STATUS_DEADLINE_MS)?;
                within(peer.call(context, IndexStat {})).await.map(Figures::Index)
            }
            Role::Data => {
                let (peer, context) = self.links.data(node.node, STATUS_DEADLINE_MS)?;
                within(peer.call(context, DataStat {})).await.map(Figures::Data)
            }
        }
    }

    async fn probe(&self, context: &RequestContext) -> Result<Probed> {
        let groups = self.router.groups()?;
        if groups.is_empty() {
            return Err(Error::new(Reason::NotReady, "the store has no data group yet"));
        }
        let probes = groups.iter().map(|group| async move {
            let (peer, onward) = self.leader(*group, context)?;
            peer.call(onward, ProbeGroup { group: *group }).await?;
            let (peer, onward) = self.leader(*group, context)?;
            peer.call(onward, GroupVersion { group: *group }).await
        });
        let mut version = Version::ZERO;
        for probed in join_all(probes).await {
            version = version.max(probed?.version);
        }
        Ok(Probed { groups: u32::try_from(groups.len()).unwrap_or(u32::MAX), version })
    }

    async fn flush(&self, context: &RequestContext, flush: FlushStore) -> Result<StoreFlushed> {
        let flushes = self.router.groups()?.into_iter().map(|group| async move {
            let (peer, onward) = self.leader(group, context)?;
            peer.call(onward, CompactGroup { group, compact: flush.compact }).await
        });
        let mut flushed = StoreFlushed { tables: 0, table_bytes: 0 };
        for group in join_all(flushes).await {
            let group = group?;
            flushed.tables += group.tables;
            flushed.table_bytes += group.table_bytes;
        }
        Ok(flushed)
    }

    fn leader(
        &self,
        group: GroupId,
        context: &RequestContext,
    ) -> Result<(lamina_peers::GroupPeer, RequestContext)> {
        let node: Option<NodeId> = match self.router.route_group(group) {
            Route::Here(_) => self.links.me.node(),
            Route::There { leader, .. } => leader,
        };
        let node = node.ok_or_else(|| self.router.not_owner(group, None))?;
        let (peer, own) = self.links.group(node, context.deadline_ms)?;
        Ok((peer, RequestContext { trace: context.trace, ..own }))
    }
}

#[async_trait]
impl Port<AdminRequest, AdminAnswer> for AdminDoor {
    async fn call(&self, context: RequestContext, request: AdminRequest) -> Result<AdminAnswer> {
        self.serve(&context, request).await
    }
}

async fn within<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    time::timeout(Duration::from_millis(STATUS_DEADLINE_MS), call)
        .await
        .unwrap_or_else(|_| Err(Error::new(Reason::Unreachable, "the node did not answer in time")))
}
