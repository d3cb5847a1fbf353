//! `StorageCluster`: one store.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;
use crate::status::StorageClusterStatus;

pub mod image;
pub mod network;
pub mod pods;
pub mod roles;
pub mod volumes;

pub use image::{ImageSpec, PullPolicy, PullSecret};
pub use network::{NetworkPolicyMode, NetworkSpec, Peer, Selector, ServiceSpec, ServiceType};
pub use pods::{Overrides, PodOverrides, Spread, TopologySpec, Variable};
pub use roles::{DataSpec, FrontendSpec, IndexSpec};
pub use volumes::{ResourceAmounts, Resources, StorageSpec};

/// Desired state of one store: an ordered, replicated key-value store of frontends, index nodes and data nodes.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[kube(
    group = "lamina.dev",
    version = "v1alpha1",
    kind = "StorageCluster",
    plural = "storageclusters",
    shortname = "stc",
    category = "all",
    category = "storage",
    namespaced,
    status = "StorageClusterStatus",
    derive = "PartialEq",
    doc = "One Lamina store: frontends (memtables and log), index nodes, data nodes.",
    scale(
        spec_replicas_path = ".spec.frontend.replicas",
        status_replicas_path = ".status.components.frontend.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Frontend",
        type_ = "string",
        json_path = ".status.components.frontend.summary",
        description = "Frontends that are ready, of those wanted"
    ),
    printcolumn(
        name = "Index",
        type_ = "string",
        json_path = ".status.components.index.summary",
        description = "Index nodes that are ready, of those wanted"
    ),
    printcolumn(
        name = "Data",
        type_ = "string",
        json_path = ".status.components.data.summary",
        description = "Data nodes that are ready, of those wanted"
    ),
    printcolumn(
        name = "Shards",
        type_ = "string",
        json_path = ".status.shards.summary",
        description = "Index shards that are fully replicated, of all"
    ),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::NAME_FITS.rule(),
    validation = rules::NAME_IS_LABEL.rule(),
    validation = rules::FRONTEND_VOLUMES_NEVER_SHRINK.rule(),
    validation = rules::DATA_VOLUMES_NEVER_SHRINK.rule()
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::PRODUCTION_REPLICATES_GROUPS.rule(),
    validation = rules::PRODUCTION_HAS_INDEX_NODES.rule(),
    validation = rules::PRODUCTION_REPLICATES_SHARDS.rule(),
    validation = rules::PRODUCTION_REPLICATES_TABLES.rule()
)]
pub struct StorageClusterSpec {
    /// The version of Lamina to run. Absent: the operator's own. A minor version can be changed by one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(
        validation = rules::VERSION_IS_SEMVER.rule(),
        validation = rules::VERSION_KEEPS_MAJOR.rule(),
        validation = rules::VERSION_GOES_STEP_BY_STEP.rule()
    )]
    pub version: Option<String>,

    /// Where the program comes from.
    #[serde(default)]
    pub image: ImageSpec,

    /// What the store is for. Immutable.
    #[serde(default)]
    #[x_kube(validation = rules::PROFILE_IS_FIXED.rule())]
    pub profile: Profile,

    /// Frontends: they talk to clients, and keep the log and the memtables.
    #[serde(default)]
    pub frontend: FrontendSpec,

    /// Index nodes: they keep the index of every table in memory.
    #[serde(default)]
    pub index: IndexSpec,

    /// Data nodes: they keep the tables.
    #[serde(default)]
    pub data: DataSpec,

    /// How pods are spread over failure domains.
    #[serde(default)]
    pub topology: TopologySpec,

    /// How pods are replaced when their template changes.
    #[serde(default)]
    pub upgrade: UpgradeSpec,

    /// Encryption between nodes and to clients.
    #[serde(default)]
    pub tls: TlsSpec,

    /// Who may connect, and how clients find the store.
    #[serde(default)]
    pub network: NetworkSpec,

    /// Additions to the pods of each component.
    #[serde(default)]
    pub overrides: Overrides,

    /// The operator leaves the store as it is, and says so in the condition Paused. The store goes on serving.
    #[serde(default)]
    pub paused: bool,

    /// The API server refuses to delete this object while it is true. (The namespace can still be deleted.)
    #[serde(default)]
    pub deletion_protection: bool,

    /// What becomes of the volumes when this object is deleted. Scaling never deletes a volume.
    #[serde(default)]
    pub reclaim_policy: ReclaimPolicy,
}

/// What a store is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Profile {
    /// Survives the loss of any one node: what would not is refused.
    #[default]
    Production,
    /// Allows replication factors of 1, fewer than three index nodes, and pods of one role on one node.
    Development,
}

/// How pods are replaced when their template changes.
#[derive(KubeSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeSpec {
    /// Pods of the store that may be down by the operator's will at a time. The store grants one stop at a time, so 1 is
    /// all that is accepted.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1))]
    pub max_unavailable: u32,

    /// Whether a new operator may replace pods that run well.
    #[serde(default)]
    pub pod_template_policy: PodTemplatePolicy,
}

impl Default for UpgradeSpec {
    fn default() -> UpgradeSpec {
        UpgradeSpec { max_unavailable: one(), pod_template_policy: PodTemplatePolicy::default() }
    }
}

fn one() -> u32 {
    1
}

/// Whether a new operator may replace pods that run well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum PodTemplatePolicy {
    /// Pods keep the template of the operator that made them until this field or the spec's own template fields change;
    /// the condition UpgradeAvailable says that there is a newer one.
    #[default]
    Pinned,
    /// Pods are replaced, one after the other, whenever the operator renders another template.
    FollowOperator,
}

/// Encryption between nodes and to clients.
#[derive(KubeSchema, Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsSpec {
    /// Where certificates come from. There is no TLS yet, so Disabled is all that is accepted: keep the store on a
    /// network that you trust.
    #[serde(default)]
    pub mode: TlsMode,
}

/// Where certificates come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// From nowhere: everything is sent in the clear.
    #[default]
    Disabled,
}

/// What becomes of the volumes of a store that is deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum ReclaimPolicy {
    /// They stay. A StorageCluster of the same name takes them up again.
    #[default]
    Retain,
    /// They are deleted with the object, and all data with them.
    Delete,
}
