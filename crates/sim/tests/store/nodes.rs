//! The true nodes of a store on a simulated world: started, restarted, bootstrapped.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use lamina_client::Client;
use lamina_consensus::LogOptions;
use lamina_data::DataNodeOptions;
use lamina_env::time::{self, Duration};
use lamina_env::{random, task};
use lamina_frontend::FrontendOptions;
use lamina_index::IndexOptions;
use lamina_local::assemble::{self, End, Node};
use lamina_local::directory::names;
use lamina_peers::admin::{Bootstrap, FirstMember, Identify};
use lamina_peers::view::{NodeState, ReplicaPlacement};
use lamina_peers::{Network, Peer, Port};
use lamina_sim::network::Services;
use lamina_sim::node::Life;
use lamina_sim::{SimNode, World};
use lamina_types::{ClusterId, RequestContext, Result, Role, Settings};
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Sizes so small that a few hundred writes flush, compact, and cut the log.
pub fn settings() -> Settings {
    Settings {
        shards: 4,
        memtable_bytes: 512 << 10,
        block_bytes: 4 << 10,
        table_bytes: 64 << 10,
        ..Settings::default()
    }
}

fn log() -> LogOptions {
    LogOptions {
        segment_bytes: 512 << 10,
        append_bytes_max: 64 << 10,
        snapshot_piece_bytes: 64 << 10,
        cache_bytes: 128 << 10,
        checkpoint_log_bytes: 512 << 10,
        log_bytes_max: 8 << 20,
        keep_for_followers: Duration::from_secs(5),
        ..LogOptions::default()
    }
}

/// A store on a world. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    world: World,
    settings: Settings,
    farewells: Farewells,
}

/// What each node that lives wants to do before it is stopped, by name.
type Farewells = Arc<Mutex<BTreeMap<String, Pin<Box<dyn Future<Output = ()> + Send>>>>>;

impl Store {
    /// Starts three nodes of each role and bootstraps them; returns when the store answers.
    pub async fn up(world: &World, settings: Settings) -> Store {
        let (ended, ends) = mpsc::unbounded_channel();
        let store = Store { world: world.clone(), settings, farewells: Farewells::default() };
        for (role, name) in store.names() {
            let (seeds, ended, farewells) = (store.frontends(), ended.clone(), store.farewells.clone());
            world.node(&name, move |life| live(role, life, seeds.clone(), ended.clone(), farewells.clone()));
        }
        drop(task::spawn(restart_ended(world.clone(), ends)));
        store.bootstrap().await;
        store.wait_until_it_answers(Duration::from_secs(60)).await;
        store
    }

    /// The world.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What bootstrap settled.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A machine by its name.
    pub fn machine(&self, name: &str) -> Arc<SimNode> {
        self.world.nodes()[name].clone()
    }

    /// Every node.
    pub fn names(&self) -> Vec<(Role, String)> {
        let roles = [
            (Role::Frontend, self.settings.frontends),
            (Role::Index, self.settings.index_nodes),
            (Role::Data, self.settings.data_nodes),
        ];
        roles
            .into_iter()
            .flat_map(|(role, count)| names(role, count).into_iter().map(move |name| (role, name)))
            .collect()
    }

    /// The nodes of a role.
    pub fn names_of(&self, role: Role) -> Vec<String> {
        self.names().into_iter().filter(|(of, _)| *of == role).map(|(_, name)| name).collect()
    }

    fn frontends(&self) -> Vec<String> {
        names(Role::Frontend, self.settings.frontends)
    }

    /// A client of its own place in the network, which asks `first` first.
    pub fn client(&self, name: &str, first: usize) -> Client {
        let mut frontends = self.frontends();
        let count = frontends.len();
        frontends.rotate_left(first % count);
        Client::over(Arc::new(self.world.network().client(name)), frontends)
    }

