//! A whole store in one process: starts every node, bootstraps once, watches over them.
//!
//! The supervisor does by itself what the operator does in a cluster: a frontend whose log is damaged is replaced
//! under a new identity while the others serve; a failed write of a log ends the whole process, which is started
//! again from what is on disk.

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::join_all;
use lamina_client::Client;
use lamina_consensus::LogOptions;
use lamina_data::DataNodeOptions;
use lamina_env::clock::{Clock, OsClock};
use lamina_env::disk::Lock;
use lamina_env::task::TaskGroup;
use lamina_env::time::{self, Duration, Instant};
use lamina_env::{Env, random};
use lamina_frontend::FrontendOptions;
use lamina_index::IndexOptions;
use lamina_peers::Network;
use lamina_peers::admin::{Bootstrap, FirstMember, Identify, Status};
use lamina_rpc::{Server, ServerOptions, Services, serve};
use lamina_telemetry::http::{HttpDoor, HttpOptions, Page};
use lamina_types::{ClusterId, RequestContext, Role, Settings};
use tokio::sync::mpsc;

use crate::assemble::{self, End, Node, checkpoint_log_bytes};
use crate::directory::{Directory, Endpoints, names};
use crate::entrance::{Entered, enter};
use crate::error::{READY, UpError, io};
use crate::keeper::Keeper;
use crate::network::LocalNetwork;
use crate::overview::Overview;
use crate::patience::Patience;
use crate::volumes::{OsVolumes, Volumes};

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
    /// Bytes of one segment of each frontend's log, allocated ahead.
    pub log_segment_bytes: u64,
    /// Where volumes come from.
    pub volumes: Arc<dyn Volumes>,
    /// What is shown at `admin_listen` beside that; `None`: no page.
    pub page: Option<StatusPage>,
    /// The version of the program.
    pub version: String,
}

/// The page of a store for people.
#[derive(Clone, Copy, Debug)]
pub struct StatusPage {
    /// The document; it asks for `status.json`.
    pub html: &'static str,
    /// The state of the store as that JSON.
    pub json: fn(&Status) -> String,
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
            log_segment_bytes: LogOptions::default().segment_bytes,
            volumes: Arc::new(OsVolumes),
            page: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
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
    keeper: Keeper,
    overview: Overview,
    server: Option<Server>,
    _http: Option<HttpDoor>,
    _lock: Box<dyn Lock>,
}

impl Store {
    /// Starts a store, and returns when it serves.
    ///
    /// # Errors
    /// [`UpError`].
    pub async fn up(options: UpOptions) -> Result<Store, UpError> {
        let started = time::now();
        let entered = enter(&options.dir, options.volumes.as_ref(), &options.settings).await?;
        let Entered { directory, record, settings, lock } = entered;
        let is_new = record.is_none();
        let network = LocalNetwork::new();
        let (end, ended) = mpsc::channel(16);
        let nodes = TaskGroup::new();
        let frontends = names(Role::Frontend, settings.frontends);
        let keeper = Keeper::new(Arc::new(network.clone()), frontends.clone());
        let overview =
            Overview::new(&options.version).map_err(|error| UpError::Refused(error.to_string()))?;
        let supervisor = Supervisor {
            directory: directory.clone(),
            network: network.clone(),
            options: options.clone(),
            seeds: frontends.clone(),
            checkpoint_log_bytes: checkpoint_log_bytes(&settings),
            end,
            nodes: nodes.clone(),
            keeper: keeper.clone(),
            overview: overview.clone(),
        };
        supervisor.start_all(&settings).await?;
        let cluster = supervisor.bootstrap(record, &settings).await?;
        drop(nodes.spawn(keeper.clone().watch()));
        let mut store = Store {
            network,
            frontends,
            endpoints: Endpoints::default(),
            cluster,
            is_new,
            took: Duration::ZERO,
            ended,
            nodes,
            keeper,
            overview,
            server: None,
            _http: None,
            _lock: lock,
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
        let mut patience = Patience::new(started);
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
            patience.speak(&client, &why).await;
            time::sleep(Duration::from_millis(5)).await;
        }
        let reach = client.reach().await;
        self.nodes.stop();
        Err(UpError::NotReady { why: format!("{why}; {reach}{}", self.keeper.complaint()) })
    }

    async fn open_doors(&mut self, options: &UpOptions) -> Result<(), UpError> {
        if let Some(listen) = &options.listen {
            let services = self.client_services();
            let server = serve(ServerOptions {
                listen: listen.clone(),
                services,
                calls: Some(self.overview.calls()),
                reflection: true,
            })
            .await
            .map_err(UpError::Listen)?;
            self.endpoints.clients = vec![server.address().to_string()];
            self.server = Some(server);
        }
        if let Some(listen) = &options.admin_listen {
            let readiness = self.overview.clone();
            let http = HttpOptions {
                listen: listen.clone(),
                metrics: self.overview.metrics().clone(),
                ready: Arc::new(move || readiness.ready()),
                page: options.page.map(|page| self.page(page)),
            };
            let door = HttpDoor::open(http).await.map_err(io("opening the port for status and metrics"))?;
            self.endpoints.status = vec![door.address().to_string()];
            self._http = Some(door);
        }
        Ok(())
    }

