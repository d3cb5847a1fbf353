//! The three roles of nodes.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::volumes::{Resources, StorageSpec};
use crate::quantity::Bytes;
use crate::rules;

/// Frontends: they talk to clients, and keep the log and the memtables.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::FRONTENDS_HOLD_REPLICAS.rule(),
    validation = rules::FRONTEND_MEMORY_HOLDS_BUDGETS.rule()
)]
pub struct FrontendSpec {
    /// Frontends. Settled when the store begins: a change is refused (ScalingUnsupported); set it back.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: u32,

    /// Replicas of each group's log and memtables, each on a frontend of its own: an odd number. Immutable.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 7))]
    #[x_kube(
        validation = rules::FRONTEND_REPLICATION_IS_ODD.rule(),
        validation = rules::REPLICATION_IS_FIXED.rule()
    )]
    pub replication_factor: u32,

    /// Groups: logs that are written at the same time by different leaders. A batch is atomic within one. Settled when the store begins.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    #[x_kube(validation = rules::GROUPS_ARE_FIXED.rule())]
    pub groups: u32,

    /// Memtables of each group, in bytes: 1Mi to 64Gi. Immutable.
    #[serde(default = "memtables")]
    #[x_kube(
        validation = rules::MEMTABLES_ARE_SANE.rule(),
        validation = rules::MEMTABLES_ARE_FIXED.rule()
    )]
    pub memtable_bytes: Bytes,

    /// The block cache of each frontend, in bytes: 1Mi to 1Ti.
    #[serde(default = "cache")]
    #[x_kube(validation = rules::CACHE_IS_SANE.rule())]
    pub cache_bytes: Bytes,

    /// The volume of each frontend: its log and checkpoints.
    #[serde(default)]
    pub storage: StorageSpec,

    /// Processors and memory of each frontend. If given, it replaces the default as a whole.
    #[serde(default = "frontend_resources")]
    pub resources: Resources,
}

impl Default for FrontendSpec {
    fn default() -> FrontendSpec {
        FrontendSpec {
            replicas: three(),
            replication_factor: three(),
            groups: one(),
            memtable_bytes: memtables(),
            cache_bytes: cache(),
            storage: StorageSpec::default(),
            resources: frontend_resources(),
        }
    }
}

/// Index nodes: they keep the index of every table in memory.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::INDEX_NODES_HOLD_REPLICAS.rule(),
    validation = rules::INDEX_MEMORY_IS_RESERVED.rule(),
    validation = rules::INDEX_MEMORY_HOLDS_PARTS.rule()
)]
pub struct IndexSpec {
    /// Index nodes. Settled when the store begins: a change is refused (ScalingUnsupported); set it back.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: u32,

    /// Nodes that serve each index shard. Immutable.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 5))]
    #[x_kube(validation = rules::REPLICATION_IS_FIXED.rule())]
    pub replication_factor: u32,

    /// Index shards: what is spread over the index nodes. Immutable.
    #[serde(default = "shards")]
    #[schemars(range(min = 1, max = 4096))]
    #[x_kube(validation = rules::SHARDS_ARE_FIXED.rule())]
    pub shards: u16,

    /// Index parts that each node holds at most, in bytes: 16Mi to 1Ti.
    #[serde(default = "index_memory")]
    #[x_kube(validation = rules::INDEX_MEMORY_IS_SANE.rule())]
    pub memory_bytes: Bytes,

    /// Processors and memory of each index node: request and limit of memory are equal. If given, it replaces the default
    /// as a whole.
    #[serde(default = "index_resources")]
    pub resources: Resources,
}

impl Default for IndexSpec {
    fn default() -> IndexSpec {
        IndexSpec {
            replicas: three(),
            replication_factor: two(),
            shards: shards(),
            memory_bytes: index_memory(),
            resources: index_resources(),
        }
    }
}

/// Data nodes: they keep the tables.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::DATA_NODES_HOLD_REPLICAS.rule())]
pub struct DataSpec {
    /// Data nodes. Settled when the store begins: a change is refused (ScalingUnsupported); set it back.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: u32,

    /// Copies of each table, each on a node of its own. Immutable.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 7))]
    #[x_kube(validation = rules::REPLICATION_IS_FIXED.rule())]
    pub replication_factor: u32,

    /// A data block before compression, in bytes: 4Ki to 1Mi. Immutable.
    #[serde(default = "blocks")]
    #[x_kube(
        validation = rules::BLOCKS_ARE_SANE.rule(),
        validation = rules::BLOCKS_ARE_FIXED.rule()
    )]
    pub block_bytes: Bytes,

    /// The volume of each data node: its tables.
    #[serde(default)]
    pub storage: StorageSpec,

    /// Processors and memory of each data node. If given, it replaces the default as a whole.
    #[serde(default = "data_resources")]
    pub resources: Resources,
}

impl Default for DataSpec {
    fn default() -> DataSpec {
        DataSpec {
            replicas: three(),
            replication_factor: three(),
            block_bytes: blocks(),
            storage: StorageSpec::default(),
            resources: data_resources(),
        }
    }
}

fn one() -> u32 {
    1
}

fn two() -> u32 {
    2
}

fn three() -> u32 {
    3
}

fn shards() -> u16 {
    64
}

fn memtables() -> Bytes {
    Bytes::new("192Mi")
}

fn cache() -> Bytes {
    Bytes::new("128Mi")
}

fn index_memory() -> Bytes {
    Bytes::new("1Gi")
}

fn blocks() -> Bytes {
    Bytes::new("16Ki")
}

fn frontend_resources() -> Resources {
    Resources::of("100m", "256Mi", "1Gi")
}

fn index_resources() -> Resources {
    Resources::of("100m", "1280Mi", "1280Mi")
}

fn data_resources() -> Resources {
    Resources::of("100m", "256Mi", "1Gi")
}
