//! Peers inside one process: a call is a call, without copies, sockets or frames.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lamina_peers::{AdminPeer, DataPeer, GroupPeer, IndexPeer, KvPeer, Network, Peer, Port, RaftPeer};
use lamina_rpc::Services;
use lamina_types::{Error, Reason, RequestContext, Result};
use parking_lot::RwLock;

/// The nodes of one process by their names. Cheap to clone; clones are the same network.
#[derive(Clone, Default)]
pub struct LocalNetwork(Arc<RwLock<BTreeMap<String, Services>>>);

impl LocalNetwork {
    /// A network without nodes.
    pub fn new() -> LocalNetwork {
        LocalNetwork::default()
    }

    /// A node answers at this address from now on.
    pub fn serve(&self, address: &str, services: Services) {
        self.0.write().insert(address.to_owned(), services);
    }

    /// Nobody answers at this address any more.
    pub fn withdraw(&self, address: &str) {
        self.0.write().remove(address);
    }

    fn find<P>(&self, address: &str, pick: impl FnOnce(&Services) -> Option<P>) -> Result<P> {
        let nodes = self.0.read();
        nodes.get(address).and_then(pick).ok_or_else(|| {
            Error::new(Reason::Unreachable, format!("nobody answers at {address} in this process"))
        })
    }
}

/// Looks the peer up at each call, so that one who is replaced is found under the same name.
struct Lazy<Q, A> {
    network: LocalNetwork,
    address: String,
    pick: fn(&Services) -> Option<Peer<Q, A>>,
}

#[async_trait]
impl<Q: Send + 'static, A: Send + 'static> Port<Q, A> for Lazy<Q, A> {
    async fn call(&self, context: RequestContext, request: Q) -> Result<A> {
        let peer = self.network.find(&self.address, self.pick)?;
        peer.forward(context, request).await
    }
}

impl LocalNetwork {
    fn lazy<Q, A>(&self, address: &str, pick: fn(&Services) -> Option<Peer<Q, A>>) -> Peer<Q, A>
    where
        Q: Send + 'static,
        A: Send + 'static,
    {
        Peer::new(Arc::new(Lazy { network: self.clone(), address: address.to_owned(), pick }))
    }
}

impl Network for LocalNetwork {
    fn kv(&self, address: &str) -> KvPeer {
        self.lazy(address, |services| services.kv.clone())
    }
    fn index(&self, address: &str) -> IndexPeer {
        self.lazy(address, |services| services.index.clone())
    }
    fn data(&self, address: &str) -> DataPeer {
        self.lazy(address, |services| services.data.clone())
    }
    fn group(&self, address: &str) -> GroupPeer {
        self.lazy(address, |services| services.group.clone())
    }
    fn raft(&self, address: &str) -> RaftPeer {
        self.lazy(address, |services| services.raft.clone())
    }
    fn admin(&self, address: &str) -> AdminPeer {
        self.lazy(address, |services| services.admin.clone())
    }
}
