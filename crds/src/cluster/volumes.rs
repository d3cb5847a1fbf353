//! What a pod gets: a volume, processors, memory.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::{Bytes, Cpu};
use crate::rules;

/// The volume of each node of a role.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::VOLUME_IS_LARGE_ENOUGH.rule(),
    validation = rules::VOLUME_CLASS_IS_FIXED.rule()
)]
pub struct StorageSpec {
    /// Its size: at least 1Gi. It can grow if the StorageClass allows it, and never shrinks: only a size that could not be had is taken back.
    #[serde(default = "ten_gi")]
    pub size: Bytes,

    /// Its StorageClass. Absent: the cluster's default. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::CLASS_IS_NAME.rule())]
    pub storage_class_name: Option<String>,
}

impl Default for StorageSpec {
    fn default() -> StorageSpec {
        StorageSpec { size: ten_gi(), storage_class_name: None }
    }
}

fn ten_gi() -> Bytes {
    Bytes::new("10Gi")
}

/// Processors and memory of each node of a role, as in a pod.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::CPU_LIMIT_COVERS_REQUEST.rule(),
    validation = rules::MEMORY_LIMIT_COVERS_REQUEST.rule()
)]
pub struct Resources {
    /// What is reserved.
    #[serde(default, skip_serializing_if = "ResourceAmounts::is_empty")]
    pub requests: ResourceAmounts,

    /// What it may use at most.
    #[serde(default, skip_serializing_if = "ResourceAmounts::is_empty")]
    pub limits: ResourceAmounts,
}

impl Resources {
    /// So much processor and memory reserved, so much memory at most.
    #[must_use]
    pub fn of(cpu: &str, memory: &str, memory_limit: &str) -> Resources {
        Resources {
            requests: ResourceAmounts { cpu: Some(Cpu::new(cpu)), memory: Some(Bytes::new(memory)) },
            limits: ResourceAmounts { cpu: None, memory: Some(Bytes::new(memory_limit)) },
        }
    }
}

/// Amounts of processors and memory.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceAmounts {
    /// Processors: 2, 500m. Absent: no amount is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,

    /// Memory: 512Mi, 2Gi. Absent: no amount is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
}

impl ResourceAmounts {
    /// Whether no amount is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cpu.is_none() && self.memory.is_none()
    }
}
