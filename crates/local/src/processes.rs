//! A whole store as one process for each node, over gRPC on loopback: `lamina up --processes`.
//!
//! Frontends listen on the port that was asked for and the ones behind it, index nodes 20 and data nodes 40 above.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use lamina_client::Client;
use lamina_env::Env;
use lamina_env::clock::{Clock, OsClock};
use lamina_env::disk::Lock;
use lamina_env::time::{self, Duration};
use lamina_env::{random, task};
use lamina_peers::Network;
use lamina_peers::admin::{Bootstrap, FirstMember, Identify, Identity};
use lamina_rpc::GrpcNetwork;
use lamina_types::{ClusterId, Reason, RequestContext, Role, Settings};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::assemble::checkpoint_log_bytes;
use crate::directory::{Directory, Endpoints, names};
use crate::entrance::{Entered, enter};
use crate::error::{READY, UpError, io};
use crate::keeper::Keeper;
use crate::patience::Patience;
use crate::volumes::{OsVolumes, Volumes};

/// Before a process that ended is started again.
const RESTART: Duration = Duration::from_millis(500);
/// The exit code of a process whose volume or store refuses it.
const REFUSED: i32 = 78;
/// The exit code of a process whose log is damaged.
const DAMAGED: i32 = 5;

/// A store of processes.
pub struct Processes {
    endpoints: Endpoints,
    cluster: ClusterId,
    is_new: bool,
    took: Duration,
    ended: mpsc::Receiver<UpError>,
    keeper: Keeper,
    _lock: Box<dyn Lock>,
}

/// How processes are started.
#[derive(Clone, Debug)]
pub struct ProcessesOptions {
    /// The program to start for each node: `lamina` itself.
    pub program: PathBuf,
    /// The directory; made if it is not there.
    pub dir: PathBuf,
    /// Where the first frontend listens.
    pub listen: SocketAddr,
    /// What is settled when the store begins.
    pub settings: Settings,
    /// Bytes of each frontend's block cache.
    pub cache_bytes: u64,
    /// Bytes of index parts on each index node.
    pub index_memory_bytes: u64,
    /// Threads of each process.
    pub threads: usize,
    /// Bytes of one segment of each frontend's log, allocated ahead.
    pub log_segment_bytes: u64,
}

impl Processes {
    /// Starts a process for each node, and returns when the store serves.
    ///
    /// # Errors
    /// [`UpError`].
    pub async fn up(options: ProcessesOptions) -> Result<Processes, UpError> {
        let started = time::now();
        let entered = enter(&options.dir, &OsVolumes, &options.settings).await?;
        let Entered { directory, record, settings, lock } = entered;
        let is_new = record.is_none();
        let seeds: Vec<String> =
            (0..settings.frontends).map(|at| address(&options, Role::Frontend, at)).collect();
        // The first members look for one another where the record says, before anybody can tell them better.
        let members = record.iter().flat_map(|record| &record.members);
        if let Some(moved) = members.map(|member| &member.address).find(|address| !seeds.contains(address)) {
            return Err(UpError::Refused(format!(
                "the store in this directory began with a frontend at {moved}, and now none would listen there: \
                 start it with the address that it began with"
            )));
        }
        let keeper = Keeper::new(Arc::new(GrpcNetwork::new()), seeds.clone());
        let (end, ended) = mpsc::channel(16);
        let mut endpoints = Endpoints { clients: seeds.clone(), ..Endpoints::default() };
        let roles = [
            (Role::Frontend, settings.frontends),
            (Role::Index, settings.index_nodes),
            (Role::Data, settings.data_nodes),
        ];
        for (role, nodes) in roles {
            for (at, name) in (0u32..).zip(names(role, nodes)) {
                let at = address(&options, role, at);
                endpoints.nodes.push((name.clone(), at.clone()));
                let start = Start {
                    options: options.clone(),
                    role,
                    name,
                    address: at,
                    seeds: seeds.clone(),
                    checkpoint_log_bytes: checkpoint_log_bytes(&settings),
                    directory: directory.clone(),
                    keeper: keeper.clone(),
                };
                let child = start.spawn()?;
                drop(task::spawn(start.watch(child, end.clone())));
            }
        }
        let mut processes = Processes {
            endpoints,
            cluster: ClusterId(0),
            is_new,
            took: Duration::ZERO,
            ended,
            keeper,
            _lock: lock,
        };
        let record = match record {
            Some(record) => record,
            None => processes.found(&directory, &settings).await?,
        };
        processes.cluster = record.cluster;
        processes.wait_until_ready(started, &record).await?;
        drop(task::spawn(processes.keeper.clone().watch()));
        directory.write_endpoints(&processes.endpoints).await.map_err(io("writing endpoints.json"))?;
        processes.took = started.elapsed();
        Ok(processes)
    }

