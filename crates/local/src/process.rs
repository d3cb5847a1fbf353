//! One node as a process of its own, over gRPC: what pods run.

use std::path::PathBuf;
use std::sync::Arc;

use lamina_consensus::LogOptions;
use lamina_data::DataNodeOptions;
use lamina_env::Env;
use lamina_env::clock::OsClock;
use lamina_env::disk::os::OsDisk;
use lamina_env::task;
use lamina_frontend::FrontendOptions;
use lamina_index::IndexOptions;
use lamina_peers::Network;
use lamina_rpc::{GrpcNetwork, ServerOptions, serve};
use lamina_telemetry::http::{HttpDoor, HttpOptions};
use lamina_types::Role;

use crate::assemble::{self, End, Node};
use crate::error::UpError;
use crate::overview::Overview;

/// How one node is started.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Its name: `frontend-0`.
    pub name: String,
    /// Its volume. Index nodes have none.
    pub dir: PathBuf,
    /// Where it listens for calls: `host:port`.
    pub listen: String,
    /// Where `/live`, `/ready` and `/metrics` are served; `None`: nowhere.
    pub admin_listen: Option<String>,
    /// Where others reach it.
    pub advertise: String,
    /// Addresses of frontends.
    pub seeds: Vec<String>,
    /// Its failure domain; empty if unknown.
    pub zone: String,
    /// Frontends: bytes of the block cache. Index nodes: bytes of index parts.
    pub memory_bytes: u64,
    /// Frontends: bytes of one segment of the log, allocated ahead.
    pub log_segment_bytes: u64,
    /// Frontends: a replica makes a checkpoint when its log has grown by so many bytes.
    pub checkpoint_log_bytes: u64,
    /// The version of the program.
    pub version: String,
}

/// Runs a frontend until `shutdown` is done or it cannot go on.
///
/// # Errors
/// Why it does not start, or ended.
pub async fn run_frontend(options: NodeOptions, shutdown: impl Future<Output = ()>) -> Result<(), UpError> {
    let frontend = FrontendOptions {
        name: options.name.clone(),
        address: options.advertise.clone(),
        seeds: options.seeds.clone(),
        zone: options.zone.clone(),
        cache_bytes: options.memory_bytes,
        version: options.version.clone(),
        log: LogOptions {
            segment_bytes: options.log_segment_bytes,
            checkpoint_log_bytes: options.checkpoint_log_bytes,
            ..LogOptions::default()
        },
    };
    let node = assemble::frontend(env(&options)?, network(), frontend).await.map_err(refused)?;
    run(node, Role::Frontend, options, shutdown).await
}

/// Runs an index node until `shutdown` is done or it cannot go on.
///
/// # Errors
/// Why it does not start, or ended.
pub async fn run_index(options: NodeOptions, shutdown: impl Future<Output = ()>) -> Result<(), UpError> {
    let index = IndexOptions {
        name: options.name.clone(),
        address: options.advertise.clone(),
        seeds: options.seeds.clone(),
        zone: options.zone.clone(),
        memory_bytes_max: options.memory_bytes,
        version: options.version.clone(),
    };
    run(assemble::index(network(), index), Role::Index, options, shutdown).await
}

/// Runs a data node until `shutdown` is done or it cannot go on.
///
/// # Errors
/// Why it does not start, or ended.
pub async fn run_data(options: NodeOptions, shutdown: impl Future<Output = ()>) -> Result<(), UpError> {
    let data = DataNodeOptions {
        name: options.name.clone(),
        address: options.advertise.clone(),
        seeds: options.seeds.clone(),
        zone: options.zone.clone(),
        version: options.version.clone(),
    };
    let node = assemble::data(env(&options)?, network(), data).await.map_err(refused)?;
    run(node, Role::Data, options, shutdown).await
}

async fn run(
    node: Node,
    role: Role,
    options: NodeOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), UpError> {
    let overview = Overview::new(&options.version).map_err(|error| UpError::Refused(error.to_string()))?;
    overview.came(role, &options.name, node.metrics, node.readiness);
    let server = serve(ServerOptions {
        listen: options.listen.clone(),
        services: node.services,
        calls: Some(overview.calls()),
        reflection: role == Role::Frontend,
    })
    .await
    .map_err(UpError::Listen)?;
    let _door = match &options.admin_listen {
        Some(listen) => Some(open_door(listen, &overview).await?),
        None => None,
    };
    tracing::info!(node = options.name, address = %server.address(), "listening");
    let life = task::spawn(node.life);
    tokio::select! {
        biased;
        () = shutdown => {
            node.hand_over.await;
            server.drain().await;
            Ok(())
        }
        end = life => Err(match end {
            Ok(end) => refused(end),
            Err(error) => UpError::Failed(format!("{} has crashed: {error}", options.name)),
        }),
    }
}

async fn open_door(listen: &str, overview: &Overview) -> Result<HttpDoor, UpError> {
    let readiness = overview.clone();
    let options = HttpOptions {
        listen: listen.to_owned(),
        metrics: overview.metrics().clone(),
        ready: Arc::new(move || readiness.ready()),
        page: None,
    };
    let doing = "opening the port for status and metrics".to_owned();
    HttpDoor::open(options).await.map_err(|error| UpError::Io { doing, error })
}

fn env(options: &NodeOptions) -> Result<Env, UpError> {
    let disk = OsDisk::open(options.dir.clone()).map_err(|error| UpError::Io {
        doing: format!("opening the directory {}", options.dir.display()),
        error,
    })?;
    Ok(Env { clock: Arc::new(OsClock), disk: Arc::new(disk) })
}

fn network() -> Arc<dyn Network> {
    Arc::new(GrpcNetwork::new())
}

fn refused(end: End) -> UpError {
    match end {
        End::Failed(why) => UpError::Failed(why),
        End::Corrupt(why) => UpError::Damaged(why),
        End::Refused(why) => UpError::Refused(why),
    }
}
