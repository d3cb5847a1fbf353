//! A whole store in one process: starts every node, bootstraps once, watches over them.
//!
//! The supervisor does by itself what the operator does in a cluster: a frontend whose log is damaged is replaced
//! under a new identity while the others serve; a failed write of a log ends the whole process, which is started
//! again from what is on disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use lamina_client::Client;
use lamina_data::DataNodeOptions;
use lamina_env::clock::{Clock, OsClock};
use lamina_env::disk::Disk;
use lamina_env::task::TaskGroup;
use lamina_env::time::{self, Duration, Instant};
use lamina_env::{Env, random};
use lamina_frontend::FrontendOptions;
use lamina_index::IndexOptions;
use lamina_peers::Network;
use lamina_peers::admin::{Bootstrap, FirstMember, Identify, ReleaseVolume, SetNodeState};
use lamina_peers::view::{NodeState, Settings};
use lamina_rpc::{Server, ServerOptions, Services, serve};
use lamina_telemetry::http::{HttpDoor, HttpOptions};
use lamina_telemetry::metrics::Metrics;
use lamina_types::{ClusterId, Error, NodeId, RequestContext, Role};
use tokio::sync::mpsc;

use crate::assemble::{self, End, Node};
use crate::directory::{Directory, Endpoints};
use crate::network::LocalNetwork;

/// How long a start may take before it is given up.
const READY: Duration = Duration::from_secs(60);
/// A dead node may be declared lost after this time; a little more, because clocks of heartbeats lag.
const LOST: Duration = Duration::from_secs(31);

/// How a store is started.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// The directory; made if it is not there.
    pub dir: PathBuf,
    /// Where clients connect (`host:port`); `None`: only this process uses the store.
    pub listen: Option<String>,
    /// Where `/live`, `/ready` and `/metrics` are served; `None`: nowhere.
    pub admin_listen: Option<String>,
    /// What is settled when the store begins. Later starts take what was settled then.
    pub settings: Settings,
    /// Bytes of each frontend's block cache.
    pub cache_bytes: u64,
    /// Bytes of index parts on each index node.
    pub index_memory_bytes: u64,
    /// The version of the program.
    pub version: String,
}

