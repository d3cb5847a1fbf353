//! `StorageOperation`: something to be done once, outside the spec.

#![expect(clippy::duplicated_attributes, reason = "two columns may have the same type")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// Something to be done to a store once. Immutable, but for how long it is kept. Deleting it cancels what has not begun.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "lamina.dev",
    version = "v1alpha1",
    kind = "StorageOperation",
    plural = "storageoperations",
    shortname = "sto",
    category = "storage",
    namespaced,
    status = "StorageOperationStatus",
    derive = "PartialEq",
    doc = "Something to be done to a Lamina store once: a rolling restart, the replacement of a node.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Progress", type_ = "integer", json_path = ".status.percent"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::OPERATION_IS_FIXED.rule(),
    validation = rules::RESTART_IS_ASKED_FOR.rule(),
    validation = rules::REPLACEMENT_NAMES_NODE.rule(),
    validation = rules::NODE_IS_OF_CLUSTER.rule()
)]
pub struct StorageOperationSpec {
    /// The StorageCluster, in the same namespace.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = rules::CLUSTER_IS_NAME.rule())]
    pub cluster: String,

    /// What is to be done.
    #[serde(rename = "type")]
    pub kind: OperationType,

    /// What a RollingRestart restarts. Absent: all pods of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_restart: Option<RollingRestart>,

    /// Which node a ReplaceNode replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_node: Option<ReplaceNode>,

    /// How long this object is kept when it is done: 0 seconds to 30 days.
    #[serde(default = "one_day")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub ttl_seconds_after_finished: u32,
}

impl StorageOperationSpec {
    /// The roles whose pods a rolling restart restarts; none for another operation.
    #[must_use]
    pub fn restarts(&self) -> Vec<Component> {
        match (self.kind, &self.rolling_restart) {
            (OperationType::RollingRestart, Some(named)) if !named.components.is_empty() => {
                named.components.clone()
            }
            (OperationType::RollingRestart, _) => Component::ALL.to_vec(),
            (OperationType::ReplaceNode, _) => Vec::new(),
        }
    }
}

fn one_day() -> u32 {
    86_400
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum OperationType {
    /// Restarts pods, one after the other, each only when the store can do without it.
    RollingRestart,
    /// Gives up a node and its volume, and starts an empty one in its place; only when the store can do without the volume.
    ReplaceNode,
}

/// What a RollingRestart restarts.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollingRestart {
    /// The roles whose pods are restarted: data first, frontends last, whatever the order here. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub components: Vec<Component>,
}

/// Which node a ReplaceNode replaces.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplaceNode {
    /// Its pod, like orders-data-1.
    #[schemars(length(min = 1, max = 63))]
    pub node: String,
}

/// A role of nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Component {
    /// Data nodes.
    Data,
    /// Index nodes.
    Index,
    /// Frontends.
    Frontend,
}

impl Component {
    /// All roles, in the order in which they are restarted and upgraded.
    pub const ALL: [Component; 3] = [Component::Data, Component::Index, Component::Frontend];

    /// What ends the names of its StatefulSet and begins those of its nodes: `data`, `index`, `frontend`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Component::Data => "data",
            Component::Index => "index",
            Component::Frontend => "frontend",
        }
    }
}

/// How an operation goes.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageOperationStatus {
    /// Where it stands.
    #[serde(default)]
    pub phase: OperationPhase,

    /// How much is done, in steps of 5.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub percent: u32,

    /// What it does, or waits for, or why it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,

    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// When it ended, well or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// Where an operation stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum OperationPhase {
    /// Not begun: another goes first, or the store does not allow it yet.
    #[default]
    Pending,
    /// Under way.
    Running,
    /// Done.
    Succeeded,
    /// Given up; the message says why.
    Failed,
}
