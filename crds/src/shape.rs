//! A spec as plain numbers, with all defaults applied: for whoever starts a store.

use lamina_types::Settings;

use crate::cluster::{Profile, StorageClusterSpec};

/// What a spec asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    /// What the store settles when it begins.
    pub settings: Settings,
    /// The block cache of each frontend, in bytes.
    pub cache_bytes: u64,
    /// Index parts on each index node, in bytes.
    pub index_memory_bytes: u64,
}

impl StorageClusterSpec {
    /// The shape of the store. Sizes that the rules refuse read as 0: check the spec first.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let settings = Settings {
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
            development: self.profile == Profile::Development,
            ..Settings::default()
        };
        Shape {
            settings,
            cache_bytes: self.frontend.cache_bytes.bytes(),
            index_memory_bytes: self.index.memory_bytes.bytes(),
        }
    }
}
