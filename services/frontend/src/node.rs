//! One frontend from its start to its end.

use std::sync::Arc;

use futures::future::BoxFuture;
use lamina_consensus::{LogFailure, LogOptions, LogStore, OpenError};
use lamina_env::disk::{Disk, Space};
use lamina_env::time::{self, Duration};
use lamina_env::{Env, task, watch};
use lamina_node::membership::Report;
use lamina_node::{IdentityDoor, Links, Me, Membership, StartError, Volume, identity};
use lamina_peers::admin::{Bootstrap, Bootstrapped, Heartbeat, LedGroup};
use lamina_peers::{AdminPeer, GroupPeer, KvPeer, Network, Peer, RaftPeer};
use lamina_types::{ClusterId, Error, GroupId, Reason, ReplicaId, Result, Role};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;

use crate::door::admin::{AdminDoor, BootstrapOrder};
use crate::door::figures::Figures;
use crate::door::group::GroupDoor;
use crate::door::kv::KvDoor;
use crate::door::raft::{RaftDoor, Residents, Wire};
use crate::farewell;
use crate::flow::route::Router;
use crate::flow::search::Searcher;
use crate::hand::blocks::Blocks;
use crate::hand::health::Health;
use crate::hand::index::Index;
use crate::hand::tables::Tables;
use crate::lead::reign::Court;
use crate::lead::work::Room;
use crate::lead::works::Works;
use crate::meta::founding::Founding;
use crate::meta::serve::LOST_ENTRIES;
use crate::metrics::WorkMetrics;
use crate::replicas::{Replicas, begin};
use crate::reports::Reports;

/// The directory of the log on the volume.
const LOG: &str = "log";
/// How often the room on the volume is looked at.
const LOOK_AT_ROOM_EVERY: Duration = Duration::from_secs(10);

/// How a frontend is started.
#[derive(Clone, Debug)]
pub struct FrontendOptions {
    /// Its name: `frontend-0`.
    pub name: String,
    /// Where others reach it.
    pub address: String,
    /// Addresses of frontends, itself included or not.
    pub seeds: Vec<String>,
    /// Its failure domain; empty if unknown.
    pub zone: String,
    /// Bytes of the block cache.
    pub cache_bytes: u64,
    /// The version of the program.
    pub version: String,
    /// Timings and sizes of the log.
    pub log: LogOptions,
}

/// Why a frontend ended. It never ends the process: that is its caller's.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The log on this volume is damaged: the node must be replaced under a new identity.
    #[error("{0}")]
    LogCorrupt(OpenError),
    /// A write to the log failed. The process must end; it may start again.
    #[error("{0}")]
    LogFailed(LogFailure),
    /// The log on this volume has lost entries that it had acknowledged: the node must be replaced under a new identity.
    #[error("{0}")]
    LogLost(Error),
    /// The store refuses this node for good.
    #[error("{0}")]
    Refused(Error),
    /// The volume refuses.
    #[error("{0}")]
    Volume(StartError),
    /// The log cannot be opened, but nothing on it is damaged: the node keeps its identity, and the cause has to go
    /// (an older program, a disk that refuses).
    #[error("{0}")]
    LogRefused(OpenError),
}

/// One frontend.
pub struct FrontendNode {
    env: Env,
    volume: Volume,
    links: Links,
    membership: Membership,
    identity: Arc<IdentityDoor>,
    founding: Arc<Founding>,
    residents: Arc<Residents>,
    router: Router,
    searcher: Searcher,
    court: Court,
    views: crate::meta::host::ViewSender,
    store: LogStore,
    seeds: Vec<String>,
    version: String,
    orders: (mpsc::Sender<BootstrapOrder>, Option<mpsc::Receiver<BootstrapOrder>>),
    /// The room on the volume, for the figures.
    room: Arc<Mutex<Option<Space>>>,
}

