//! One node of each role, ready to be served and run.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use lamina_consensus::LogOptions;
use lamina_data::{DataNode, DataNodeOptions};
use lamina_env::time::{self, Duration};
use lamina_env::{Env, task};
use lamina_frontend::{FrontendNode, FrontendOptions};
use lamina_index::{IndexNode, IndexOptions};
use lamina_node::{IdentityDoor, Me};
use lamina_peers::Network;
use lamina_rpc::{Guard, Identity, Services};
use lamina_telemetry::Metrics;
use lamina_types::{Reason, Settings};

/// A node that can be served at once, and lives when its future is driven.
pub struct Node {
    /// Its doors, behind their guard.
    pub services: Services,
    /// Says when it serves.
    pub readiness: Arc<IdentityDoor>,
    /// To be awaited before the node is stopped by somebody's will, while it lives: others take over what it leads.
    pub hand_over: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Its figures, with its name as a label.
    pub metrics: Metrics,
    /// Its life; gives why it ended.
    pub life: Pin<Box<dyn Future<Output = End> + Send>>,
}

/// Why a node ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The log on its volume is damaged, or the volume was released: it must be replaced under a new identity.
    #[error("{0}")]
    Corrupt(String),
    /// A write of its log failed: the whole process must end.
    #[error("{0}")]
    Failed(String),
    /// The volume or the store refuses it.
    #[error("{0}")]
    Refused(String),
}

/// A frontend.
///
/// # Errors
/// The volume or the log refuses.
pub async fn frontend(env: Env, network: Arc<dyn Network>, options: FrontendOptions) -> Result<Node, End> {
    let metrics = Metrics::of_node(&options.name);
    let node = FrontendNode::open(env, network, options).await.map_err(frontend_end)?;
    metrics.with_registry(|registry| node.register_metrics(registry));
    let identity = identity_of(node.me());
    let services = Services {
        kv: Some(Guard::everybody(node.kv_peer(), identity.clone())),
        group: Some(Guard::members(node.group_peer(), identity.clone())),
        raft: Some(Guard::members(node.raft_peer(), identity.clone())),
        admin: Some(Guard::everybody(node.admin_peer(), identity)),
        ..Services::default()
    };
    let readiness = node.readiness();
    let hand_over = node.hand_over();
    let life = Box::pin(async move { frontend_end(node.run().await) });
    Ok(Node { services, readiness, metrics, hand_over, life })
}

/// An index node.
pub fn index(network: Arc<dyn Network>, options: IndexOptions) -> Node {
    let metrics = Metrics::of_node(&options.name);
    let node = IndexNode::new(network, options);
    metrics.with_registry(|registry| registry.register_collector(Box::new(node.metrics())));
    let identity = identity_of(node.me());
    let services = Services {
        index: Some(Guard::members(node.index_peer(), identity.clone())),
        admin: Some(Guard::everybody(node.admin_peer(), identity)),
        ..Services::default()
    };
    let readiness = node.readiness();
    let life = Box::pin(async move { End::Refused(node.run().await.to_string()) });
    Node { services, readiness, metrics, hand_over: Box::pin(std::future::ready(())), life }
}

/// A data node.
///
/// # Errors
/// The volume refuses.
pub async fn data(env: Env, network: Arc<dyn Network>, options: DataNodeOptions) -> Result<Node, End> {
    let refused = |ended: lamina_data::Ended| End::Refused(ended.to_string());
    let metrics = Metrics::of_node(&options.name);
    let node = DataNode::open(env, network, options).await.map_err(refused)?;
    metrics.with_registry(|registry| node.service().metrics().register(registry));
    let identity = identity_of(node.me());
    let services = Services {
        data: Some(Guard::members(node.data_peer(), identity.clone())),
        admin: Some(Guard::everybody(node.admin_peer(), identity)),
        ..Services::default()
    };
    let readiness = node.readiness();
    let life = Box::pin(async move { refused(node.run().await) });
    Ok(Node { services, readiness, metrics, hand_over: Box::pin(std::future::ready(())), life })
}

fn frontend_end(ended: lamina_frontend::Ended) -> End {
    match ended {
        lamina_frontend::Ended::LogCorrupt(error) => End::Corrupt(error.to_string()),
        lamina_frontend::Ended::LogLost(error) => End::Corrupt(error.to_string()),
        lamina_frontend::Ended::LogRefused(error) => End::Refused(error.to_string()),
        lamina_frontend::Ended::LogFailed(error) => End::Failed(error.to_string()),
        // Others hold what it held (protocols §10.3): it begins anew, as one whose log is damaged.
        lamina_frontend::Ended::Refused(error) if error.reason() == Reason::NodeRemoved => {
            End::Corrupt(error.to_string())
        }
        lamina_frontend::Ended::Refused(error) => End::Refused(error.to_string()),
        lamina_frontend::Ended::Volume(error) => End::Refused(error.to_string()),
    }
}

/// The guard's picture of who this node is, brought up to date until it is settled.
fn identity_of(me: Arc<Me>) -> Arc<Identity> {
    let identity = Arc::new(Identity::new(me.cluster(), me.node()).named(me.name()));
    let settled = identity.clone();
    drop(task::spawn(async move {
        while settled.cluster().is_none() || settled.node().is_none() {
            if let Some(node) = me.node() {
                settled.set_node(node);
            }
            if let Some(cluster) = me.cluster() {
                settled.set_cluster(cluster);
            }
            time::sleep(Duration::from_millis(5)).await;
        }
    }));
    identity
}

/// How far the log of a replica grows between two checkpoints (protocols §8.2): a store with small memtables has small
/// checkpoints, and may make them often.
pub fn checkpoint_log_bytes(settings: &Settings) -> u64 {
    LogOptions::default().checkpoint_log_bytes.min(settings.memtable_bytes.saturating_mul(2))
}
