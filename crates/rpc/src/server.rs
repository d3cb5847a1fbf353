//! Offering a process's peers on one port, with health and reflection beside them.
//!
//! | module | holds |
//! |---|---|
//! | [`accept`] | connections: how many, and how long they may take to begin |
//! | [`doors`] | the generated services over the peers |
//! | [`stream`] | the server's half of a stream |
//! | [`handler`] | one operation at work |
//! | [`unary`] | single calls |

mod accept;
mod doors;
mod handler;
mod stream;
mod unary;

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderValue, Response};
use lamina_env::task::{self, JoinHandle};
use lamina_env::{time, watch};
use lamina_peers::{AdminPeer, DataPeer, GroupPeer, IndexPeer, KvPeer, RaftPeer};
use lamina_proto::stream::{AdminWire, DataWire, GroupWire, IndexWire, KvWire, RaftWire, Wire};
use lamina_proto::{DESCRIPTORS, admin, data, group, index, kv, raft};
use lamina_telemetry::Calls;
use lamina_types::{Error, Reason, Result};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::body::Body;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::util::MapResponseLayer;

use crate::settings::{
    CONNECTION_WINDOW_BYTES, DECODE_BYTES_MAX, DRAIN_TIMEOUT, FRAME_BYTES, HANDLERS_MAX, HEADER_BYTES_MAX,
    KEEPALIVE, KEEPALIVE_TIMEOUT, STREAM_WINDOW_BYTES, STREAMS_MAX,
};
use doors::Door;

/// What a process offers. Put a [`crate::Guard`] before each.
#[derive(Clone, Default)]
pub struct Services {
    /// A frontend's door for keys and values.
    pub kv: Option<KvPeer>,
    /// An index node.
    pub index: Option<IndexPeer>,
    /// A data node.
    pub data: Option<DataPeer>,
    /// A frontend that leads groups.
    pub group: Option<GroupPeer>,
    /// A frontend's replicas.
    pub raft: Option<RaftPeer>,
    /// Any node's administration.
    pub admin: Option<AdminPeer>,
}

/// How to serve.
#[derive(Clone)]
pub struct ServerOptions {
    /// Where to listen: `host:port`; port 0 is any free one.
    pub listen: String,
    /// What to offer.
    pub services: Services,
    /// Counts the operations, if given.
    pub calls: Option<Calls>,
    /// Tells tools such as grpcurl what is offered. For development.
    pub reflection: bool,
}

/// Where a server stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Takes operations.
    Serving,
    /// Answers what is at work; clients are told to send nothing more.
    Draining,
    /// Streams end at once.
    Ended,
}

/// What all streams of a server share.
pub(crate) struct Shared {
    pub(crate) stage: watch::Sender<Stage>,
    pub(crate) calls: Option<Calls>,
}

/// A server at work. Dropping it ends its streams at once; [`Server::drain`] is the polite way.
///
/// A handler's future may be dropped at any of its waits: when the stream breaks, and when the server ends.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    health: HealthReporter,
    offered: Vec<&'static str>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// Listens and serves, in a task of the group of the caller. All services count as serving from now on;