impl FrontendNode {
    /// Opens the volume and the log. The node can be reached at once, and serves when [`FrontendNode::run`] says so.
    ///
    /// # Errors
    /// [`Ended`]: the volume belongs to somebody else or is in use, or the log is damaged.
    pub fn open(
        env: Env,
        network: Arc<dyn Network>,
        options: FrontendOptions,
    ) -> BoxFuture<'static, Result<FrontendNode, Ended>> {
        // Boxed, as `run` is, so that the whole node is compiled here, and not again wherever it is awaited.
        Box::pin(Self::open_volume(env, network, options))
    }

    async fn open_volume(
        env: Env,
        network: Arc<dyn Network>,
        options: FrontendOptions,
    ) -> Result<FrontendNode, Ended> {
        let volume = identity::open(&env, Role::Frontend).await.map_err(Ended::Volume)?;
        let founding = Arc::new(Founding::open(env.clone()).await.map_err(Ended::Volume)?);
        let me = Arc::new(Me::new(Role::Frontend, options.name, options.address));
        me.settle_node(volume.identity().node);
        me.settle_incarnation(volume.identity().incarnation);
        if let Some(cluster) = volume.identity().cluster {
            me.settle_cluster(cluster);
        }
        let (views, receiver) = watch::channel(None);
        let links = Links { me: me.clone(), network, views: receiver };
        let store = LogStore::open(env.clone(), LOG, options.log).await.map_err(ended)?;
        let health = Health::default();
        let (index, absent) = Index::new(links.clone(), health.clone());
        let (blocks, damaged) = Blocks::new(links.clone(), health, options.cache_bytes);
        let searcher = Searcher { index: Arc::new(index), blocks: Arc::new(blocks) };
        let reports = Arc::new(Reports::default());
        collect_reports(reports.clone(), absent, damaged);
        let court = Court {
            links: links.clone(),
            tables: Arc::new(Tables::new(links.clone())),
            searcher: searcher.clone(),
            room: Arc::new(Room::default()),
            metrics: WorkMetrics::default(),
            reports,
            works: Arc::new(Works::default()),
        };
        let (send, receive) = mpsc::channel(4);
        let identity = IdentityDoor::new(me, options.version.clone());
        if let Some(record) = founding.record() {
            identity.settle_record(record);
        }
        Ok(FrontendNode {
            identity: Arc::new(identity),
            membership: Membership::new(
                links.clone(),
                options.seeds.clone(),
                options.zone,
                options.version.clone(),
                views.clone(),
            ),
            residents: Arc::default(),
            router: Router::new(links.clone()),
            env,
            volume,
            links,
            founding,
            searcher,
            court,
            views,
            store,
            seeds: options.seeds,
            version: options.version,
            orders: (send, Some(receive)),
            room: Arc::default(),
        })
    }

    /// Takes requests for keys and values.
    pub fn kv_peer(&self) -> KvPeer {
        Peer::new(Arc::new(KvDoor::new(self.router.clone(), self.searcher.clone(), self.env.clock.clone())))
    }

    /// Takes questions for groups.
    pub fn group_peer(&self) -> GroupPeer {
        let works = self.court.works.clone();
        Peer::new(Arc::new(GroupDoor::new(self.router.clone(), self.searcher.clone(), works)))
    }

    /// Takes frames for replicas.
    pub fn raft_peer(&self) -> RaftPeer {
        Peer::new(Arc::new(RaftDoor(self.residents.clone())))
    }

    /// Takes administration requests.
    pub fn admin_peer(&self) -> AdminPeer {
        Peer::new(Arc::new(AdminDoor {
            links: self.links.clone(),
            identity: self.identity.clone(),
            residents: self.residents.clone(),
            router: self.router.clone(),
            founding: self.founding.clone(),
            seeds: self.seeds.clone(),
            orders: self.orders.0.clone(),
            figures: self.figures(),
            disk: self.env.disk.clone(),
            version: self.version.clone(),
        }))
    }

    /// Who the node is, for the guard before its doors.
    pub fn me(&self) -> Arc<Me> {
        self.links.me.clone()
    }

    /// Says when the node serves.
    pub fn readiness(&self) -> Arc<IdentityDoor> {
        self.identity.clone()
    }

    /// For who is about to stop the node, while it runs: lets others lead the groups that are led here. It takes 5
    /// seconds at most; what could not be handed over is led by election.
    pub fn hand_over(&self) -> BoxFuture<'static, ()> {
        Box::pin(farewell::hand_over(self.residents.clone()))
    }

    /// Shows the figures of this frontend.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.court.metrics.register(registry);
        registry.register_collector(Box::new(self.figures()));
    }

    fn figures(&self) -> Figures {
        Figures {
            router: self.router.clone(),
            blocks: self.searcher.blocks.clone(),
            log: self.store.clone(),
            residents: self.residents.clone(),
            room: self.room.clone(),
        }
    }

    /// Becomes part of a store, serves, and returns why it ended.
    pub fn run(mut self) -> BoxFuture<'static, Ended> {
        let mut failed = self.store.failed();
        Box::pin(async move {
            tokio::select! {
                biased;
                failure = failed.wait_for(Option::is_some) => match failure {
                    Ok(failure) => failure.clone().map_or_else(stopped, Ended::LogFailed),
                    Err(_) => stopped(),
                },
                ended = self.live() => ended,
            }
        })
    }

    async fn live(&mut self) -> Ended {
        let replicas = Arc::new(Replicas {
            store: self.store.clone(),
            wire: Arc::new(Wire::new(self.links.clone(), self.founding.clone())),
            residents: self.residents.clone(),
            router: self.router.clone(),
            court: self.court.clone(),
            views: self.views.clone(),
            founding: self.founding.clone(),
        });
        if let Err(ended) = self.enter(&replicas).await {
            return ended;
        }
        if let Err(error) = self.membership.register().await {
            return refused(error);
        }
        let report = Leading(self.residents.clone());
        let ready = set_ready_when_serving(self.router.clone(), self.identity.clone());
        let orders = self.orders.1.take();
        tokio::select! {
            biased;
            error = replicas.follow() => ended(error),
            error = self.membership.beat(&report) => refused(error),
            () = refuse_orders(orders, self.links.me.clone()) => stopped(),
            () = ready => stopped(),
            () = look_at_room(self.env.disk.clone(), self.room.clone()) => stopped(),
        }
    }

    /// Finds or begins the store of this node.
    async fn enter(&mut self, replicas: &Arc<Replicas>) -> Result<(), Ended> {
        if self.volume.identity().cluster.is_none() {
            match self.wait_for_store().await? {
                Entry::Begins(record) => self.begin(replicas, &record).await?,
                Entry::Joins(cluster) => self.join(cluster).await?,
            }
            return Ok(());
        }
        let known = self.store.replicas();
        if let Some((_, replica)) = known.into_iter().find(|(group, _)| *group == GroupId::META) {
            // A crash may have come between the making of a first member's replica and its beginning.
            let first = self.founding.record().and_then(|record| self.first_members(&record));
            let first = first.filter(|(own, _)| *own == replica).map(|(_, members)| members);
            self.open_meta(replicas, replica, first).await?;
        } else if let Some(record) = self.founding.record() {
            // The record was written, and the process ended before the group began.
            match self.begin(replicas, &record).await {
                // Or the group has let this replica go since: the node goes on without it.
                Err(Ended::LogRefused(OpenError::IdUsed { .. })) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Waits for a bootstrap record, or for word of a store that exists.
    async fn wait_for_store(&mut self) -> Result<Entry, Ended> {
        let Some(mut orders) = self.orders.1.take() else { return Err(stopped()) };
        loop {
            tokio::select! {
                biased;
                Some(order) = orders.recv() => {
                    let record = order.record.clone();
                    let listed = record.members.iter().any(|member| Some(member.node) == self.links.me.node());
                    if !listed {
                        let _ = order.answer.send(Err(Error::new(
                            Reason::StateRefused,
                            "this node is not a first member by that record",
                        )));
                        continue;
                    }
                    if self.founding.record().is_some_and(|present| present != record) {
                        let _ = order.answer.send(Err(Error::new(
                            Reason::StateRefused,
                            "this volume holds the bootstrap record of another store; begin with an empty volume",
                        )));
                        continue;
                    }
                    // Before the identity, so that whoever belongs to a store can also begin it.
                    self.founding.write(&record).await.map_err(Ended::Volume)?;
                    self.identity.settle_record(record.clone());
                    self.join(record.cluster).await?;
                    let _ = order.answer.send(Ok(Bootstrapped {}));
                    self.orders.1 = Some(orders);
                    return Ok(Entry::Begins(record));
                }
                cluster = self.membership.find_cluster() => {
                    self.orders.1 = Some(orders);
                    return Ok(Entry::Joins(cluster));
                }
            }
        }
    }

    async fn join(&mut self, cluster: ClusterId) -> Result<(), Ended> {
        self.volume.join(cluster).await.map_err(Ended::Volume)?;
        self.links.me.settle_cluster(cluster);
        Ok(())
    }

    async fn begin(&mut self, replicas: &Arc<Replicas>, record: &Bootstrap) -> Result<(), Ended> {
        let Some((own, members)) = self.first_members(record) else { return Ok(()) };
        self.open_meta(replicas, own, Some(members)).await
    }

    /// This node's replica of the meta group and all of its first members, if it is one of them.
    fn first_members(&self, record: &Bootstrap) -> Option<(ReplicaId, Vec<ReplicaId>)> {
        let me = self.links.me.node();
        let at = record.members.iter().position(|member| Some(member.node) == me)?;
        let members = (1..=record.members.len() as u64).map(ReplicaId).collect();
        Some((ReplicaId(at as u64 + 1), members))
    }

    async fn open_meta(
        &self,
        replicas: &Arc<Replicas>,
        replica: ReplicaId,
        first: Option<Vec<ReplicaId>>,
    ) -> Result<(), Ended> {
        let host = replicas.open_meta(replica).await.map_err(ended)?;
        let voters = first.clone().unwrap_or_else(|| host.replica.members().voters.into_iter().collect());
        let lowest = voters.first() == Some(&replica);
        drop(task::spawn(begin(host.replica.clone(), first, lowest)));
        Ok(())
    }
}

/// How a node becomes part of a store.
enum Entry {
    Begins(Bootstrap),
    Joins(ClusterId),
}

/// Answers bootstrap orders of a node that belongs to a store.
async fn refuse_orders(orders: Option<mpsc::Receiver<BootstrapOrder>>, me: Arc<Me>) {
    let Some(mut orders) = orders else { return std::future::pending().await };
    while let Some(order) = orders.recv().await {
        let answer = match me.cluster() {
            Some(cluster) if cluster == order.record.cluster => Ok(Bootstrapped {}),
            _ => Err(Error::new(Reason::StateRefused, "this node belongs to another store already")),
        };
        let _ = order.answer.send(answer);
    }
    std::future::pending().await
}

/// Keeps the figure of the room on the volume up to date, for ever.
async fn look_at_room(disk: Arc<dyn Disk>, room: Arc<Mutex<Option<Space>>>) {
    loop {
        if let Ok(space) = disk.space().await {
            *room.lock() = Some(space);
        }
        time::sleep(LOOK_AT_ROOM_EVERY).await;
    }
}

/// The node is ready once every data group has a leader that it can name. Latches.
async fn set_ready_when_serving(router: Router, identity: Arc<IdentityDoor>) {
    loop {
        let groups = router.groups().unwrap_or_default();
        let served = |group: &GroupId| {
            !matches!(router.route_group(*group), crate::flow::route::Route::There { leader: None, .. })
        };
        if !groups.is_empty() && groups.iter().all(served) {
            identity.set_ready();
            return std::future::pending().await;
        }
        time::sleep(Duration::from_millis(5)).await;
    }
}

fn collect_reports(
    reports: Arc<Reports>,
    mut absent: mpsc::Receiver<crate::hand::index::AbsentPart>,
    mut damaged: mpsc::Receiver<crate::hand::blocks::DamagedCopy>,
) {
    drop(task::spawn(async move {
        loop {
            tokio::select! {
                biased;
                Some(report) = damaged.recv() => reports.copy(report),
                Some(report) = absent.recv() => reports.part(report),
                else => return,
            }
        }
    }));
}

/// What a frontend tells with its heartbeats.
struct Leading(Arc<Residents>);

impl Report for Leading {
    fn fill(&self, heartbeat: &mut Heartbeat) {
        for host in self.0.data() {
            heartbeat.replicas.push(host.replica.id());
            let Ok(reigning) = host.reigning() else { continue };
            let view = host.published.view();
            let members = host.replica.members();
            heartbeat.leads.push(LedGroup {
                group: host.group,
                term: reigning.term,
                voters: if members.joint { Vec::new() } else { members.voters.into_iter().collect() },
                ranges: view.tablets.iter().map(|tablet| tablet.range.clone()).collect(),
                bans: view
                    .bans
                    .iter()
                    .filter(|(_, ban)| ban.banned)
                    .map(|(node, ban)| (*node, ban.epoch))
                    .collect(),
                shut_out: host.replica.shut_out().borrow().iter().copied().collect(),
            });
        }
        let Some(meta) = self.0.meta() else { return };
        heartbeat.replicas.push(meta.replica.id());
        if let Ok(reigning) = meta.reigning() {
            let members = meta.replica.members();
            heartbeat.leads.push(LedGroup {
                group: GroupId::META,
                term: reigning.term,
                voters: if members.joint { Vec::new() } else { members.voters.into_iter().collect() },
                ranges: Vec::new(),
                bans: Vec::new(),
                shut_out: meta.replica.shut_out().borrow().iter().copied().collect(),
            });
        }
    }
}

/// Only damage is a reason to replace a node: its log may hold the last copy of what was acknowledged.
fn ended(error: OpenError) -> Ended {
    match error {
        OpenError::Corrupt(_) | OpenError::ReplicaCorrupt { .. } => Ended::LogCorrupt(error),
        OpenError::IdUsed { .. } | OpenError::Level { .. } | OpenError::Io(_) | OpenError::Raft { .. } => {
            Ended::LogRefused(error)
        }
    }
}

/// A volume that has lost what it acknowledged is as bad as a damaged one; whatever else is refused needs a person.
fn refused(error: Error) -> Ended {
    match error.detail(LOST_ENTRIES) {
        Some(_) => Ended::LogLost(error),
        None => Ended::Refused(error),
    }
}

fn stopped() -> Ended {
    Ended::Refused(Error::new(Reason::NotReady, "the node was stopped"))
}
