//! A spec as plain numbers, with all defaults applied: for whoever starts a store.

use crate::cluster::{Profile, StorageClusterSpec};

/// The shape of a store. The names are those of `lamina up` and of what a store settles when it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Frontends.
    pub frontends: u32,
    /// Index nodes.
    pub index_nodes: u32,
    /// Data nodes.
    pub data_nodes: u32,
    /// Data groups.
    pub groups: u32,
    /// Replicas of a group.
    pub frontend_replication: u32,
    /// Nodes that serve each index shard.
    pub index_replication: u32,
    /// Copies of each table.
    pub data_replication: u32,
    /// Index shards.
    pub shards: u16,
    /// Memtables of a group, in bytes.
    pub memtable_bytes: u64,
    /// A data block before compression, in bytes.
    pub block_bytes: u32,
    /// The block cache of each frontend, in bytes.
    pub cache_bytes: u64,
    /// Index parts on each index node, in bytes.
    pub index_memory_bytes: u64,
    /// Development allows replication factors of 1.
    pub development: bool,
}

impl StorageClusterSpec {
    /// The shape of the store. Sizes that the rules refuse read as 0: check the spec first.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape {
            frontends: self.frontend.replicas,
            index_nodes: self.index.replicas,
            data_nodes: self.data.replicas,
            groups: self.frontend.groups,
            frontend_replication: self.frontend.replication_factor,
            index_replication: self.index.replication_factor,
            data_replication: self.data.replication_factor,
            shards: self.index.shards,
            memtable_bytes: self.frontend.memtable_bytes.bytes(),
            block_bytes: u32::try_from(self.data.block_bytes.bytes()).unwrap_or(0),
            cache_bytes: self.frontend.cache_bytes.bytes(),
            index_memory_bytes: self.index.memory_bytes.bytes(),
            development: self.profile == Profile::Development,
        }
    }
}
