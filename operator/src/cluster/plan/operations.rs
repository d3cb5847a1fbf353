//! StorageOperations: restarts one after the other, the oldest first; replacements at any time, because they heal. What is done is seen from the pods and claims themselves: what is younger
//! than the operation has been replaced.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use lamina_crds::operation::{OperationPhase, OperationType, StorageOperation};
use lamina_crds::status::percent;
use lamina_crds::{Reason, StorageOperationStatus};

use super::asked::{self, created, is_over};
use super::replace::{self, Replacement};
use super::{Action, Input, Plan};
use crate::cluster::seen::Pod;

/// Plans what is said of operations.
pub fn plan(input: &Input<'_>, plan: &mut Plan) {
    for operation in input.seen.operations.iter().filter(|it| is_over(it)) {
        let since = operation.status.as_ref().and_then(|it| it.finished_at.as_ref());
        let kept = i64::from(operation.spec.ttl_seconds_after_finished);
        if since.is_some_and(|at| at.0.as_second() + kept < input.now) {
            let (name, uid) = (name(operation), uid(operation));
            plan.add(Action::DropOperation { name, uid });
        }
    }
    for operation in asked::outlived(input) {
        let why = "it was asked of an earlier StorageCluster of this name".to_owned();
        tell(input, plan, operation, OperationPhase::Failed, 0, why);
    }
    let first = asked::restart(input).map(uid);
    for operation in asked::open(input) {
        let (phase, done, message) = match operation.spec.kind {
            OperationType::RollingRestart if Some(uid(operation)) != first => {
                (OperationPhase::Pending, 0, "another restart goes first".to_owned())
            }
            OperationType::RollingRestart => restart(input, plan, operation),
            OperationType::ReplaceNode => match replace::progress(input, plan, operation) {
                Replacement::Waits(why) => (OperationPhase::Pending, 0, why),
                Replacement::Runs(percent, why) => (OperationPhase::Running, percent, why),
                Replacement::Done => (OperationPhase::Succeeded, 100, "the new node takes part".to_owned()),
                Replacement::Fails(why) => (OperationPhase::Failed, 0, why),
            },
        };
        if phase == OperationPhase::Running || phase == OperationPhase::Pending {
            let reason = match operation.spec.kind {
                OperationType::RollingRestart => Reason::Restarting,
                OperationType::ReplaceNode => Reason::ReplacingNode,
            };
            plan.waits(reason, format!("operation {}: {message}", name(operation)));
        }
        tell(input, plan, operation, phase, done, message);
    }
}

fn restart(input: &Input<'_>, plan: &Plan, operation: &StorageOperation) -> (OperationPhase, u32, String) {
    let roles = operation.spec.restarts();
    let all: u32 = roles.iter().map(|it| plan.verdict.counts.of(*it)).sum();
    let renewed = |pod: &&Pod| pod.created > created(operation) && pod.ready && !pod.deleting;
    let done: usize =
        roles.iter().map(|it| input.seen.pods_of(*it).filter(|(_, pod)| renewed(pod)).count()).sum();
    if done >= all as usize {
        return (OperationPhase::Succeeded, 100, format!("{all} pods were restarted"));
    }
    (
        OperationPhase::Running,
        percent(done as u64, u64::from(all)),
        format!("{done} of {all} pods were restarted"),
    )
}

fn tell(
    input: &Input<'_>,
    plan: &mut Plan,
    operation: &StorageOperation,
    phase: OperationPhase,
    percent: u32,
    message: String,
) {
    let was = operation.status.clone().unwrap_or_default();
    let now = || Timestamp::from_second(input.now).ok().map(Time);
    let over = matches!(phase, OperationPhase::Succeeded | OperationPhase::Failed);
    let begun = phase != OperationPhase::Pending;
    let status = StorageOperationStatus {
        phase,
        percent,
        message,
        started_at: was.started_at.clone().or_else(|| if begun { now() } else { None }),
        finished_at: was.finished_at.clone().or_else(|| if over { now() } else { None }),
    };
    if status != was {
        plan.add(Action::TellOperation { name: name(operation), uid: uid(operation), status });
    }
}

fn name(operation: &StorageOperation) -> String {
    operation.metadata.name.clone().unwrap_or_default()
}

fn uid(operation: &StorageOperation) -> String {
    operation.metadata.uid.clone().unwrap_or_default()
}
