//! One index node from its start to its end.

use std::sync::Arc;

use futures::future::BoxFuture;
use lamina_env::{task, watch};
use lamina_node::identity::derived_node_id;
use lamina_node::membership::Report;
use lamina_node::{IdentityDoor, Links, Me, Membership};
use lamina_peers::admin::Heartbeat;
use lamina_peers::{AdminPeer, IndexPeer, Network, Peer};
use lamina_types::{Error, Role};

use crate::door::{Door, served_here};
use crate::load::Loader;
use crate::metrics::IndexMetrics;
use crate::residents::Residents;

/// How an index node is started.
#[derive(Clone, Debug)]
pub struct IndexOptions {
    /// Its name, from which its id is derived: `index-0`.
    pub name: String,
    /// Where others reach it.
    pub address: String,
    /// Addresses of frontends.
    pub seeds: Vec<String>,
    /// Its failure domain; empty if unknown.
    pub zone: String,
    /// Bytes of index parts at most.
    pub memory_bytes_max: u64,
    /// The version of the program.
    pub version: String,
}

/// One index node.
pub struct IndexNode {
    links: Links,
    residents: Arc<Residents>,
    membership: Membership,
    identity: Arc<IdentityDoor>,
}

impl IndexNode {
    /// A node that can be reached at once, and knows nothing before [`IndexNode::run`].
    pub fn new(network: Arc<dyn Network>, options: IndexOptions) -> IndexNode {
        let (view, views) = watch::channel(None);
        let me = Arc::new(Me::new(Role::Index, options.name, options.address));
        let links = Links { me: me.clone(), network, views };
        let identity = Arc::new(IdentityDoor::new(me, options.version.clone()));
        let membership = Membership::new(links.clone(), options.seeds, options.zone, options.version, view);
        let residents = Arc::new(Residents::new(options.memory_bytes_max));
        IndexNode { links, residents, membership, identity }
    }

    /// Takes requests of the index port.
    pub fn index_peer(&self) -> IndexPeer {
        Peer::new(Arc::new(Door::new(self.residents.clone(), self.links.clone())))
    }

    /// Tells who the node is.
    pub fn admin_peer(&self) -> AdminPeer {
        Peer::new(self.identity.clone())
    }

    /// Who the node is, for the guard before its doors.
    pub fn me(&self) -> Arc<Me> {
        self.links.me.clone()
    }

    /// Says when the node serves everything that is assigned to it. Latches.
    pub fn readiness(&self) -> Arc<IdentityDoor> {
        self.identity.clone()
    }

    /// The figures of the node.
    pub fn metrics(&self) -> IndexMetrics {
        IndexMetrics::new(self.residents.clone(), self.links.clone())
    }

    /// Finds the store, registers, loads, serves; returns when the store refuses the node for good.
    pub fn run(self) -> BoxFuture<'static, Error> {
        // Boxed, so that the whole node is compiled here, and not again wherever it is awaited.
        Box::pin(self.live())
    }

    async fn live(self) -> Error {
        let cluster = self.membership.find_cluster().await;
        self.links.me.settle_cluster(cluster);
        self.links.me.settle_node(derived_node_id(cluster, self.links.me.name()));
        if let Err(error) = self.membership.register().await {
            return error;
        }
        let loader = Loader::new(self.residents.clone(), self.links.clone(), self.membership.hurry());
        let _loader = task::spawn(loader.run());
        let report = Loaded { residents: self.residents, links: self.links, identity: self.identity };
        self.membership.beat(&report).await
    }
}

/// Tells meta which shards are complete.
struct Loaded {
    residents: Arc<Residents>,
    links: Links,
    identity: Arc<IdentityDoor>,
}

impl Report for Loaded {
    fn fill(&self, heartbeat: &mut Heartbeat) {
        heartbeat.complete = self.residents.complete();
        let assigned = served_here(&self.links);
        if !assigned.is_empty() && assigned.iter().all(|shard| self.residents.is_complete(*shard)) {
            self.identity.set_ready();
        }
    }
}
