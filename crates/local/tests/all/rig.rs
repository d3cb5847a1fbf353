//! A whole store whose nodes can be killed and started again, over the network of one process or over gRPC.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use lamina_client::Client;
use lamina_consensus::LogOptions;
use lamina_data::DataNodeOptions;
use lamina_env::clock::SimClock;
use lamina_env::disk::memory::MemDisk;
use lamina_env::task::TaskGroup;
use lamina_env::{Env, random};
use lamina_frontend::FrontendOptions;
use lamina_index::IndexOptions;
use lamina_local::assemble::{self, Node};
use lamina_local::directory::names;
use lamina_local::network::LocalNetwork;
use lamina_peers::Network;
use lamina_peers::admin::{Bootstrap, Figures, FirstMember, Identify};
use lamina_peers::view::NodeView;
use lamina_rpc::{GrpcNetwork, Server, ServerOptions, Services, serve};
use lamina_types::{ClusterId, RequestContext, Role, Settings};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    InProcess,
    Grpc,
}

pub struct Rig {
    local: LocalNetwork,
    pub network: Arc<dyn Network>,
    kind: Kind,
    clock: Arc<SimClock>,
    hosts: BTreeMap<String, Host>,
}

pub struct Host {
    role: Role,
    address: String,
    pub disk: MemDisk,
    life: Option<(TaskGroup, Option<Server>)>,
}

impl Rig {
    /// Three nodes of each role, or as many frontends as are settled, bootstrapped; returns when a probe goes through.
    pub async fn up(kind: Kind, settings: Settings) -> Rig {
        let local = LocalNetwork::new();
        let network: Arc<dyn Network> = match kind {
            Kind::InProcess => Arc::new(local.clone()),
            Kind::Grpc => Arc::new(GrpcNetwork::new()),
        };
        let mut hosts = BTreeMap::new();
        for role in [Role::Frontend, Role::Index, Role::Data] {
            let count = if role == Role::Frontend { settings.frontends } else { 3 };
            for name in names(role, count) {
                let address = match kind {
                    Kind::InProcess => name.clone(),
                    Kind::Grpc => free_address(),
                };
                hosts.insert(name, Host { role, address, disk: MemDisk::new(random::u64()), life: None });
            }
        }
        let clock = Arc::new(SimClock::starting_at(1_790_000_000_000));
        let mut rig = Rig { local, network, kind, clock, hosts };
        for name in rig.hosts.keys().cloned().collect::<Vec<_>>() {
            rig.start(&name).await;
        }
        rig.bootstrap(settings).await;
        let client = rig.client();
        wait_for("the store answers", async || client.probe().await.is_ok()).await;
        rig
    }

    pub fn client(&self) -> Client {
        Client::over(self.network.clone(), self.frontends())
    }

    pub fn host(&self, name: &str) -> &Host {
        &self.hosts[name]
    }

    pub fn frontends(&self) -> Vec<String> {
        let frontends = self.hosts.values().filter(|host| host.role == Role::Frontend);
        frontends.map(|host| host.address.clone()).collect()
    }

    /// A new life of a node, on the disk of the one before.
    pub async fn start(&mut self, name: &str) {
        let seeds = self.frontends();
        let host = self.hosts.get_mut(name).unwrap();
        let (network, role, address) = (self.network.clone(), host.role, host.address.clone());
        let env = Env { clock: self.clock.clone(), disk: Arc::new(host.disk.mount()) };
        let group = TaskGroup::new();
        let (own, kind) = (name.to_owned(), self.kind);
        let opened = group.spawn(async move {
            let node = open(role, own, address.clone(), seeds, env, network).await;
            let server = match kind {
                Kind::InProcess => None,
                Kind::Grpc => Some(listen(&address, &node.services).await),
            };
            (node, server)
        });
        let (node, server) = opened.await.unwrap();
        self.local.serve(&host.address, node.services);
        drop(group.spawn(async move {
            let end = node.life.await;
            tracing::info!(?end, "a node has ended");
        }));
        host.life = Some((group, server));
    }

    /// The node's process is gone; its disk stays.
    pub fn kill(&mut self, name: &str) {
        let host = self.hosts.get_mut(name).unwrap();
        self.local.withdraw(&host.address);
        if let Some((group, server)) = host.life.take() {
            drop(server);
            group.stop();
        }
        host.disk.unmount();
    }

    /// What meta knows of a node, and its figures.
    pub async fn node(&self, name: &str) -> (NodeView, Figures) {
        let mut found = None;
        let client = self.client();
        wait_for("the status names the node", async || {
            let Ok(status) = client.status().await else { return false };
            let view = status.view.nodes.iter().find(|node| node.name == name).cloned();
            found = view.and_then(|view| {
                let figures = status.nodes.iter().find(|it| it.node == view.node)?.figures.clone();
                Some((view, figures))
            });
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    async fn bootstrap(&self, settings: Settings) {
        let mut members = Vec::new();
        for address in self.frontends() {
            let admin = self.network.admin(&address);
            let mut node = None;
            wait_for("a frontend has an identity", async || {
                node = admin.call(context(), Identify {}).await.ok().and_then(|identity| identity.node);
                node.is_some()
            })
            .await;
            members.push(FirstMember { node: node.unwrap(), address });
        }
        members.truncate(3);
        let record = Bootstrap { cluster: ClusterId(random::u128()), members: members.clone(), settings };
        for member in members {
            self.network.admin(&member.address).call(context(), record.clone()).await.unwrap();
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let names: Vec<String> = self.hosts.keys().cloned().collect();
        names.iter().for_each(|name| self.kill(name));
    }
}

async fn open(
    role: Role,
    name: String,
    address: String,
    seeds: Vec<String>,
    env: Env,
    network: Arc<dyn Network>,
) -> Node {
    let (zone, version) = (String::new(), "test".to_owned());
    match role {
        Role::Frontend => {
            let (cache_bytes, log) = (8 << 20, LogOptions::default());
            let options = FrontendOptions { name, address, seeds, zone, cache_bytes, version, log };
            assemble::frontend(env, network, options).await.unwrap()
        }
        Role::Index => {
            let memory_bytes_max = 256 << 20;
            let options = IndexOptions { name, address, seeds, zone, memory_bytes_max, version };
            assemble::index(network, options)
        }
        Role::Data => {
            let options = DataNodeOptions { name, address, seeds, zone, version };
            assemble::data(env, network, options).await.unwrap()
        }
    }
}

pub fn context() -> RequestContext {
    RequestContext::new(random::u128(), 5_000)
}

/// A port that is free. It lies below those from which the system serves whoever asks for any, and is given out once:
/// so nobody takes it before it is listened on.
pub fn free_address() -> String {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 2_500) as u16;
    loop {
        let port = 30_100 + (first + GIVEN.fetch_add(1, Ordering::Relaxed)) % 2_500;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
}

/// Tries until it holds, for a minute of this test's clock and of the wall's.
pub async fn wait_for(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let (started, begun) = (Instant::now(), tokio::time::Instant::now());
    while !holds().await {
        let over = begun.elapsed() > Duration::from_secs(120) || started.elapsed() > Duration::from_secs(120);
        assert!(!over, "{what}: not within two minutes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Serves a node at its address, as soon as the tasks of its former life have let go of it.
async fn listen(address: &str, services: &Services) -> Server {
    let begun = Instant::now();
    loop {
        let services = services.clone();
        let options = ServerOptions { listen: address.to_owned(), services, calls: None, reflection: false };
        match serve(options).await {
            Ok(server) => return server,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(120), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
