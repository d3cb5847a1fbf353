//! Nodes with replicas of some groups, in a simulated world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lamina_consensus::{LogOptions, LogStore, OpenError, ProposeError, RaftWire, Replica};
use lamina_env::time::{Duration, now, sleep, timeout};
use lamina_env::watch;
use lamina_peers::raft::{RaftAnswer, RaftCall, RaftReply, RaftRequest};
use lamina_peers::{Network, Port};
use lamina_sim::network::{NetworkOf, Services};
use lamina_sim::{SimNode, World};
use lamina_types::{Error, GroupId, LogIndex, Reason, ReplicaId, RequestContext, Result};
use parking_lot::Mutex;

use crate::journal::{Journal, Page};

/// A replica that is open, and what its machine holds.
#[derive(Clone)]
pub struct Open {
    /// The replica.
    pub replica: Replica<Journal>,
    /// What readers see.
    pub page: Arc<Mutex<Page>>,
}

/// What runs on one node.
#[derive(Clone, Default)]
pub struct Running {
    /// The log.
    pub store: Option<LogStore>,
    /// Its replicas.
    pub open: BTreeMap<GroupId, Open>,
    /// Why it could not start.
    pub refused: Option<String>,
}

/// Nodes `n1`, `n2` and so on; each may have a replica of each group.
#[derive(Clone)]
pub struct Fleet {
    world: World,
    groups: u32,
    first: u64,
    options: LogOptions,
    running: Arc<Mutex<BTreeMap<u64, Running>>>,
    nodes: Arc<Mutex<BTreeMap<u64, Arc<SimNode>>>>,
    shut: Arc<Mutex<BTreeSet<u64>>>,
    calls: Arc<Mutex<BTreeMap<(u64, u64), u64>>>,
}

/// Timings and sizes of tests: small, so that everything happens often.
pub fn quick() -> LogOptions {
    LogOptions {
        segment_bytes: 16 << 10,
        checkpoint_log_bytes: 8 << 10,
        log_bytes_max: 160 << 10,
        cache_bytes: 2 << 10,
        append_bytes_max: 4 << 10,
        snapshot_piece_bytes: 512,
        message_timeout: Duration::from_millis(500),
        keep_for_followers: Duration::from_secs(20),
        ..LogOptions::default()
    }
}

/// The replica of a group on a node.
pub fn replica_of(group: GroupId, node: u64) -> ReplicaId {
    ReplicaId(u64::from(group.0) * 16 + node)
}

fn node_of(replica: ReplicaId) -> u64 {
    replica.0 % 16
}

/// The name of a node, which is its address too.
pub fn name(node: u64) -> String {
    format!("n{node}")
}

struct Wire {
    node: u64,
    network: NetworkOf,
    calls: Arc<Mutex<BTreeMap<(u64, u64), u64>>>,
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
        *self.calls.lock().entry((self.node, node_of(to))).or_default() += 1;
        let peer = self.network.raft(&name(node_of(to)));
        let call = RaftCall { group, from, to, bulk, frame };
        peer.call(RequestContext::new(0, deadline_ms), call).await.map(|reply| reply.frame)
    }
}

struct Door {
    node: u64,
    running: Arc<Mutex<BTreeMap<u64, Running>>>,
}

#[async_trait]
impl Port<RaftRequest, RaftAnswer> for Door {
    async fn call(&self, _: RequestContext, request: RaftRequest) -> Result<RaftAnswer> {
        let RaftRequest::RaftCall(call) = request;
        let open =
            self.running.lock().get(&self.node).and_then(|running| running.open.get(&call.group).cloned());
        let open = open.filter(|open| open.replica.id() == call.to);
        let open = open.ok_or_else(|| Error::new(Reason::NotFound, "no such replica here"))?;
        let frame = open.replica.handle(call.from, call.frame).await?;
        Ok(RaftAnswer::RaftCall(RaftReply { frame }))
    }
}

impl Fleet {
    /// `nodes` nodes, of which the first `members` begin `groups` groups.
    pub fn start(world: &World, nodes: u64, members: u64, groups: u32, options: LogOptions) -> Fleet {
        let fleet = Fleet {
            world: world.clone(),
            groups,
            first: members,
            options,
            running: Arc::default(),
            nodes: Arc::default(),
            shut: Arc::default(),
            calls: Arc::default(),
        };
        for node in 1..=nodes {
            fleet.add(node);
        }
        fleet
    }

    /// Starts one more node.
    pub fn add(&self, node: u64) {
        let fleet = self.clone();
        let handle = self.world.node(&name(node), move |life| {
            let fleet = fleet.clone();
            async move {
                fleet.running.lock().insert(node, Running::default());
                let door = Door { node, running: fleet.running.clone() };
                if let Err(error) = fleet.boot(node, life.env, life.network.clone()).await {
                    fleet.world.trace(format_args!("n{node} does not start: {error}"));
                    fleet.running.lock().entry(node).or_default().refused = Some(error.to_string());
                    return;
                }
                let services = Services { raft: Some(Arc::new(door)), ..Services::default() };
                life.network.serve(&name(node), services);
            }
        });
        self.nodes.lock().insert(node, handle);
    }

