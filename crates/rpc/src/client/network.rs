//! Finds the peer behind an address.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lamina_env::TaskGroup;
use lamina_peers::{AdminPeer, DataPeer, GroupPeer, IndexPeer, KvPeer, Network, Peer, Port, RaftPeer};
use lamina_proto::stream::{AdminWire, DataWire, GroupWire, IndexWire, KvWire, RaftWire, Wire};
use lamina_types::{Error, Reason, RequestContext, Result};
use parking_lot::Mutex;
use tonic::transport::{Channel, Endpoint};

use super::link::Link;
use crate::settings::{
    BULK_FRAME_BYTES, CONNECT_TIMEOUT, CONNECTION_WINDOW_BYTES, FRAME_BYTES, HEADER_BYTES_MAX, KEEPALIVE,
    KEEPALIVE_TIMEOUT, STREAM_WINDOW_BYTES,
};

/// The network of the real world. Cheap to clone; clones share connections, which end with the last clone.
///
/// A connection is made at the first call and again after it broke; names are looked up each time, so a pod that comes
/// back with another address is found. Calls that fail before they were sent have the detail `sent` = `no`: they were
/// certainly not carried out.
#[derive(Clone)]
pub struct GrpcNetwork {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    kv: Links<KvWire>,
    index: Links<IndexWire>,
    data: Links<DataWire>,
    group: Links<GroupWire>,
    raft: Links<RaftWire>,
    admin: Links<AdminWire>,
}

/// The peer behind one address.
type PeerOf<W> = Peer<<W as Wire>::Request, <W as Wire>::Answer>;

/// The peers of one port by address.
struct Links<W: Wire>(Mutex<BTreeMap<String, PeerOf<W>>>);

/// What all links of a network share.
pub(super) struct Shared {
    /// The tasks of the links.
    pub(super) tasks: TaskGroup,
    channels: Mutex<BTreeMap<(String, Lane), Channel>>,
}

/// Which connection to an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Lane {
    /// Small operations.
    Operations,
    /// Tables, parts, snapshots.
    Bulk,
}

impl Default for GrpcNetwork {
    fn default() -> GrpcNetwork {
        GrpcNetwork::new()
    }
}

impl GrpcNetwork {
    /// A network without connections yet.
    pub fn new() -> GrpcNetwork {
        let shared = Shared { tasks: TaskGroup::new(), channels: Mutex::new(BTreeMap::new()) };
        GrpcNetwork {
            inner: Arc::new(Inner {
                shared: Arc::new(shared),
                kv: Links::new(),
                index: Links::new(),
                data: Links::new(),
                group: Links::new(),
                raft: Links::new(),
                admin: Links::new(),
            }),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.tasks.stop();
    }
}

impl Network for GrpcNetwork {
    fn kv(&self, address: &str) -> KvPeer {
        self.inner.kv.at(address, &self.inner.shared)
    }
    fn index(&self, address: &str) -> IndexPeer {
        self.inner.index.at(address, &self.inner.shared)
    }
    fn data(&self, address: &str) -> DataPeer {
        self.inner.data.at(address, &self.inner.shared)
    }
    fn group(&self, address: &str) -> GroupPeer {
        self.inner.group.at(address, &self.inner.shared)
    }
    fn raft(&self, address: &str) -> RaftPeer {
        self.inner.raft.at(address, &self.inner.shared)
    }
    fn admin(&self, address: &str) -> AdminPeer {
        self.inner.admin.at(address, &self.inner.shared)
    }
}

impl<W: Wire> Links<W> {
    fn new() -> Links<W> {
        Links(Mutex::new(BTreeMap::new()))
    }

    fn at(&self, address: &str, shared: &Arc<Shared>) -> Peer<W::Request, W::Answer> {
        let mut links = self.0.lock();
        if let Some(peer) = links.get(address) {
            return peer.clone();
        }
        let link = |lane| Link::<W>::new(address.to_owned(), lane, shared);
        let lanes = Lanes { operations: link(Lane::Operations), bulk: link(Lane::Bulk) };
        let peer = Peer::new(Arc::new(lanes));
        links.insert(address.to_owned(), peer.clone());
        peer
    }
}

/// The two ways to one port of one address.
struct Lanes<W: Wire> {
    operations: Arc<Link<W>>,
    bulk: Arc<Link<W>>,
}

#[async_trait]
impl<W: Wire> Port<W::Request, W::Answer> for Lanes<W> {
    async fn call(&self, context: RequestContext, request: W::Request) -> Result<W::Answer> {
        let link = if W::is_bulk(&request) { &self.bulk } else { &self.operations };
        link.call(context, request).await
    }
}

impl Shared {
    /// The connection to an address, which connects when it is first used and again when it broke. Must be called in
    /// the runtime.
    pub(super) fn channel(&self, address: &str, lane: Lane) -> Result<Channel> {
        let mut channels = self.channels.lock();
        let key = (address.to_owned(), lane);
        if let Some(channel) = channels.get(&key) {
            return Ok(channel.clone());
        }
        let channel = endpoint(address, lane)?.connect_lazy();
        channels.insert(key, channel.clone());
        Ok(channel)
    }
}

fn endpoint(address: &str, lane: Lane) -> Result<Endpoint> {
    let frame = match lane {
        Lane::Operations => FRAME_BYTES,
        Lane::Bulk => BULK_FRAME_BYTES,
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| {
        let message = format!("{address:?} is no address of the form host:port: {error}");
        Error::new(Reason::Unreachable, message).with("sent", "no")
    })?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(frame)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}
