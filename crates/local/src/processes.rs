//! A whole store as one process for each node, over gRPC on loopback: `lamina up --processes`.
//!
//! Frontends listen on the port that was asked for and the ones behind it, index nodes 20 and data nodes 40 above.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use futures::future::join_all;
use lamina_client::Client;
use lamina_env::time::{self, Duration};
use lamina_env::{random, task};
use lamina_peers::Network;
use lamina_peers::admin::{Bootstrap, FirstMember, Identify, Identity};
use lamina_peers::view::Settings;
use lamina_rpc::GrpcNetwork;
use lamina_types::{ClusterId, RequestContext, Role};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::directory::{Directory, Endpoints};
use crate::store::{UpError, names};

/// How long a start may take before it is given up.
const READY: Duration = Duration::from_secs(60);
/// Before a process that ended is started again.
const RESTART: Duration = Duration::from_millis(500);
/// The exit code of a process whose volume or store refuses it.
const REFUSED: i32 = 78;

/// A store of processes.
pub struct Processes {
    endpoints: Endpoints,
    cluster: ClusterId,
    is_new: bool,
    took: Duration,
    ended: mpsc::Receiver<UpError>,
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
}

impl Processes {
    /// Starts a process for each node, and returns when the store serves.
    ///
    /// # Errors
    /// [`UpError`].
    pub async fn up(options: ProcessesOptions) -> Result<Processes, UpError> {
        let started = time::now();
        let directory = Directory::open(&options.dir).map_err(io("opening the directory"))?;
        let record = directory.record().await.map_err(io("reading the bootstrap record"))?;
        let is_new = record.is_none();
        let settings = record.as_ref().map_or(options.settings.clone(), |record| record.settings.clone());
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
                let start = Start { options: options.clone(), role, name, address: at, seeds: seeds.clone() };
                let child = start.spawn()?;
                drop(task::spawn(start.watch(child, end.clone())));
            }
        }
        let mut processes =
            Processes { endpoints, cluster: ClusterId(0), is_new, took: Duration::ZERO, ended };
        processes.cluster = processes.bootstrap(&directory, record, &settings).await?;
        processes.wait_until_ready(started).await?;
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

    async fn bootstrap(
        &mut self,
        directory: &Directory,
        record: Option<Bootstrap>,
        settings: &Settings,
    ) -> Result<ClusterId, UpError> {
        let network = GrpcNetwork::new();
        let mut members = Vec::new();
        for address in self.endpoints.clients.clone() {
            let identity = self.identify(&network, &address).await?;
            if let Some(node) = identity.node {
                members.push((FirstMember { node, address }, identity.cluster));
            }
        }
        let record = match record {
            Some(record) => record,
            None => {
                if let Some(cluster) = members.iter().find_map(|(_, cluster)| *cluster) {
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
                directory.write_record(&record).await.map_err(io("writing the bootstrap record"))?;
                record
            }
        };
        let is_listed = |member: &FirstMember| record.members.iter().any(|listed| listed.node == member.node);
        let listed = members.iter().filter(|(member, cluster)| cluster.is_none() && is_listed(member));
        let orders = listed.map(|(member, _)| {
            let peer = network.admin(&member.address);
            let context = RequestContext::new(random::u128(), 10_000);
            let order = record.clone();
            async move { peer.call(context, order).await }
        });
        for order in join_all(orders).await {
            order.map_err(|error| UpError::Refused(error.to_string()))?;
        }
        Ok(record.cluster)
    }

    async fn identify(&mut self, network: &GrpcNetwork, address: &str) -> Result<Identity, UpError> {
        let deadline = time::now() + READY;
        loop {
            let peer = network.admin(address);
            match peer.call(RequestContext::new(random::u128(), 1_000), Identify {}).await {
                Ok(identity) => return Ok(identity),
                Err(error) if time::now() >= deadline => {
                    return Err(UpError::NotReady { why: error.to_string() });
                }
                Err(_) => {}
            }
            if let Ok(error) = self.ended.try_recv() {
                return Err(error);
            }
            time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn wait_until_ready(&mut self, started: time::Instant) -> Result<(), UpError> {
        let client = self.client();
        let mut why = String::from("no node has answered yet");
        while started.elapsed() < READY {
            if let Ok(error) = self.ended.try_recv() {
                return Err(error);
            }
            let options = lamina_client::Options { deadline: Duration::from_secs(1), repeat: false };
            match client.clone().with(options).probe().await {
                Ok(_) => return Ok(()),
                Err(error) => why = error.to_string(),
            }
            time::sleep(Duration::from_millis(10)).await;
        }
        Err(UpError::NotReady { why })
    }
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
}

impl Start {
    fn spawn(&self) -> Result<Child, UpError> {
        let mut command = Command::new(&self.options.program);
        command.args([self.role.as_str(), "--name", &self.name]);
        command.args(["--listen", &self.address, "--advertise", &self.address]);
        command.arg("--dir").arg(self.options.dir.join(&self.name));
        command.args(["--seeds", &self.seeds.join(",")]);
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
            tracing::warn!(node = self.name, %status, "a process has ended; it is started again");
            time::sleep(RESTART).await;
            match self.spawn() {
                Ok(again) => child = again,
                Err(error) => {
                    let _ = end.send(error).await;
                    return;
                }
            }
        }
    }
}

fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> UpError {
    move |error| UpError::Io { doing: doing.to_owned(), error }
}