impl UpOptions {
    /// Three nodes of each role in this directory, for this process alone.
    pub fn embedded(dir: impl Into<PathBuf>) -> UpOptions {
        UpOptions {
            dir: dir.into(),
            listen: None,
            admin_listen: None,
            settings: Settings::default(),
            cache_bytes: 128 << 20,
            index_memory_bytes: 1 << 30,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Why a store does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The directory cannot be used: it belongs to another store, is in use, is damaged. Nothing was written.
    #[error("{0}")]
    Refused(String),
    /// The operating system refuses.
    #[error("{doing}: {error}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The address is taken.
    #[error("{0}")]
    Listen(Error),
    /// A write of a log failed: the process must end, and may start again.
    #[error("{0}")]
    Failed(String),
    /// It did not become ready in time.
    #[error("the store did not become ready within {} seconds: {why}", READY.as_secs())]
    NotReady {
        /// What it was waiting for.
        why: String,
    },
}

/// A whole store in this process.
pub struct Store {
    network: LocalNetwork,
    frontends: Vec<String>,
    endpoints: Endpoints,
    cluster: ClusterId,
    is_new: bool,
    took: Duration,
    ended: mpsc::Receiver<UpError>,
    nodes: TaskGroup,
    server: Option<Server>,
    _http: Option<HttpDoor>,
}

impl Store {
    /// Starts a store, and returns when it serves.
    ///
    /// # Errors
    /// [`UpError`].
    pub async fn up(options: UpOptions) -> Result<Store, UpError> {
        let started = time::now();
        let directory = Arc::new(Directory::open(&options.dir).map_err(io("opening the directory"))?);
        let record = directory.record().await.map_err(io("reading the bootstrap record"))?;
        let is_new = record.is_none();
        let settings = record.as_ref().map_or(options.settings.clone(), |record| record.settings.clone());
        let network = LocalNetwork::new();
        let (end, ended) = mpsc::channel(16);
        let nodes = TaskGroup::new();
        let supervisor = Supervisor {
            directory: directory.clone(),
            network: network.clone(),
            options: options.clone(),
            seeds: names(Role::Frontend, settings.frontends),
            end,
            nodes: nodes.clone(),
            replacing: Arc::default(),
        };
        supervisor.start_all(&settings).await?;
        let cluster = supervisor.bootstrap(record, &settings).await?;
        let frontends = names(Role::Frontend, settings.frontends);
        let mut store = Store {
            network,
            frontends,
            endpoints: Endpoints::default(),
            cluster,
            is_new,
            took: Duration::ZERO,
            ended,
            nodes,
            server: None,
            _http: None,
        };
        store.wait_until_ready(started).await?;
        store.open_doors(&options).await?;
        directory.write_endpoints(&store.endpoints).await.map_err(io("writing endpoints.json"))?;
        store.took = started.elapsed();
        Ok(store)
    }

    /// A client of this store, without any socket.
    pub fn client(&self) -> Client {
        Client::over(Arc::new(self.network.clone()), self.frontends.clone())
    }

    /// The name of the store.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Whether this start made the store.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// How long the start took.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Where clients and browsers connect.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Runs until `shutdown` is done, or the store cannot go on.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn run_until(mut self, shutdown: impl Future<Output = ()>) -> Result<(), UpError> {
        tokio::select! {
            biased;
            () = shutdown => {}
            Some(error) = self.ended.recv() => {
                self.nodes.stop();
                return Err(error);
            }
        }
        self.down().await;
        Ok(())
    }

    /// Stops the store. What was acknowledged stays, however it is stopped.
    pub async fn down(mut self) {
        if let Some(server) = self.server.take() {
            server.drain().await;
        }
        self.nodes.stop();
    }

    async fn wait_until_ready(&mut self, started: Instant) -> Result<(), UpError> {
        let client = self.client();
        let mut why = String::from("no node has answered yet");
        while started.elapsed() < READY {
            if let Ok(error) = self.ended.try_recv() {
                self.nodes.stop();
                return Err(error);
            }
            let quick = client
                .clone()
                .with(lamina_client::Options { deadline: Duration::from_millis(500), repeat: false });
            match quick.probe().await {
                Ok(_) => return Ok(()),
                Err(error) => why = error.to_string(),
            }
            time::sleep(Duration::from_millis(5)).await;
        }
        self.nodes.stop();
        Err(UpError::NotReady { why })
    }

    async fn open_doors(&mut self, options: &UpOptions) -> Result<(), UpError> {
        if let Some(listen) = &options.listen {
            let services = self.client_services();
            let server =
                serve(ServerOptions { listen: listen.clone(), services, calls: None, reflection: true })
                    .await
                    .map_err(UpError::Listen)?;
            self.endpoints.clients = vec![server.address().to_string()];
            self.server = Some(server);
        }
        if let Some(listen) = &options.admin_listen {
            let http = HttpOptions {
                listen: listen.clone(),
                metrics: Metrics::new(),
                ready: Arc::new(|| Ok(())),
                page: None,
            };
            let door = HttpDoor::open(http).await.map_err(io("opening the port for status and metrics"))?;
            self.endpoints.status = vec![door.address().to_string()];
            self._http = Some(door);
        }
        Ok(())
    }

    /// The one client door: the first frontend's, which sends on to whoever leads.
    fn client_services(&self) -> Services {
        let first = self.frontends.first().cloned().unwrap_or_default();
        Services {
            kv: Some(self.network.kv(&first)),
            admin: Some(self.network.admin(&first)),
            ..Services::default()
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.nodes.stop();
    }
}

/// Starts nodes, and starts them again.
#[derive(Clone)]
struct Supervisor {
    directory: Arc<Directory>,
    network: LocalNetwork,
    options: UpOptions,
    seeds: Vec<String>,
    end: mpsc::Sender<UpError>,
    nodes: TaskGroup,
    /// A frontend is being replaced: the others have to keep a majority of every group until that is done.
    replacing: Arc<AtomicBool>,
}

impl Supervisor {
    async fn start_all(&self, settings: &Settings) -> Result<(), UpError> {
        let roles = [
            (Role::Frontend, settings.frontends),
            (Role::Index, settings.index_nodes),
            (Role::Data, settings.data_nodes),
        ];
        let all: Vec<(Role, String)> = roles
            .into_iter()
            .flat_map(|(role, count)| names(role, count).into_iter().map(move |name| (role, name)))
            .collect();
        let opened = join_all(all.iter().map(|(role, name)| self.open(*role, name))).await;
        for ((role, name), node) in all.into_iter().zip(opened) {
            match node {
                Ok(node) => self.run(role, name, node),
                Err(End::Corrupt(why)) => {
                    let supervisor = self.clone();
                    drop(self.nodes.spawn(async move { supervisor.replace(role, name, why).await }));
                }
                Err(End::Failed(why) | End::Refused(why)) => {
                    self.nodes.stop();
                    return Err(UpError::Refused(format!(
                        "{}: {why}",
                        self.options.dir.join(&name).display()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Opens a node; what it starts belongs to a task group of its own, which ends when the node is dropped.
    async fn open(&self, role: Role, name: &str) -> Result<(Node, TaskGroup), End> {
        let group = TaskGroup::new();
        let (supervisor, name) = (self.clone(), name.to_owned());
        let opening = group.spawn(async move { supervisor.open_here(role, &name).await });
        match opening.await {
            Ok(Ok(node)) => Ok((node, group)),
            Ok(Err(end)) => Err(end),
            Err(error) => Err(End::Failed(format!("starting a node failed: {error}"))),
        }
    }

    async fn open_here(&self, role: Role, name: &str) -> Result<Node, End> {
        let network: Arc<dyn Network> = Arc::new(self.network.clone());
        let (seeds, version) = (self.seeds.clone(), self.options.version.clone());
        let (name, address, zone) = (name.to_owned(), name.to_owned(), String::new());
        match role {
            Role::Frontend => {
                let options = FrontendOptions {
                    name: name.clone(),
                    address,
                    seeds,
                    zone,
                    cache_bytes: self.options.cache_bytes,
                    version,
                    log: lamina_consensus::LogOptions::default(),
                };
                assemble::frontend(self.env(&name)?, network, options).await
            }
            Role::Index => {
                let memory_bytes_max = self.options.index_memory_bytes;
                let options = IndexOptions { name, address, seeds, zone, memory_bytes_max, version };
                Ok(assemble::index(network, options))
            }
            Role::Data => {
                let options = DataNodeOptions { name: name.clone(), address, seeds, zone, version };
                assemble::data(self.env(&name)?, network, options).await
            }
        }
    }

    fn env(&self, name: &str) -> Result<Env, End> {
        let disk = self.directory.volume(name).map_err(|error| End::Refused(error.to_string()))?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        Ok(Env { clock: Arc::new(OsClock), disk })
    }

    fn run(&self, role: Role, name: String, (node, group): (Node, TaskGroup)) {
        self.network.serve(&name, node.services.clone());
        let supervisor = self.clone();
        drop(self.nodes.spawn(async move {
            // Whatever ends this task ends everything that the node has started.
            let group = StopOnDrop(group);
            let life = group.0.spawn(node.life);
            let end = life.await.unwrap_or_else(|error| End::Failed(format!("{name} has crashed: {error}")));
            supervisor.network.withdraw(&name);
            drop(group);
            match end {
                End::Corrupt(why) => supervisor.replace(role, name, why).await,
                End::Failed(why) => {
                    let _ = supervisor.end.send(UpError::Failed(format!("{name}: {why}"))).await;
                }
                End::Refused(why) => {
                    let _ = supervisor.end.send(UpError::Refused(format!("{name}: {why}"))).await;
                }
            }
        }));
    }

    /// Replaces a node whose log is damaged under a new identity, as the operator does in a cluster.
    async fn replace(self, role: Role, name: String, why: String) {
        if self.seeds.len() < 3 || self.replacing.swap(true, Ordering::AcqRel) {
            let why = format!(
                "{name}: {why}; it is not replaced by itself, because the other frontends may not hold everything that it holds"
            );
            let _ = self.end.send(UpError::Refused(why)).await;
            return;
        }
        tracing::error!(node = name, why, "the node is replaced under a new identity");
        let lost = lamina_node::identity::read(
            &match self.env(&name) {
                Ok(env) => env,
                Err(_) => return,
            },
            role,
        )
        .await
        .ok()
        .flatten()
        .map(|identity| identity.node);
        if let Err(error) = self.directory.set_aside(&name, OsClock.now_ms()) {
            let doing = format!("setting the volume of {name} aside");
            let _ = self.end.send(UpError::Io { doing, error }).await;
            return;
        }
        match self.open(role, &name).await {
            Ok(node) => self.run(role, name, node),
            Err(end) => {
                let _ = self.end.send(UpError::Refused(format!("{name}: {end:?}"))).await;
                return;
            }
        }
        let Some(lost) = lost else { return };
        if self.bury(lost).await {
            self.replacing.store(false, Ordering::Release);
        }
    }

    /// Declares a lost node dead, and releases its volume, so that its replicas are placed elsewhere. Whether it could.
    async fn bury(&self, lost: NodeId) -> bool {
        let deadline = time::now() + LOST * 20;
        let mut dead = false;
        while time::now() < deadline {
            for seed in &self.seeds {
                let peer = self.network.admin(seed);
                let context = || RequestContext::new(random::u128(), 5_000);
                if !dead {
                    let set = SetNodeState { node: lost, from: NodeState::Active, to: NodeState::Dead };
                    dead = peer.call(context(), set).await.is_ok();
                }
                let released = peer.call(context(), ReleaseVolume { node: lost }).await;
                if matches!(released, Ok(lamina_peers::admin::VolumeReleased::Released)) {
                    return true;
                }
            }
            time::sleep(Duration::from_secs(1)).await;
        }
        false
    }

    /// Begins the store exactly once (protocols §10.1).
    async fn bootstrap(&self, record: Option<Bootstrap>, settings: &Settings) -> Result<ClusterId, UpError> {
        let members = self.members().await?;
        let known: Vec<ClusterId> = members.iter().filter_map(|(_, cluster)| *cluster).collect();
        if let Some(record) = record {
            if let Some(other) = known.iter().find(|cluster| **cluster != record.cluster) {
                return Err(UpError::Refused(format!(
                    "bootstrap.json is of store {}, and a volume beside it of store {other}: \
                     name the directory of one store",
                    record.cluster
                )));
            }
            let ordered = self.order(&record, &members).await?;
            if !ordered && known.is_empty() && !members.is_empty() {
                return Err(UpError::Refused(
                    "bootstrap.json names frontends whose volumes are not in the directory any more \
                     (VolumesLost): put the volumes back, or begin a new store in an empty directory"
                        .into(),
                ));
            }
            return Ok(record.cluster);
        }
        if let Some(cluster) = known.first() {
            return Err(UpError::Refused(format!(
                "the directory holds volumes of store {cluster} but no bootstrap.json; put it back"
            )));
        }
        let first = if settings.development { 1 } else { 3 };
        let record = Bootstrap {
            cluster: ClusterId(random::u128()),
            members: members.iter().take(first).map(|(member, _)| member.clone()).collect(),
            settings: settings.clone(),
        };
        self.directory.write_record(&record).await.map_err(io("writing the bootstrap record"))?;
        self.order(&record, &members).await?;
        Ok(record.cluster)
    }

    async fn members(&self) -> Result<Vec<(FirstMember, Option<ClusterId>)>, UpError> {
        let mut members = Vec::new();
        for seed in &self.seeds {
            let peer = self.network.admin(seed);
            let Ok(identity) = peer.call(RequestContext::new(random::u128(), 5_000), Identify {}).await
            else {
                continue;
            };
            if let Some(node) = identity.node {
                members.push((FirstMember { node, address: seed.clone() }, identity.cluster));
            }
        }
        Ok(members)
    }

    /// Gives the record to the first members that have no store yet; whether there were any.
    async fn order(
        &self,
        record: &Bootstrap,
        members: &[(FirstMember, Option<ClusterId>)],
    ) -> Result<bool, UpError> {
        let is_listed = |member: &FirstMember| record.members.iter().any(|listed| listed.node == member.node);
        let listed = members.iter().filter(|(member, cluster)| cluster.is_none() && is_listed(member));
        let orders = join_all(listed.map(|(member, _)| {
            let peer = self.network.admin(&member.address);
            let context = RequestContext::new(random::u128(), 10_000);
            async move { peer.call(context, record.clone()).await }
        }))
        .await;
        let ordered = !orders.is_empty();
        for order in orders {
            order.map_err(|error| UpError::Refused(error.to_string()))?;
        }
        Ok(ordered)
    }
}

struct StopOnDrop(TaskGroup);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The names of the nodes of a role.
pub fn names(role: Role, count: u32) -> Vec<String> {
    (0..count).map(|ordinal| format!("{role}-{ordinal}")).collect()
}

fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> UpError {
    move |error| UpError::Io { doing: doing.to_owned(), error }
}