/// [`Server::set_serving`] changes what health checks are told.
///
/// # Errors
/// `UNREACHABLE`: the address cannot be listened on.
pub async fn serve(options: ServerOptions) -> Result<Server> {
    let listener = TcpListener::bind(&options.listen).await.map_err(|error| {
        Error::new(Reason::Unreachable, format!("cannot listen on {}: {error}", options.listen))
    })?;
    let address = listener
        .local_addr()
        .map_err(|error| Error::new(Reason::Unreachable, format!("the socket has no address: {error}")))?;
    let (stage, _) = watch::channel(Stage::Serving);
    let shared = Arc::new(Shared { stage, calls: options.calls.clone() });
    let (health, health_service) = tonic_health::server::health_reporter();
    let offered = offered(&options.services);
    for service in &offered {
        health.set_service_status(*service, ServingStatus::Serving).await;
    }
    let mut routes = routes(options.services, &shared).add_service(health_service);
    if options.reflection {
        routes = with_reflection(routes)?;
    }
    let (stop, stopped) = oneshot::channel();
    let ended = EndedOnDrop(shared.clone());
    let task = task::spawn(async move {
        let _ended = ended;
        let connections = accept::connections(listener);
        let signal = async {
            // Dropped without a word counts as well.
            let _ = stopped.await;
        };
        let serving = builder()
            .layer(MapResponseLayer::new(remap_too_large))
            .add_routes(routes)
            .serve_with_incoming_shutdown(connections, signal);
        if let Err(error) = serving.await {
            tracing::error!(%error, "the server has ended by itself");
        }
    });
    Ok(Server { address, shared, health, offered, stop: Some(stop), task })
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What health checks are told of all services of this process.
    pub async fn set_serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in self.offered.iter().chain(&[""]) {
            self.health.set_service_status(*service, status).await;
        }
    }

    /// Stops politely: health turns to not serving, no connection is accepted any more, clients are told to go
    /// elsewhere, and what is at work is answered. Streams that are not done within 10 seconds are ended.
    pub async fn drain(mut self) {
        self.set_serving(false).await;
        self.shared.stage.send(Stage::Draining);
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if time::timeout(DRAIN_TIMEOUT, &mut self.task).await.is_err() {
            self.shared.stage.send(Stage::Ended);
            let _ = time::timeout(time::Duration::from_secs(1), &mut self.task).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stage.send(Stage::Ended);
        self.task.abort();
    }
}

/// Ends the streams of a server whose task was ended from outside: they belong to their connections' tasks, which the
/// library starts by itself.
struct EndedOnDrop(Arc<Shared>);

impl Drop for EndedOnDrop {
    fn drop(&mut self) {
        self.0.stage.send(Stage::Ended);
    }
}

fn builder() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .concurrency_limit_per_connection(HANDLERS_MAX)
        .load_shed(true)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
}

fn offered(services: &Services) -> Vec<&'static str> {
    let offered = [
        services.kv.is_some().then_some(KvWire::SERVICE),
        services.index.is_some().then_some(IndexWire::SERVICE),
        services.data.is_some().then_some(DataWire::SERVICE),
        services.group.is_some().then_some(GroupWire::SERVICE),
        services.raft.is_some().then_some(RaftWire::SERVICE),
        services.admin.is_some().then_some(AdminWire::SERVICE),
    ];
    offered.into_iter().flatten().collect()
}

fn routes(services: Services, shared: &Arc<Shared>) -> Routes {
    let mut routes = Routes::default();
    macro_rules! add {
        ($($field:ident, $wire:ident: $server:path;)*) => {$(
            if let Some(peer) = services.$field {
                type Service = $server;
                let service = Service::new(Door::<$wire>::new(peer, shared));
                routes = routes.add_service(service.max_decoding_message_size(DECODE_BYTES_MAX));
            }
        )*};
    }
    add! {
        kv, KvWire: kv::kv_server::KvServer<Door<KvWire>>;
        index, IndexWire: index::index_server::IndexServer<Door<IndexWire>>;
        data, DataWire: data::data_server::DataServer<Door<DataWire>>;
        group, GroupWire: group::group_server::GroupServer<Door<GroupWire>>;
        raft, RaftWire: raft::raft_server::RaftServer<Door<RaftWire>>;
        admin, AdminWire: admin::admin_server::AdminServer<Door<AdminWire>>;
    }
    routes
}

fn with_reflection(routes: Routes) -> Result<Routes> {
    let bug =
        |error| Error::new(Reason::Bug, format!("the descriptions of the services are damaged: {error}"));
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(routes
        .add_service(builder().build_v1().map_err(bug)?)
        .add_service(builder().build_v1alpha().map_err(bug)?))
}

/// A request that is too large is refused by tonic with OUT_OF_RANGE, before any code of ours; clients should see the
/// one code that all limits have. Nothing of ours answers OUT_OF_RANGE.
fn remap_too_large(mut response: Response<Body>) -> Response<Body> {
    const OUT_OF_RANGE: &[u8] = b"11";
    if response.headers().get("grpc-status").is_some_and(|code| code.as_bytes() == OUT_OF_RANGE) {
        let status = tonic::Status::from_header_map(response.headers()).map(lamina_proto::status::remapped);
        response.headers_mut().insert("grpc-status", HeaderValue::from_static("8"));
        if let Some(status) = status {
            // It fails only for a message that is no header, which then stays as it was.
            let _ = status.add_header(response.headers_mut());
        }
    }
    response
}
