//! The bootstrap record: that a store has begun, under which name, with which first members and settings. It is made once,
//! create-if-absent, and immutable; whoever loses the race reads the winner's (docs: protocols §10.1).

use lamina_peers::admin::{Bootstrap, FirstMember};
use lamina_types::{ClusterId, NodeId, Settings};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::build;
use crate::names::Key;

/// The key of the ConfigMap under which the record stands.
const DATA: &str = "record.json";
/// First members of a store that is to last.
const MEMBERS: usize = 3;

/// The record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The store.
    pub cluster: ClusterId,
    /// It began under another record; its volumes were found.
    pub adopted: bool,
    /// The first members; none of an adopted store.
    pub members: Vec<FirstMember>,
    /// What was settled.
    pub settings: Settings,
}

/// Something that is there, is not, or cannot be read.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Found<T> {
    /// It is not there.
    #[default]
    Absent,
    /// It is there.
    Present(T),
    /// It is there and cannot be understood, because.
    Unreadable(String),
}

impl<T> Found<T> {
    /// What is there.
    pub fn present(&self) -> Option<&T> {
        match self {
            Found::Present(it) => Some(it),
            Found::Absent | Found::Unreadable(_) => None,
        }
    }
}

/// The record as it is written: ids in their usual form.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    cluster: String,
    #[serde(default)]
    adopted: bool,
    members: Vec<WrittenMember>,
    settings: Settings,
}

#[derive(Serialize, Deserialize)]
struct WrittenMember {
    node: String,
    address: String,
}

impl Record {
    /// A record of a new store.
    pub fn begins(cluster: ClusterId, members: Vec<FirstMember>, settings: Settings) -> Record {
        let first = if settings.development { 1 } else { MEMBERS };
        let members = members.into_iter().take(first).collect();
        Record { cluster, adopted: false, members, settings }
    }

    /// A record of a store whose volumes were found.
    pub fn adopts(cluster: ClusterId, settings: Settings) -> Record {
        Record { cluster, adopted: true, members: Vec::new(), settings }
    }

    /// The record that a first member was told.
    pub fn of(told: &Bootstrap) -> Record {
        let Bootstrap { cluster, members, settings } = told.clone();
        Record { cluster, adopted: false, members, settings }
    }

    /// What first members are told.
    pub fn bootstrap(&self) -> Bootstrap {
        Bootstrap { cluster: self.cluster, members: self.members.clone(), settings: self.settings.clone() }
    }

    /// As a ConfigMap.
    pub fn object(&self, key: &Key, owner: &str) -> Value {
        let written = Written {
            cluster: self.cluster.to_string(),
            adopted: self.adopted,
            members: self
                .members
                .iter()
                .map(|it| WrittenMember { node: it.node.to_string(), address: it.address.clone() })
                .collect(),
            settings: self.settings.clone(),
        };
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": build::metadata(key, owner, &key.record(), None),
            "immutable": true,
            "data": { DATA: serde_json::to_string(&written).unwrap_or_default() },
        })
    }

    /// From a ConfigMap.
    pub fn read(object: &Value) -> Found<Record> {
        let text = object
            .pointer("/data")
            .and_then(|data| data.get(DATA))
            .and_then(Value::as_str)
            .unwrap_or_default();
        let written: Written = match serde_json::from_str(text) {
            Ok(written) => written,
            Err(error) => return Found::Unreadable(format!("{DATA} cannot be read: {error}")),
        };
        let members = written.members.into_iter().map(|it| {
            let node: Result<NodeId, _> = it.node.parse();
            node.map(|node| FirstMember { node, address: it.address })
        });
        let members: Result<Vec<FirstMember>, _> = members.collect();
        match (written.cluster.parse(), members) {
            (Ok(cluster), Ok(members)) => Found::Present(Record {
                cluster,
                adopted: written.adopted,
                members,
                settings: written.settings,
            }),
            (Err(error), _) | (_, Err(error)) => Found::Unreadable(format!("{DATA}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_a_damaged_one_is_not_taken_for_none() {
        let key = Key { namespace: "ns".into(), name: "orders".into() };
        let members =
            (1..=5).map(|n| FirstMember { node: NodeId(n << 90), address: format!("a{n}:1") }).collect();
        let record = Record::begins(ClusterId(u128::MAX - 7), members, Settings::default());
        assert_eq!(record.members.len(), 3);
        let object = record.object(&key, "uid");
        assert_eq!(Record::read(&object), Found::Present(record));
        let mut damaged = object;
        damaged["data"][DATA] = json!("{}");
        assert!(matches!(Record::read(&damaged), Found::Unreadable(_)));
    }
}