    /// A client of the store.
    pub fn client(&self) -> Client {
        Client::connect(self.endpoints.clients.clone())
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

    /// Where everything answers.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Runs until `shutdown` is done, or a process ended.
    ///
    /// # Errors
    /// Why one ended.
    pub async fn run_until(mut self, shutdown: impl Future<Output = ()>) -> Result<(), UpError> {
        tokio::select! {
            biased;
            () = shutdown => Ok(()),
            Some(error) = self.ended.recv() => Err(error),
        }
    }

    /// Writes the bootstrap record of a new store, once all its frontends answer.
    async fn found(&mut self, directory: &Directory, settings: &Settings) -> Result<Bootstrap, UpError> {
        let network = GrpcNetwork::new();
        let mut members = Vec::new();
        for address in self.endpoints.clients.clone() {
            let identity = self.identify(&network, &address).await?;
            members.extend(identity.node.map(|node| FirstMember { node, address }));
        }
        members.truncate(if settings.development { 1 } else { 3 });
        let record = Bootstrap { cluster: ClusterId(random::u128()), members, settings: settings.clone() };
        directory.write_record(&record).await.map_err(io("writing the bootstrap record"))?;
        Ok(record)
    }

    async fn identify(&mut self, network: &GrpcNetwork, address: &str) -> Result<Identity, UpError> {
        let (deadline, client) = (time::now() + READY, self.client());
        let mut patience = Patience::new(time::now());
        loop {
            let peer = network.admin(address);
            match peer.call(RequestContext::new(random::u128(), 1_000), Identify {}).await {
                Ok(identity) => return Ok(identity),
                Err(error) if time::now() >= deadline => {
                    return Err(UpError::NotReady { why: error.to_string() });
                }
                Err(error) => patience.speak(&client, error.message()).await,
            }
            if let Ok(error) = self.ended.try_recv() {
                return Err(error);
            }
            time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn wait_until_ready(&mut self, started: time::Instant, record: &Bootstrap) -> Result<(), UpError> {
        let (network, client) = (GrpcNetwork::new(), self.client());
        let mut why = String::from("no node has answered yet");
        let mut patience = Patience::new(started);
        while started.elapsed() < READY {
            if let Ok(error) = self.ended.try_recv() {
                return Err(error);
            }
            order(&network, record).await?;
            let options = lamina_client::Options { deadline: Duration::from_secs(1), repeat: false };
            match client.clone().with(options).probe().await {
                Ok(_) => return Ok(()),
                Err(error) => why = error.to_string(),
            }
            patience.speak(&client, &why).await;
            time::sleep(Duration::from_millis(10)).await;
        }
        let reach = client.reach().await;
        Err(UpError::NotReady { why: format!("{why}; {reach}{}", self.keeper.complaint()) })
    }
}

/// Gives the record to those first members that answer and have no store yet. One whose volume is damaged never
/// answers, and the others do without it.
async fn order(network: &GrpcNetwork, record: &Bootstrap) -> Result<(), UpError> {
    let orders = record.members.iter().map(|member| async move {
        let peer = network.admin(&member.address);
        let context = |ms| RequestContext::new(random::u128(), ms);
        let Ok(identity) = peer.call(context(1_000), Identify {}).await else { return Ok(()) };
        if identity.cluster.is_some() || identity.node != Some(member.node) {
            return Ok(());
        }
        match peer.call(context(10_000), record.clone()).await {
            Ok(_) => Ok(()),
            // It has ended meanwhile, and is started again.
            Err(error) if error.outcome_unknown() || error.reason() == Reason::Unreachable => Ok(()),
            Err(error) if error.reason() == Reason::NotReady => Ok(()),
            Err(error) => Err(UpError::Refused(error.to_string())),
        }
    });
    futures::future::try_join_all(orders).await.map(|_| ())
}

/// Where a node listens.
fn address(options: &ProcessesOptions, role: Role, ordinal: u32) -> String {
    let above = match role {
        Role::Frontend => 0,
        Role::Index => 20,
        Role::Data => 40,
    };
    let port = u32::from(options.listen.port()) + above + ordinal;
    format!("{}:{port}", options.listen.ip())
}

/// How one node is started, again and again.
struct Start {
    options: ProcessesOptions,
    role: Role,
    name: String,
    address: String,
    seeds: Vec<String>,
    checkpoint_log_bytes: u64,
    directory: Arc<Directory>,
    keeper: Keeper,
}

impl Start {
    fn spawn(&self) -> Result<Child, UpError> {
        let mut command = Command::new(&self.options.program);
        command.args([self.role.as_str(), "--name", &self.name]);
        command.args(["--listen", &self.address, "--advertise", &self.address]);
        command.arg("--dir").arg(self.options.dir.join(&self.name));
        command.args(["--seeds", &self.seeds.join(",")]);
        command.args(["--log-segment", &self.options.log_segment_bytes.to_string()]);
        command.args(["--checkpoint-log", &self.checkpoint_log_bytes.to_string()]);
        command.args(["--threads", &self.options.threads.to_string()]);
        let memory = match self.role {
            Role::Frontend => Some(self.options.cache_bytes),
            Role::Index => Some(self.options.index_memory_bytes),
            Role::Data => None,
        };
        command.args(memory.iter().flat_map(|bytes| ["--memory".to_owned(), bytes.to_string()]));
        if std::env::var_os("LAMINA_LOG").is_none() {
            command.env("LAMINA_LOG", "warn,openraft=error");
        }
        // A node ends with its supervisor, however that one ends: its standard input closes.
        command.arg("--end-with-parent").stdin(Stdio::piped()).kill_on_drop(true);
        let doing = || format!("starting the process of {}", self.name);
        command.spawn().map_err(|error| UpError::Io { doing: doing(), error })
    }

    /// Starts the process again whenever it ends, unless it was refused: then the whole store ends.
    async fn watch(self, mut child: Child, end: mpsc::Sender<UpError>) {
        loop {
            // Waiting would close it, and with it end the process.
            let _held = child.stdin.take();
            let status = match child.wait().await {
                Ok(status) => status,
                Err(error) => {
                    let why = format!("the process of {} cannot be watched: {error}", self.name);
                    let _ = end.send(UpError::Failed(why)).await;
                    return;
                }
            };
            if status.code() == Some(REFUSED) {
                let why = format!("the process of {} was refused; its own words stand above", self.name);
                let _ = end.send(UpError::Refused(why)).await;
                return;
            }
            let again = if status.code() == Some(DAMAGED) {
                self.replace().await
            } else {
                tracing::warn!(node = self.name, %status, "a process has ended; it is started again");
                time::sleep(RESTART).await;
                Ok(())
            };
            match again.and_then(|()| self.spawn()) {
                Ok(again) => child = again,
                Err(error) => {
                    let _ = end.send(error).await;
                    return;
                }
            }
        }
    }

    /// Sets the volume of a frontend whose log is damaged aside, once the store can do without it.
    async fn replace(&self) -> Result<(), UpError> {
        let name = &self.name;
        self.keeper.note_damage(name, "its log is damaged, its own words stand above")?;
        tracing::error!(node = name, "the node is replaced under a new identity");
        let disk =
            OsVolumes.open(self.options.dir.join(name)).await.map_err(io("opening a damaged volume"))?;
        let env = Env { clock: Arc::new(OsClock), disk };
        let identity = lamina_node::identity::read(&env, self.role).await;
        let identity = identity.map_err(|error| UpError::Refused(format!("{name}: {error}")))?;
        if let Some(lost) = identity.map(|identity| identity.node) {
            self.keeper.release(name, lost).await;
        }
        self.directory.set_aside(name, OsClock.now_ms()).map_err(io("setting a damaged volume aside"))?;
        Ok(())
    }
}
