//! Objects as they should be. Each is a function of the spec and of what the store settled when it began.
//!
//! | module | holds |
//! |---|---|
//! | [`statefulset`] | StatefulSets, with their claims |
//! | [`pod`] | the template of their pods |
//! | [`services`] | Services and the ServiceAccount |
//! | [`budgets`] | disruption budgets |
//! | [`network`] | NetworkPolicies |

use lamina_crds::operation::Component;
use lamina_types::Settings;
use serde_json::{Value, json};

use crate::names::Key;

pub mod budgets;
pub mod network;
pub mod pod;
pub mod services;
pub mod statefulset;

/// How many nodes of each role there are: as recorded, once the store has begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Frontends.
    pub frontend: u32,
    /// Index nodes.
    pub index: u32,
    /// Data nodes.
    pub data: u32,
}

impl From<&Settings> for Counts {
    fn from(settings: &Settings) -> Counts {
        Counts { frontend: settings.frontends, index: settings.index_nodes, data: settings.data_nodes }
    }
}

impl Counts {
    /// Nodes of a role.
    pub fn of(&self, component: Component) -> u32 {
        match component {
            Component::Frontend => self.frontend,
            Component::Index => self.index,
            Component::Data => self.data,
        }
    }

    /// Every place of a pod.
    pub fn places(&self) -> impl Iterator<Item = (Component, u32)> + use<> {
        let counts = *self;
        Component::ALL.into_iter().flat_map(move |it| (0..counts.of(it)).map(move |ordinal| (it, ordinal)))
    }
}

/// Name, labels and owner of an object.
pub fn metadata(key: &Key, owner: &str, name: &str, component: Option<Component>) -> Value {
    json!({
        "name": name,
        "namespace": key.namespace,
        "labels": key.labels(component),
        "ownerReferences": [{
            "apiVersion": format!("{}/{}", lamina_crds::GROUP, lamina_crds::VERSION),
            "kind": "StorageCluster",
            "name": key.name,
            "uid": owner,
            "controller": true,
        }],
    })
}

/// Writes the hash of an object into it, so that a field which is not rendered any more is noticed.
pub fn hashed(mut object: Value) -> Value {
    let hash = super::compare::hash_of(&object);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(crate::names::HASH.to_owned(), json!(hash));
        }
    }
    object
}

#[cfg(test)]
mod tests;
