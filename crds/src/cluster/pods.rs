//! Where pods run, and what is added to them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Toleration};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{rules, schema};

/// How pods are spread over failure domains.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopologySpec {
    /// The node label whose value is the failure domain.
    #[serde(default = "zone_key")]
    #[schemars(length(min = 1, max = 317))]
    #[x_kube(validation = rules::ZONE_KEY_IS_LABEL.rule())]
    pub zone_key: String,

    /// Whether a pod waits rather than share a failure domain.
    #[serde(default)]
    pub spread: Spread,
}

impl Default for TopologySpec {
    fn default() -> TopologySpec {
        TopologySpec { zone_key: zone_key(), spread: Spread::default() }
    }
}

fn zone_key() -> String {
    "topology.kubernetes.io/zone".to_owned()
}

/// Whether a pod waits rather than share a failure domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Spread {
    /// It shares one if there is no other place.
    #[default]
    Preferred,
    /// It waits.
    Required,
}

/// Additions to the pods of each component.
#[derive(KubeSchema, Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overrides {
    /// To frontends.
    #[serde(default)]
    pub frontend: PodOverrides,

    /// To index nodes.
    #[serde(default)]
    pub index: PodOverrides,

    /// To data nodes.
    #[serde(default)]
    pub data: PodOverrides,
}

/// Additions to the pods of one component. What is not here cannot be changed.
#[derive(KubeSchema, Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodOverrides {
    /// Labels of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    #[x_kube(validation = rules::LABELS_ARE_FREE.rule(), validation = rules::LABEL_VALUES_ARE_WORDS.rule())]
    pub labels: BTreeMap<String, String>,

    /// Annotations of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    #[x_kube(validation = rules::ANNOTATIONS_ARE_FREE.rule())]
    pub annotations: BTreeMap<String, String>,

    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub node_selector: BTreeMap<String, String>,

    /// Affinities, beside those of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::affinity")]
    pub affinity: Option<Affinity>,

    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::tolerations")]
    pub tolerations: Vec<Toleration>,

    /// The PriorityClass of the pods. Absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// Environment variables of the program. LAMINA_LOG filters what it logs, like `info,lamina_frontend=debug`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub env: Vec<Variable>,
}

/// An environment variable.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rules::VARIABLE_IS_NAME.rule(), validation = rules::VARIABLE_IS_FREE.rule())]
    pub name: String,

    /// Its value.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub value: String,
}
