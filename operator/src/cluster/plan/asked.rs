//! What StorageOperations ask for.

use lamina_crds::operation::{Component, OperationPhase, StorageOperation};

use super::Input;
use crate::cluster::seen::Pod;

/// The operation that is under way or begins now.
pub fn active<'a>(input: &Input<'a>) -> Option<&'a StorageOperation> {
    input.seen.operations.iter().find(|it| !is_over(it))
}

/// Whether a pod is to be restarted because of an operation.
pub fn restarts(input: &Input<'_>, component: Component, pod: &Pod) -> bool {
    let Some(operation) = active(input) else { return false };
    operation.spec.restarts().contains(&component) && pod.created <= created(operation)
}

/// Whether an operation succeeded or failed.
pub fn is_over(operation: &StorageOperation) -> bool {
    let phase = operation.status.as_ref().map(|status| status.phase).unwrap_or_default();
    matches!(phase, OperationPhase::Succeeded | OperationPhase::Failed)
}

/// When an operation was made, in seconds since 1970.
pub fn created(operation: &StorageOperation) -> i64 {
    operation.metadata.creation_timestamp.as_ref().map_or(0, |at| at.0.as_second())
}
