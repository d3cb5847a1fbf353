//! A whole store as one process for each node, over gRPC on loopback: `lamina up --processes`.
//!
//! Frontends listen on the port that was asked for and the ones behind it, index nodes 20 and data nodes 40 above.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

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
                let child = spawn(&options, role, &name, &at, &seeds)?;
                watch(name, child, end.clone());
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
        for (member, cluster) in &members {
            let is_listed = record.members.iter().any(|listed| listed.node == member.node);
            if cluster.is_none() && is_listed {
                let order = network
                    .admin(&member.address)
                    .call(RequestContext::new(random::u128(), 10_000), record.clone())
                    .await;
                order.map_err(|error| UpError::Refused(error.to_string()))?;
            }
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

fn spawn(
    options: &ProcessesOptions,
    role: Role,
    name: &str,
    address: &str,
    seeds: &[String],
) -> Result<Child, UpError> {
    let mut command = Command::new(&options.program);
    command.args([role.as_str(), "--name", name, "--listen", address, "--advertise", address]);
    command.arg("--dir").arg(options.dir.join(name));
    command.args(["--seeds", &seeds.join(",")]);
    // A node ends with its supervisor, however that one ends: its standard input closes.
    command.arg("--end-with-parent").stdin(Stdio::piped()).kill_on_drop(true);
    command.spawn().map_err(|error| UpError::Io { doing: format!("starting the process of {name}"), error })
}

/// Reports when a process ends.
fn watch(name: String, mut child: Child, end: mpsc::Sender<UpError>) {
    // Waiting for a child closes its standard input, which would end the node at once: keep it apart.
    let open = child.stdin.take();
    drop(task::spawn(async move {
        let status = child.wait().await;
        drop(open);
        let why = match status {
            Ok(status) => format!("the process of {name} has ended ({status})"),
            Err(error) => format!("the process of {name} cannot be watched: {error}"),
        };
        let _ = end.send(UpError::Failed(why)).await;
    }));
}

fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> UpError {
    move |error| UpError::Io { doing: doing.to_owned(), error }
}
