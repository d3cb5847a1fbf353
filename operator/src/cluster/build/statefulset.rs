//! StatefulSets. They only keep pods and volumes alive: which pod is stopped, and when, is the operator's decision, hence
//! `OnDelete`; and pods do not wait for each other, hence `Parallel`. Neither can be changed later.

use lamina_crds::StorageClusterSpec;
use lamina_crds::cluster::{ReclaimPolicy, StorageSpec};
use lamina_crds::operation::Component;
use serde_json::{Value, json};

use super::metadata;
use crate::names::Key;

/// What a StatefulSet is made from, beside the spec.
#[derive(Clone, PartialEq, Debug)]
pub struct SetOptions {
    /// How many pods.
    pub replicas: u32,
    /// The template of the pods, with its revision.
    pub template: Value,
    /// The size of new claims. That of the present StatefulSet as long as it is not made anew: it cannot be changed.
    pub size: Option<String>,
    /// Volumes stay although the spec says that they go with the store.
    pub keep_volumes: bool,
}

/// The StatefulSet of a role.
pub fn set(
    key: &Key,
    owner: &str,
    spec: &StorageClusterSpec,
    component: Component,
    options: SetOptions,
) -> Value {
    let deletes = spec.reclaim_policy == ReclaimPolicy::Delete && !options.keep_volumes;
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(key, owner, &key.set(component), Some(component)),
        "spec": {
            "replicas": options.replicas,
            "serviceName": key.set(component),
            "podManagementPolicy": "Parallel",
            "updateStrategy": { "type": "OnDelete" },
            "revisionHistoryLimit": 2,
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": if deletes { "Delete" } else { "Retain" },
                "whenScaled": "Retain",
            },
            "selector": { "matchLabels": key.selector(Some(component)) },
            "template": options.template,
        },
    });
    if let (Some(size), Some(storage)) = (options.size, storage(spec, component)) {
        let mut claim = json!({
            "metadata": { "name": "data", "labels": key.labels(Some(component)) },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "volumeMode": "Filesystem",
                "resources": { "requests": { "storage": size } },
            },
        });
        if let (Some(class), Some(fields)) =
            (&storage.storage_class_name, claim.get_mut("spec").and_then(Value::as_object_mut))
        {
            fields.insert("storageClassName".to_owned(), json!(class));
        }
        if let Some(fields) = object.get_mut("spec").and_then(Value::as_object_mut) {
            fields.insert("volumeClaimTemplates".to_owned(), json!([claim]));
        }
    }
    object
}

/// The volume of a role; index nodes have none.
pub fn storage(spec: &StorageClusterSpec, component: Component) -> Option<&StorageSpec> {
    match component {
        Component::Frontend => Some(&spec.frontend.storage),
        Component::Data => Some(&spec.data.storage),
        Component::Index => None,
    }
}

/// The size of claims that a StatefulSet makes.
pub fn size_of(set: &Value) -> Option<&str> {
    super::super::compare::text(set, "/spec/volumeClaimTemplates/0/spec/resources/requests/storage")
}
