//! What a store settles once, when it begins: its shape.

use serde::{Deserialize, Serialize};

/// The shape of a store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settings {
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
    /// Frontends that the first placement waits for.
    pub frontends: u32,
    /// Index nodes that the first placement waits for.
    pub index_nodes: u32,
    /// Data nodes that the first flush waits for.
    pub data_nodes: u32,
    /// Memtables of a group, in bytes.
    pub memtable_bytes: u64,
    /// A data block before compression, in bytes.
    pub block_bytes: u32,
    /// A table, in bytes.
    pub table_bytes: u64,
    /// Development allows replication factors of 1 and waives the guards of voluntary stops.
    pub development: bool,
}

impl Default for Settings {
    /// A store of three nodes of each role.
    fn default() -> Settings {
        Settings {
            groups: 1,
            frontend_replication: 3,
            index_replication: 2,
            data_replication: 3,
            shards: 64,
            frontends: 3,
            index_nodes: 3,
            data_nodes: 3,
            memtable_bytes: 192 << 20,
            block_bytes: 16 << 10,
            table_bytes: 64 << 20,
            development: false,
        }
    }
}

/// A field of a StorageCluster that asks for something else than the store has settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The field, below `spec`.
    pub field: &'static str,
    /// What is asked for.
    pub asked: String,
    /// What was settled.
    pub settled: String,
}

impl Settings {
    /// What `asked` has otherwise, by the fields of a StorageCluster, in their order there. (How long a table is, is no such
    /// field.)
    #[must_use]
    pub fn differences(&self, asked: &Settings) -> Vec<Difference> {
        let profile = |it: &Settings| if it.development { "Development" } else { "Production" };
        let text = |field, of: &dyn Fn(&Settings) -> String| Difference {
            field,
            asked: of(asked),
            settled: of(self),
        };
        let number = |field, of: fn(&Settings) -> u64| text(field, &|it| of(it).to_string());
        let mut fields = vec![
            text("profile", &|it| profile(it).to_owned()),
            number("frontend.replicas", |it| it.frontends.into()),
            number("frontend.replicationFactor", |it| it.frontend_replication.into()),
            number("frontend.groups", |it| it.groups.into()),
            number("frontend.memtableBytes", |it| it.memtable_bytes),
            number("index.replicas", |it| it.index_nodes.into()),
            number("index.replicationFactor", |it| it.index_replication.into()),
            number("index.shards", |it| it.shards.into()),
            number("data.replicas", |it| it.data_nodes.into()),
            number("data.replicationFactor", |it| it.data_replication.into()),
            number("data.blockBytes", |it| it.block_bytes.into()),
        ];
        fields.retain(|it| it.asked != it.settled);
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_otherwise_is_named_by_its_fields() {
        let settled = Settings::default();
        assert_eq!(settled.differences(&settled), []);
        let asked = Settings { index_nodes: 5, block_bytes: 4096, development: true, ..Settings::default() };
        let said = settled.differences(&asked);
        let said: Vec<String> =
            said.iter().map(|it| format!("{} {} {}", it.field, it.asked, it.settled)).collect();
        assert_eq!(
            said,
            ["profile Development Production", "index.replicas 5 3", "data.blockBytes 4096 16384"]
        );
    }
}
