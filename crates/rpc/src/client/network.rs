//! Finds the peer behind an address.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lamina_peers::{AdminPeer, DataPeer, GroupPeer, IndexPeer, KvPeer, Network, Peer, Port, RaftPeer};
use lamina_proto::stream::{AdminWire, DataWire, GroupWire, IndexWire, KvWire, RaftWire, Wire};
use lamina_types::{RequestContext, Result};
use parking_lot::Mutex;

use super::connections::{Connections, Lane};
use super::link::Link;

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
    connections: Arc<Connections>,
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

impl Default for GrpcNetwork {
    fn default() -> GrpcNetwork {
        GrpcNetwork::new()
    }
}

impl GrpcNetwork {
    /// A network without connections yet.
    pub fn new() -> GrpcNetwork {
        GrpcNetwork {
            inner: Arc::new(Inner {
                connections: Arc::new(Connections::new()),
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
        self.connections.tasks.stop();
    }
}

impl Network for GrpcNetwork {
    fn kv(&self, address: &str) -> KvPeer {
        self.inner.kv.at(address, &self.inner.connections)
    }
    fn index(&self, address: &str) -> IndexPeer {
        self.inner.index.at(address, &self.inner.connections)
    }
    fn data(&self, address: &str) -> DataPeer {
        self.inner.data.at(address, &self.inner.connections)
    }
    fn group(&self, address: &str) -> GroupPeer {
        self.inner.group.at(address, &self.inner.connections)
    }
    fn raft(&self, address: &str) -> RaftPeer {
        self.inner.raft.at(address, &self.inner.connections)
    }
    fn admin(&self, address: &str) -> AdminPeer {
        self.inner.admin.at(address, &self.inner.connections)
    }
}

impl<W: Wire> Links<W> {
    fn new() -> Links<W> {
        Links(Mutex::new(BTreeMap::new()))
    }

    fn at(&self, address: &str, connections: &Arc<Connections>) -> Peer<W::Request, W::Answer> {
        let mut links = self.0.lock();
        if let Some(peer) = links.get(address) {
            return peer.clone();
        }
        let link = |lane| Link::<W>::new(address.to_owned(), lane, connections);
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
