//! The rules of an operation.

use crate::check::{Judge, words};
use crate::operation::{OperationType, StorageOperation};
use crate::rules;

pub(super) fn judge(judge: &mut Judge, new: &StorageOperation, old: Option<&StorageOperation>) {
    let spec = &new.spec;
    if let Some(old) = old.map(|old| &old.spec) {
        let same = spec.cluster == old.cluster
            && spec.kind == old.kind
            && spec.rolling_restart == old.rolling_restart
            && spec.replace_node == old.replace_node;
        judge.must(same, "spec", rules::OPERATION_IS_FIXED);
    }
    let restarts = spec.kind == OperationType::RollingRestart;
    judge.must(restarts || spec.rolling_restart.is_none(), "spec", rules::RESTART_IS_ASKED_FOR);
    let replaces = spec.kind == OperationType::ReplaceNode;
    judge.must(replaces == spec.replace_node.is_some(), "spec", rules::REPLACEMENT_NAMES_NODE);
    if let Some(replaced) = &spec.replace_node {
        let of_cluster = words::is_node_of(&spec.cluster, &replaced.node);
        judge.must(of_cluster, "spec", rules::NODE_IS_OF_CLUSTER);
    }
    judge.must(words::is_label(&spec.cluster), "spec.cluster", rules::CLUSTER_IS_NAME);
}
