//! Who may connect to whom: nodes of a store to each other, clients to frontends, the operator to all, and whoever collects
//! metrics to the port for metrics. Nobody else.

use lamina_crds::StorageClusterSpec;
use lamina_crds::cluster::Selector;
use lamina_crds::operation::Component;
use serde_json::{Value, json};

use super::metadata;
use crate::names::{CALL_PORT, HTTP_PORT, Key};

/// The policy of all nodes.
pub fn nodes(key: &Key, owner: &str, operator_namespace: &str) -> Value {
    let ours = json!({ "podSelector": { "matchLabels": key.selector(None) } });
    let operator = json!({
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": operator_namespace } },
        "podSelector": { "matchLabels": { "app.kubernetes.io/name": crate::names::MANAGER } },
    });
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(key, owner, &format!("{}-nodes", key.name), None),
        "spec": {
            "podSelector": { "matchLabels": key.selector(None) },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                { "from": [ours.clone(), operator], "ports": [port(CALL_PORT, "TCP")] },
                { "from": [{ "namespaceSelector": {} }], "ports": [port(HTTP_PORT, "TCP")] },
            ],
            "egress": [
                { "to": [ours], "ports": [port(CALL_PORT, "TCP")] },
                // Names: also where they are asked for at another port than the Service's (OpenShift).
                { "ports": [port(53, "UDP"), port(53, "TCP"), port(5353, "UDP"), port(5353, "TCP")] },
            ],
        },
    })
}

/// The policy of the frontends, beside that of all nodes: clients of this namespace, and those that the spec names.
pub fn clients(key: &Key, owner: &str, spec: &StorageClusterSpec) -> Value {
    let mut from = vec![json!({ "podSelector": {} })];
    for peer in &spec.network.allow_from {
        let mut one = serde_json::Map::new();
        if let Some(namespaces) = &peer.namespace_selector {
            one.insert("namespaceSelector".to_owned(), selector(namespaces));
        }
        if let Some(pods) = &peer.pod_selector {
            one.insert("podSelector".to_owned(), selector(pods));
        }
        if let Some(block) = &peer.ip_block {
            let mut range = json!({ "cidr": block.cidr });
            if let (false, Some(fields)) = (block.except.is_empty(), range.as_object_mut()) {
                fields.insert("except".to_owned(), json!(block.except));
            }
            one.insert("ipBlock".to_owned(), range);
        }
        from.push(Value::Object(one));
    }
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(key, owner, &format!("{}-clients", key.name), None),
        "spec": {
            "podSelector": { "matchLabels": key.selector(Some(Component::Frontend)) },
            "policyTypes": ["Ingress"],
            "ingress": [{ "from": from, "ports": [port(CALL_PORT, "TCP")] }],
        },
    })
}

fn selector(of: &Selector) -> Value {
    if of.match_labels.is_empty() { json!({}) } else { json!({ "matchLabels": of.match_labels }) }
}

fn port(number: u16, protocol: &str) -> Value {
    json!({ "port": number, "protocol": protocol })
}