    async fn bootstrap(&self) {
        let network = self.world.network().client("keeper");
        let mut members = Vec::new();
        for address in self.frontends() {
            let node = loop {
                let identity = network.admin(&address).call(context(), Identify {}).await;
                if let Ok(node) = identity.map(|identity| identity.node)
                    && let Some(node) = node
                {
                    break node;
                }
                time::sleep(Duration::from_millis(10)).await;
            };
            members.push(FirstMember { node, address });
        }
        let cluster = ClusterId(random::u128());
        let record = Bootstrap { cluster, members: members.clone(), settings: self.settings.clone() };
        for member in members {
            while let Err(error) = network.admin(&member.address).call(context(), record.clone()).await {
                self.world.trace(format_args!("bootstrap of {}: {error}", member.address));
                time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Waits until a probe goes through all groups.
    pub async fn wait_until_it_answers(&self, limit: Duration) {
        let client = self.client("keeper", 0);
        let quick = client.with(lamina_client::Options { deadline: Duration::from_secs(2), repeat: true });
        let deadline = time::now() + limit;
        loop {
            match quick.probe().await {
                Ok(_) => return,
                Err(error) => {
                    self.world.trace(format_args!("the store does not answer yet: {error}"));
                    assert!(time::now() < deadline, "the store does not answer: {error}");
                }
            }
            time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until nothing is behind: every voter, every copy, every shard.
    pub async fn wait_until_it_is_whole(&self, limit: Duration) {
        let client = self.client("keeper", 0);
        let deadline = time::now() + limit;
        loop {
            let lacks = match client.status().await {
                Ok(status) => lacks(&self.settings, &status),
                Err(error) => Some(format!("no status: {error}")),
            };
            let Some(lacks) = lacks else { return };
            assert!(time::now() < deadline, "the store does not become whole: {lacks}");
            time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Who leads the first data group.
    pub async fn leader(&self, client: &Client) -> String {
        let status = client.status().await.unwrap();
        let (_, stats) = status.groups.first().expect("a group that answers");
        status.view.node(stats.leader).unwrap().name.clone()
    }

    /// Stops a node as a SIGTERM does: what it leads is handed over first.
    pub async fn stop(&self, name: &str) {
        let farewell = self.farewells.lock().remove(name);
        if let Some(farewell) = farewell {
            farewell.await;
        }
        self.machine(name).kill();
    }

    /// Power loss of all nodes at once, and their start.
    pub async fn lose_power(&self) {
        for node in self.world.nodes().values() {
            node.crash();
        }
        time::sleep(Duration::from_millis(100)).await;
        for node in self.world.nodes().values() {
            node.start();
        }
    }
}

/// What keeps the store from being whole, if anything.
fn lacks(settings: &Settings, status: &lamina_peers::admin::Status) -> Option<String> {
    if status.groups.len() != settings.groups as usize {
        return Some(format!(
            "{} of {} groups have a leader that answers",
            status.groups.len(),
            settings.groups
        ));
    }
    for (group, stats) in &status.groups {
        if stats.caught_up.len() != settings.frontend_replication as usize {
            return Some(format!("group {group}: {} replicas are caught up", stats.caught_up.len()));
        }
        if stats.under_replicated > 0 {
            return Some(format!("group {group}: {} tables lack copies", stats.under_replicated));
        }
    }
    let lost = |placement: &&ReplicaPlacement| {
        status.view.node(placement.node).is_none_or(|node| node.state != NodeState::Active)
    };
    for group in &status.view.groups {
        if let Some(placement) = group.replicas.iter().find(lost) {
            return Some(format!("group {}: {placement:?} is on a node that is lost", group.group));
        }
        if !group.leaving.is_empty() {
            return Some(format!("group {}: {:?} have not left", group.group, group.leaving));
        }
    }
    for shard in &status.view.shards {
        let complete = shard.replicas.iter().filter(|replica| replica.complete).count();
        if complete < settings.index_replication as usize {
            return Some(format!("{} has {complete} complete replicas", shard.shard));
        }
    }
    status.view.shards.is_empty().then(|| "no shard is assigned".to_owned())
}

pub fn context() -> RequestContext {
    RequestContext::new(random::u128(), 5_000)
}

/// One life of a node.
async fn live(
    role: Role,
    life: Life,
    seeds: Vec<String>,
    ended: mpsc::UnboundedSender<(String, u64, End)>,
    farewells: Farewells,
) {
    let (name, number) = (life.name.clone(), life.number);
    let node = match open(role, &life, seeds).await {
        Ok(node) => node,
        Err(end) => {
            let _ = ended.send((name, number, end));
            return;
        }
    };
    life.network.serve(&life.name, served(&node));
    farewells.lock().insert(life.name.clone(), node.hand_over);
    let end = node.life.await;
    let _ = ended.send((name, number, end));
}

async fn open(role: Role, life: &Life, seeds: Vec<String>) -> Result<Node, End> {
    let network: Arc<dyn Network> = Arc::new(life.network.clone());
    let (name, address, zone) = (life.name.clone(), life.name.clone(), String::new());
    let version = "simulated".to_owned();
    match role {
        Role::Frontend => {
            let cache_bytes = 256 << 10;
            let options = FrontendOptions { name, address, seeds, zone, cache_bytes, version, log: log() };
            assemble::frontend(life.env.clone(), network, options).await
        }
        Role::Index => {
            let memory_bytes_max = 64 << 20;
            let options = IndexOptions { name, address, seeds, zone, memory_bytes_max, version };
            Ok(assemble::index(network, options))
        }
        Role::Data => {
            let options = DataNodeOptions { name, address, seeds, zone, version };
            assemble::data(life.env.clone(), network, options).await
        }
    }
}

/// Starts a node again whose process has ended by itself, as a supervisor does.
///
/// No fault of these worlds damages synced bytes, so a log that counts as damaged is a defect.
async fn restart_ended(world: World, mut ends: mpsc::UnboundedReceiver<(String, u64, End)>) {
    while let Some((name, number, end)) = ends.recv().await {
        world.trace(format_args!("{name} has ended life {number}: {end:?}"));
        assert!(!matches!(end, End::Corrupt(_)), "{name} takes its log for damaged: {end:?}");
        let Some(node) = world.nodes().get(&name).cloned() else { continue };
        node.kill();
        drop(task::spawn(async move {
            time::sleep(Duration::from_millis(random::between(100, 2_000))).await;
            node.start();
        }));
    }
}

fn served(node: &Node) -> Services {
    let services = node.services.clone();
    Services {
        kv: services.kv.map(port),
        index: services.index.map(port),
        data: services.data.map(port),
        group: services.group.map(port),
        raft: services.raft.map(port),
        admin: services.admin.map(port),
    }
}

fn port<Q: Send + 'static, A: Send + 'static>(peer: Peer<Q, A>) -> Arc<dyn Port<Q, A>> {
    Arc::new(Through(peer))
}

/// A peer as a port.
struct Through<Q, A>(Peer<Q, A>);

#[async_trait]
impl<Q: Send + 'static, A: Send + 'static> Port<Q, A> for Through<Q, A> {
    async fn call(&self, context: RequestContext, request: Q) -> Result<A> {
        self.0.forward(context, request).await
    }
}