    async fn boot(
        &self,
        node: u64,
        env: lamina_env::Env,
        network: NetworkOf,
    ) -> std::result::Result<(), OpenError> {
        let store = LogStore::open(env, "log", self.options.clone()).await?;
        let wire: Arc<dyn RaftWire> = Arc::new(Wire { node, network, calls: self.calls.clone() });
        for group in (1..=self.groups).map(GroupId) {
            let id = replica_of(group, node);
            let (journal, page) = Journal::new();
            let shut = self.shut.lock().contains(&node);
            let replica = store.open_replica(group, id, journal, wire.clone(), shut).await?;
            let open = Open { replica: replica.clone(), page };
            self.running.lock().entry(node).or_default().open.insert(group, open);
            if node <= self.first && !shut {
                let members: Vec<_> = (1..=self.first).map(|node| replica_of(group, node)).collect();
                let world = self.world.clone();
                // As frontends do it: nobody waits for a member whose turn comes later.
                drop(lamina_env::task::spawn(async move {
                    if let Err(error) = replica.initialise(&members).await {
                        world.trace(format_args!("n{node} does not begin group {group}: {error}"));
                    }
                    if node == 1 {
                        replica.campaign().await;
                    }
                }));
            }
        }
        self.running.lock().entry(node).or_default().store = Some(store);
        Ok(())
    }

    /// Nodes that are opened shut from their next start on.
    pub fn shut(&self, node: u64) {
        self.shut.lock().insert(node);
    }

    /// How many frames a node has sent to another.
    pub fn calls(&self, from: u64, to: u64) -> u64 {
        self.calls.lock().get(&(from, to)).copied().unwrap_or(0)
    }

    /// The node itself.
    pub fn node(&self, node: u64) -> Arc<SimNode> {
        self.nodes.lock()[&node].clone()
    }

    /// All nodes' numbers.
    pub fn all(&self) -> Vec<u64> {
        self.nodes.lock().keys().copied().collect()
    }

    /// What runs on a node, if it is up and has started.
    pub fn running(&self, node: u64) -> Option<Running> {
        if !self.node(node).is_up() {
            return None;
        }
        self.running.lock().get(&node).cloned()
    }

    /// A replica.
    pub fn open(&self, node: u64, group: GroupId) -> Option<Open> {
        self.running(node)?.open.get(&group).cloned()
    }

    /// The log of a node; waits until it has started.
    pub async fn store(&self, node: u64) -> LogStore {
        self.eventually("the node starts", || self.running(node)?.store).await
    }

    /// Why a node did not start.
    pub fn refused(&self, node: u64) -> Option<String> {
        self.running(node)?.refused
    }

    /// Power loss on a node, then it starts again.
    pub fn crash(&self, node: u64) {
        self.node(node).crash();
        self.start_node(node);
    }

    /// Starts a node that is down.
    pub fn start_node(&self, node: u64) {
        if !self.node(node).is_up() {
            // What its last life left must not pass for what this one does.
            self.running.lock().insert(node, Running::default());
            self.node(node).start();
        }
    }

    /// Waits until `look` finds something; polls every simulated ten milliseconds, for two simulated minutes.
    pub async fn eventually<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let began = now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(began.elapsed() < Duration::from_secs(120), "it did not happen that {what}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The node that leads a group, in the highest term, with that term; waits for one.
    pub async fn leader(&self, group: GroupId) -> (u64, u64) {
        self.eventually("the group has a leader", || self.present_leader(group)).await
    }

    /// The node that leads a group in the highest term, if there is one.
    pub fn present_leader(&self, group: GroupId) -> Option<(u64, u64)> {
        let leads = self.all().into_iter().filter_map(|node| {
            let leadership = *self.open(node, group)?.replica.leadership().borrow();
            leadership.mine.then_some((leadership.term, node))
        });
        leads.max().map(|(term, node)| (node, term))
    }

    /// Proposes once, at whoever leads now, for at most three seconds. `None`: nobody leads.
    pub async fn propose(
        &self,
        group: GroupId,
        entry: &str,
    ) -> Option<std::result::Result<(LogIndex, usize), ProposeError>> {
        let (node, term) = self.present_leader(group)?;
        let replica = self.open(node, group)?.replica;
        let proposed = replica.propose(term, Bytes::from(entry.to_owned()));
        Some(timeout(Duration::from_secs(3), proposed).await.unwrap_or(Err(ProposeError::Unknown)))
    }

    /// Proposes under names of their own until one attempt is acknowledged; answers where it is.
    pub async fn put(&self, group: GroupId, entry: &str) -> LogIndex {
        for attempt in 0..2000 {
            match self.propose(group, &format!("{entry}/{attempt}")).await {
                Some(Ok((index, _))) => return index,
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
        panic!("nobody takes {entry}");
    }

    /// Waits until all nodes that are up have applied the same entries, and answers them.
    pub async fn agree(&self, group: GroupId, at_least: u64) -> Page {
        self.eventually("the replicas agree", || {
            let mut pages = Vec::new();
            for node in self.all() {
                if self.node(node).is_up() {
                    pages.push(self.open(node, group)?.page.lock().clone());
                }
            }
            let first = pages.first()?.clone();
            let same = |page: &Page| page.applied == first.applied && page.digest == first.digest;
            (first.applied >= at_least && pages.iter().all(same)).then_some(first)
        })
        .await
    }

    /// Waits for a value that is watched.
    pub async fn until<T: Clone>(&self, mut watched: watch::Receiver<T>, is: impl Fn(&T) -> bool) -> T {
        let waited = timeout(Duration::from_secs(60), watched.wait_for(|value| is(value))).await;
        waited.expect("it happens within a minute").expect("it is still watched").clone()
    }
}
