//! What StorageOperations ask for.

use lamina_crds::operation::{Component, OperationPhase, OperationType, StorageOperation};

use super::Input;
use crate::cluster::seen::Pod;

/// Operations that are not over, oldest first. Those of an earlier store of this name are none of ours.
pub fn open<'a>(input: &Input<'a>) -> impl Iterator<Item = &'a StorageOperation> {
    let begun = input.cluster.metadata.creation_timestamp.as_ref().map_or(0, |at| at.0.as_second());
    input.seen.operations.iter().filter(move |it| !is_over(it) && created(it) >= begun)
}

/// Those that were asked of an earlier store of this name, and never carried out.
pub fn outlived<'a>(input: &Input<'a>) -> impl Iterator<Item = &'a StorageOperation> {
    let begun = input.cluster.metadata.creation_timestamp.as_ref().map_or(0, |at| at.0.as_second());
    input.seen.operations.iter().filter(move |it| !is_over(it) && created(it) < begun)
}

/// The restart that is under way or begins now: one after the other. (Replacements heal, and never wait for a restart, which may
/// wait for what they heal.)
pub fn restart<'a>(input: &Input<'a>) -> Option<&'a StorageOperation> {
    open(input).find(|it| it.spec.kind == OperationType::RollingRestart)
}

/// Whether a pod is to be restarted because of an operation.
pub fn restarts(input: &Input<'_>, component: Component, pod: &Pod) -> bool {
    let Some(operation) = restart(input) else { return false };
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
