//! Who may connect, and how clients find the store.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{rules, schema};

/// Who may connect, and how clients find the store.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSpec {
    /// Whether NetworkPolicies are made. They need a network that enforces them.
    #[serde(default)]
    pub policy: NetworkPolicyMode,

    /// Who may connect as a client, beside pods of the same namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub allow_from: Vec<Peer>,

    /// The Service for clients, `<name>-client`.
    #[serde(default)]
    pub service: ServiceSpec,
}

/// Whether NetworkPolicies are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum NetworkPolicyMode {
    /// Nodes of the store reach each other, clients reach the frontends' client port, the operator and Prometheus their ports;
    /// nobody else reaches anything.
    #[default]
    Managed,
    /// None are made.
    Disabled,
}

/// Pods that may connect: those that both selectors match, in this namespace if no namespaceSelector is given. Or addresses.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::PEER_SELECTS_SOMEBODY.rule())]
pub struct Peer {
    /// Namespaces by their labels; `{}` is every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,

    /// Pods by their labels; `{}` is every pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<Selector>,

    /// Addresses outside the cluster, as the network sees them: behind a load balancer perhaps those of Kubernetes nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<IpBlock>,
}

/// A range of addresses.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpBlock {
    /// The range, like 10.0.0.0/8 or 2001:db8::/32.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rules::BLOCK_IS_CIDR.rule())]
    pub cidr: String,

    /// Ranges within it that may not connect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::blocks")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub except: Vec<String>,
}

/// Objects by their labels.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Labels that an object must have, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub match_labels: BTreeMap<String, String>,
}

/// The Service for clients.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// Its type. Under network.policy: Managed clients outside the cluster are let in by allowFrom[].ipBlock only.
    #[serde(default, rename = "type")]
    pub kind: ServiceType,

    /// Its annotations, as load balancers want them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    #[x_kube(validation = rules::ANNOTATIONS_ARE_FREE.rule())]
    pub annotations: BTreeMap<String, String>,
}

/// The type of a Service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Reachable in the cluster.
    #[default]
    ClusterIP,
    /// Reachable on a port of each node.
    NodePort,
    /// Reachable through a load balancer.
    LoadBalancer,
}
