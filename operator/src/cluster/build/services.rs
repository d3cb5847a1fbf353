//! Services and the ServiceAccount.

use lamina_crds::StorageClusterSpec;
use lamina_crds::operation::Component;
use serde_json::{Value, json};

use super::metadata;
use crate::names::{CALL_PORT, HTTP_PORT, Key};

/// The headless Service of a role: names for pods, also for those that are not ready, which have to find each other.
pub fn headless(key: &Key, owner: &str, component: Component) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(key, owner, &key.set(component), Some(component)),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": key.selector(Some(component)),
            "ports": [
                { "name": "grpc", "port": CALL_PORT, "targetPort": "grpc", "protocol": "TCP" },
                { "name": "http", "port": HTTP_PORT, "targetPort": "http", "protocol": "TCP" },
            ],
        },
    })
}

/// The Service for clients: frontends that are ready.
pub fn client(key: &Key, owner: &str, spec: &StorageClusterSpec) -> Value {
    let service = &spec.network.service;
    let mut metadata = metadata(key, owner, &key.client_service(), None);
    if let (Some(fields), false) = (metadata.as_object_mut(), service.annotations.is_empty()) {
        fields.insert("annotations".to_owned(), json!(service.annotations));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": service.kind,
            "selector": key.selector(Some(Component::Frontend)),
            "ports": [{ "name": "grpc", "port": CALL_PORT, "targetPort": "grpc", "protocol": "TCP" }],
        },
    })
}

/// Whom the pods run as: somebody who may do nothing.
pub fn account(key: &Key, owner: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(key, owner, &key.name, None),
        "automountServiceAccountToken": false,
    })
}
