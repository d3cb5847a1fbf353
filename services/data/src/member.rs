//! One data node from its start to its end: its volume, its part in a store, its service.

use std::sync::Arc;

use futures::future::BoxFuture;
use lamina_env::{Env, watch};
use lamina_node::membership::Report;
use lamina_node::{IdentityDoor, Links, Me, Membership, Volume, identity};
use lamina_peers::admin::Heartbeat;
use lamina_peers::{AdminPeer, DataPeer, Network, Peer};
use lamina_types::{Error, Role, Sender};

use crate::options::DataOptions;
use crate::service::{DataService, StartError};

/// How a data node is started.
#[derive(Clone, Debug)]
pub struct DataNodeOptions {
    /// Its name: `data-0`.
    pub name: String,
    /// Where others reach it.
    pub address: String,
    /// Addresses of frontends.
    pub seeds: Vec<String>,
    /// Its failure domain; empty if unknown.
    pub zone: String,
    /// The version of the program.
    pub version: String,
}

/// Why a data node ended. It never ends the process: that is its caller's.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The volume refuses.
    #[error("{0}")]
    Volume(lamina_node::StartError),
    /// The tables cannot be opened.
    #[error("{0}")]
    Tables(StartError),
    /// The store refuses this node for good.
    #[error("{0}")]
    Refused(Error),
}

/// One data node.
pub struct DataNode {
    volume: Volume,
    links: Links,
    membership: Membership,
    identity: Arc<IdentityDoor>,
    service: Arc<DataService>,
}

impl DataNode {
    /// Opens the volume. The node can be reached at once.
    ///
    /// # Errors
    /// [`Ended`]: the volume belongs to somebody else, is in use, or cannot be read.
    pub fn open(
        env: Env,
        network: Arc<dyn Network>,
        options: DataNodeOptions,
    ) -> BoxFuture<'static, Result<DataNode, Ended>> {
        // Boxed, as `run` is, so that the whole node is compiled here, and not again wherever it is awaited.
        Box::pin(Self::open_volume(env, network, options))
    }

    async fn open_volume(
        env: Env,
        network: Arc<dyn Network>,
        options: DataNodeOptions,
    ) -> Result<DataNode, Ended> {
        let volume = identity::open(&env, Role::Data).await.map_err(Ended::Volume)?;
        let me = Arc::new(Me::new(Role::Data, options.name, options.address));
        me.settle_node(volume.identity().node);
        me.settle_incarnation(volume.identity().incarnation);
        if let Some(cluster) = volume.identity().cluster {
            me.settle_cluster(cluster);
        }
        let service = DataService::start(env, "", network.clone(), DataOptions::new(volume.identity().node))
            .await
            .map_err(Ended::Tables)?;
        let (view, views) = watch::channel(None);
        let links = Links { me: me.clone(), network, views };
        let membership =
            Membership::new(links.clone(), options.seeds, options.zone, options.version.clone(), view);
        let identity = Arc::new(IdentityDoor::new(me, options.version));
        Ok(DataNode { volume, links, membership, identity, service })
    }

    /// Takes requests of the data port.
    pub fn data_peer(&self) -> DataPeer {
        self.service.peer()
    }

    /// Tells who the node is.
    pub fn admin_peer(&self) -> AdminPeer {
        Peer::new(self.identity.clone())
    }

    /// Who the node is, for the guard before its doors.
    pub fn me(&self) -> Arc<Me> {
        self.links.me.clone()
    }

    /// Says when the node serves.
    pub fn readiness(&self) -> Arc<IdentityDoor> {
        self.identity.clone()
    }

    /// The service, for its figures.
    pub fn service(&self) -> Arc<DataService> {
        self.service.clone()
    }

    /// Finds the store, registers, serves; returns why it ended.
    pub fn run(self) -> BoxFuture<'static, Ended> {
        Box::pin(self.live())
    }

    async fn live(mut self) -> Ended {
        let cluster = match self.volume.identity().cluster {
            Some(cluster) => cluster,
            None => self.membership.find_cluster().await,
        };
        self.links.me.settle_cluster(cluster);
        let incarnation = match self.membership.register().await {
            Ok(incarnation) => incarnation,
            Err(error) => return Ended::Refused(error),
        };
        // Written only now: a volume that no store has accepted belongs to none.
        if let Err(error) = self.volume.join(cluster).await {
            return Ended::Volume(error);
        }
        self.service.set_sender(Sender { cluster, node: self.volume.identity().node, incarnation });
        self.identity.set_ready();
        Ended::Refused(self.membership.beat(&Nothing).await)
    }
}

/// A data node has nothing to tell beside that it is there.
struct Nothing;

impl Report for Nothing {
    fn fill(&self, _: &mut Heartbeat) {}
}
