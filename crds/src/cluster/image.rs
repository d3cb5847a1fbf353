//! Where the program comes from.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// Where the program comes from. What is absent is what the operator was installed with.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSpec {
    /// The repository, without tag or digest. Absent: the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = rules::REPOSITORY_IS_PATH.rule())]
    pub repository: Option<String>,

    /// The tag. Absent: the version. Never `latest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::TAG_IS_WORD.rule(), validation = rules::TAG_IS_NOT_LATEST.rule())]
    pub tag: Option<String>,

    /// The digest, which wins over the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    #[x_kube(validation = rules::DIGEST_IS_SHA256.rule())]
    pub digest: Option<String>,

    /// When the image is pulled.
    #[serde(default)]
    pub pull_policy: PullPolicy,

    /// Secrets for the registry, in the same namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub pull_secrets: Vec<PullSecret>,
}

/// When the image is pulled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// If it is not on the node.
    #[default]
    IfNotPresent,
    /// At every start.
    Always,
    /// Not at all: it must be on the node.
    Never,
}

/// A Secret for the registry.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullSecret {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