    fn page(&self, StatusPage { html, json }: StatusPage) -> Page {
        let client = self.client();
        let status: lamina_telemetry::http::Status = Arc::new(move || {
            let client = client.clone();
            Box::pin(async move {
                let status = client.status().await.map_err(|error| error.to_string())?;
                Ok(json(&status))
            })
        });
        Page { html, status }
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
    checkpoint_log_bytes: u64,
    end: mpsc::Sender<UpError>,
    nodes: TaskGroup,
    keeper: Keeper,
    overview: Overview,
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
        for (role, name) in &all {
            self.overview.expect(*role, name);
        }
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
                    log: LogOptions {
                        segment_bytes: self.options.log_segment_bytes,
                        checkpoint_log_bytes: self.checkpoint_log_bytes,
                        ..LogOptions::default()
                    },
                };
                assemble::frontend(self.env(&name).await?, network, options).await
            }
            Role::Index => {
                let memory_bytes_max = self.options.index_memory_bytes;
                let options = IndexOptions { name, address, seeds, zone, memory_bytes_max, version };
                Ok(assemble::index(network, options))
            }
            Role::Data => {
                let options = DataNodeOptions { name: name.clone(), address, seeds, zone, version };
                assemble::data(self.env(&name).await?, network, options).await
            }
        }
    }

    async fn env(&self, name: &str) -> Result<Env, End> {
        let disk = self.options.volumes.open(self.directory.path().join(name)).await;
        let disk = disk.map_err(|error| End::Refused(error.to_string()))?;
        Ok(Env { clock: Arc::new(OsClock), disk })
    }

    fn run(&self, role: Role, name: String, (node, group): (Node, TaskGroup)) {
        self.network.serve(&name, node.services.clone());
        self.overview.came(role, &name, node.metrics.clone(), node.readiness.clone());
        let supervisor = self.clone();
        drop(self.nodes.spawn(async move {
            // Whatever ends this task ends everything that the node has started.
            let group = StopOnDrop(group);
            let life = group.0.spawn(node.life);
            let end = life.await.unwrap_or_else(|error| End::Failed(format!("{name} has crashed: {error}")));
            supervisor.network.withdraw(&name);
            supervisor.overview.left(&name);
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
        if let Err(error) = self.try_replace(role, &name, why).await {
            let _ = self.end.send(error).await;
        }
    }

    async fn try_replace(&self, role: Role, name: &str, why: String) -> Result<(), UpError> {
        let refused = |end: End| UpError::Refused(format!("{name}: {end}"));
        self.keeper.note_damage(name, &why)?;
        tracing::error!(node = name, why, "the node is replaced under a new identity");
        let identity = lamina_node::identity::read(&self.env(name).await.map_err(refused)?, role).await;
        let identity = identity.map_err(|error| UpError::Refused(format!("{name}: {error}")))?;
        if let Some(lost) = identity.map(|identity| identity.node) {
            self.keeper.release(name, lost).await;
        }
        self.directory.set_aside(name, OsClock.now_ms()).map_err(io("setting a damaged volume aside"))?;
        let node = self.open(role, name).await.map_err(refused)?;
        self.run(role, name.to_owned(), node);
        Ok(())
    }

    /// Begins the store exactly once (protocols §10.1).
    async fn bootstrap(&self, record: Option<Bootstrap>, settings: &Settings) -> Result<ClusterId, UpError> {
        let members = self.members().await;
        if let Some(record) = record {
            self.order(&record, &members).await?;
            return Ok(record.cluster);
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

    async fn members(&self) -> Vec<(FirstMember, Option<ClusterId>)> {
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
        members
    }

    /// Gives the record to the first members that have no store yet.
    async fn order(
        &self,
        record: &Bootstrap,
        members: &[(FirstMember, Option<ClusterId>)],
    ) -> Result<(), UpError> {
        let is_listed = |member: &FirstMember| record.members.iter().any(|listed| listed.node == member.node);
        let listed = members.iter().filter(|(member, cluster)| cluster.is_none() && is_listed(member));
        let orders = listed.map(|(member, _)| {
            let peer = self.network.admin(&member.address);
            let context = RequestContext::new(random::u128(), 10_000);
            async move { peer.call(context, record.clone()).await }
        });
        for order in join_all(orders).await {
            order.map_err(|error| UpError::Refused(error.to_string()))?;
        }
        Ok(())
    }
}

struct StopOnDrop(TaskGroup);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}
