//! What the operator says of a store. Everything is derived anew at every pass; nobody relies on what was said before.
//!
//! A status is at most 8 KiB ([`StorageClusterStatus::bounded`]), so that watching many stores stays cheap.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reasons::{ConditionType, Reason};

/// Bytes of a status as JSON, at most.
pub const STATUS_BYTES_MAX: usize = 8192;
/// Members that a status names, at most.
pub const MEMBERS_MAX: usize = 64;
/// Operations that a status names, at most.
pub const OPERATIONS_MAX: usize = 8;
/// Characters of a condition's message, at most.
pub const MESSAGE_LENGTH_MAX: usize = 256;

/// What the operator observed of a store.
#[derive(KubeSchema, Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageClusterStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The store's own name, given once when it began.
    #[serde(default, rename = "clusterUUID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub cluster_uuid: Option<String>,

    /// The epoch of the store's map of nodes and shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_epoch: Option<i64>,

    /// The version that all nodes run, or, while they differ, the oldest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,

    /// The revision of the pod templates in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub template_revision: Option<String>,

    /// The revision that this operator would make, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub available_revision: Option<String>,

    /// Label selector of the frontends, for whoever scales them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub selector: Option<String>,

    /// The three roles.
    #[serde(default)]
    pub components: ComponentStatuses,

    /// Index shards.
    #[serde(default)]
    pub shards: ShardsStatus,

    /// Nodes, the first 64 by role and name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub members: Vec<MemberStatus>,

    /// What is under way, the oldest 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".to_owned()]))]
    pub operations: Vec<OperationStatus>,

    /// Where the store is reached.
    #[serde(default)]
    pub endpoints: EndpointsStatus,

    /// Conditions, one of each type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
}

impl StorageClusterStatus {
    /// The condition of a type, if it is there.
    #[must_use]
    pub fn condition(&self, of: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == of.as_str())
    }

    /// Puts a condition in its place. The time of the last transition stays where the status stays: writing the same
    /// twice changes nothing.
    pub fn set(&mut self, condition: Condition) {
        let place = self.conditions.iter_mut().find(|there| there.kind == condition.kind);
        match place {
            Some(there) if there.status == condition.status => {
                let since = there.last_transition_time.clone();
                *there = Condition { last_transition_time: since, ..condition };
            }
            Some(there) => *there = condition,
            None => self.conditions.push(condition),
        }
    }

    /// The same status within [`STATUS_BYTES_MAX`]: long lists and messages are cut, then members left out from the end.
    /// Conditions, components and shards always stay.
    #[must_use]
    pub fn bounded(mut self) -> StorageClusterStatus {
        self.members.truncate(MEMBERS_MAX);
        self.operations.truncate(OPERATIONS_MAX);
        for condition in &mut self.conditions {
            condition.message = cut(&condition.message, MESSAGE_LENGTH_MAX);
        }
        for operation in &mut self.operations {
            operation.target = cut(&operation.target, 63);
            operation.phase = cut(&operation.phase, 63);
        }
        while self.bytes() > STATUS_BYTES_MAX && self.members.pop().is_some() {}
        while self.bytes() > STATUS_BYTES_MAX && self.operations.pop().is_some() {}
        self
    }

    /// Bytes as JSON.
    #[must_use]
    pub fn bytes(&self) -> usize {
        serde_json::to_vec(self).map_or(usize::MAX, |json| json.len())
    }
}

/// A text of at most so many characters; what was cut is marked.
fn cut(text: &str, length_max: usize) -> String {
    if text.chars().count() <= length_max {
        return text.to_owned();
    }
    text.chars().take(length_max - 1).chain(['…']).collect()
}

/// The three roles.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatuses {
    /// Frontends.
    #[serde(default)]
    pub frontend: ComponentStatus,

    /// Index nodes.
    #[serde(default)]
    pub index: ComponentStatus,

    /// Data nodes.
    #[serde(default)]
    pub data: ComponentStatus,
}

/// Nodes of one role.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// How many the spec asks for.
    #[serde(default)]
    pub desired: u32,

    /// How many pods there are.
    #[serde(default)]
    pub replicas: u32,

    /// How many pods are ready.
    #[serde(default)]
    pub ready: u32,

    /// How many pods have the template that is wanted.
    #[serde(default)]
    pub updated: u32,

    /// How many nodes have all that they should have.
    #[serde(default)]
    pub caught_up: u32,

    /// `ready/desired`, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub summary: String,
}

/// Index shards.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardsStatus {
    /// How many there are.
    #[serde(default)]
    pub total: u32,

    /// How many are complete on as many nodes as the spec asks for.
    #[serde(default)]
    pub fully_replicated: u32,

    /// How many are complete on no node.
    #[serde(default)]
    pub unavailable: u32,

    /// `fullyReplicated/total`, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub summary: String,
}

/// One node.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// The pod.
    #[schemars(length(max = 63))]
    pub name: String,

    /// What the store says of the node: Joining, Active, Dead, …; empty: nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub state: String,

    /// Its failure domain, if it is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub zone: String,
}

/// Something that is under way.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    /// The same as long as it is the same operation.
    #[schemars(length(max = 63))]
    pub id: String,

    /// RollingRestart or ReplaceNode.
    #[serde(rename = "type")]
    #[schemars(length(max = 63))]
    pub kind: String,

    /// The node or role that it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub target: String,

    /// Where it stands.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub phase: String,

    /// How much is done, in steps of 5, so that progress alone does not write the status all the time.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub percent: u32,
}

/// How much is done, in whole steps of 5 percent; 100 only when all is.
#[must_use]
pub fn percent(done: u64, all: u64) -> u32 {
    if done >= all {
        return 100;
    }
    u32::try_from(u128::from(done) * 20 / u128::from(all) * 5).unwrap_or(95)
}

/// Where the store is reached.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointsStatus {
    /// By clients: host and port.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 320))]
    pub client: String,
}

/// One condition.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type")]
    #[schemars(length(max = 63))]
    pub kind: String,

    /// Whether it holds.
    pub status: Verdict,

    /// Why, in one word that programs may compare.
    #[schemars(length(max = 63))]
    pub reason: String,

    /// Why, for people, and what to do.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub message: String,

    /// Since when it is as it is.
    pub last_transition_time: Time,

    /// The generation of the spec that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

impl Condition {
    /// A condition that holds, or not, from `now` on.
    #[must_use]
    pub fn new(
        kind: ConditionType,
        status: Verdict,
        reason: Reason,
        message: impl Into<String>,
        now: Time,
    ) -> Condition {
        Condition {
            kind: kind.as_str().to_owned(),
            status,
            reason: reason.as_str().to_owned(),
            message: cut(&message.into(), MESSAGE_LENGTH_MAX),
            last_transition_time: now,
            observed_generation: None,
        }
    }

    /// The same, about this generation of the spec.
    #[must_use]
    pub fn observed(mut self, generation: Option<i64>) -> Condition {
        self.observed_generation = generation;
        self
    }

    /// Whether it is known to hold.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.status == Verdict::True
    }
}

/// Whether a condition holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody knows.
    #[default]
    Unknown,
}

impl From<bool> for Verdict {
    fn from(holds: bool) -> Verdict {
        if holds { Verdict::True } else { Verdict::False }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Verdict::True => "True",
            Verdict::False => "False",
            Verdict::Unknown => "Unknown",
        })
    }
}

#[cfg(test)]
mod tests;
