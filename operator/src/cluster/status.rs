//! What is said of a store: derived anew at each pass, and written only if it changed.
//!
//! | module | holds |
//! |---|---|
//! | [`conditions`] | the conditions |
//! | this one | figures |

use lamina_crds::StorageClusterStatus;
use lamina_crds::operation::{Component, StorageOperation};
use lamina_crds::status::{
    ComponentStatus, ComponentStatuses, EndpointsStatus, MemberStatus, OperationStatus,
};
use lamina_peers::view::NodeState;

use super::plan::nodes::node_at;
use super::plan::{Action, Input, Plan, asked};
use super::redundancy::{is_caught_up, shards};

pub mod conditions;

/// The whole status.
pub fn status(input: &Input<'_>, plan: &Plan, outcome: &super::execute::Outcome) -> StorageClusterStatus {
    let seen = input.seen;
    let was = input.cluster.status.clone().unwrap_or_default();
    let store = seen.store();
    let versions = seen.identities.values().map(|identity| identity.version.clone());
    let conditions = was.conditions.clone();
    let mut status = StorageClusterStatus {
        observed_generation: input.cluster.metadata.generation,
        cluster_uuid: seen.record.present().map(|record| record.cluster.to_string()).or(was.cluster_uuid),
        map_epoch: store.map(|it| it.view.epoch.0.try_into().unwrap_or(i64::MAX)).or(was.map_epoch),
        version: versions.min_by_key(|it| order(it)).or(was.version),
        template_revision: Some(plan.choice.revision.clone()).filter(|_| !plan.choice.templates.is_empty()),
        available_revision: plan.choice.available.clone(),
        selector: Some(input.key.selector_text(Some(Component::Frontend))),
        components: components(input, plan),
        shards: store.map_or(was.shards, |it| shards(Some(it))),
        members: members(input),
        operations: operations(input, plan),
        endpoints: EndpointsStatus { client: input.key.client_address() },
        conditions,
    };
    for condition in conditions::all(input, plan, outcome, &status.components) {
        status.set(condition);
    }
    status.bounded()
}

/// Versions in their order, as far as they are numbers.
fn order(version: &str) -> Vec<u64> {
    version.split(['.', '-']).map(|part| part.parse().unwrap_or(0)).collect()
}

fn components(input: &Input<'_>, plan: &Plan) -> ComponentStatuses {
    let one = |component| {
        let count = plan.verdict.counts.of(component);
        let pods: Vec<_> = input.seen.pods_of(component).filter(|(n, _)| *n < count).collect();
        let revision = plan.choice.templates.get(&component).map(|it| it.revision.as_str());
        let caught_up = input.seen.store().map_or(0, |status| {
            let nodes = (0..count).filter_map(|n| node_at(input, status, (component, n)));
            nodes.filter(|it| it.seen && it.state == NodeState::Active && is_caught_up(status, it)).count()
        });
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let ready = number(pods.iter().filter(|(_, pod)| pod.ready && !pod.deleting).count());
        ComponentStatus {
            desired: count,
            replicas: number(pods.len()),
            ready,
            updated: number(pods.iter().filter(|(_, pod)| Some(pod.revision.as_str()) == revision).count()),
            caught_up: number(caught_up),
            summary: format!("{ready}/{count}"),
        }
    };
    ComponentStatuses {
        frontend: one(Component::Frontend),
        index: one(Component::Index),
        data: one(Component::Data),
    }
}

fn members(input: &Input<'_>) -> Vec<MemberStatus> {
    let one = |place: &(Component, u32)| {
        let node = input.seen.store().and_then(|status| node_at(input, status, *place));
        MemberStatus {
            name: input.key.pod(place.0, place.1),
            state: node.map(|node| format!("{:?}", node.state)).unwrap_or_default(),
            zone: node.map(|node| node.zone.chars().take(63).collect()).unwrap_or_default(),
        }
    };
    let mut places: Vec<_> = input.seen.pods.keys().copied().collect();
    places.sort_by_key(|(component, ordinal)| (component.as_str(), *ordinal));
    places.iter().map(one).collect()
}

/// The operations that are not over.
fn operations(input: &Input<'_>, plan: &Plan) -> Vec<OperationStatus> {
    let one = |operation: &StorageOperation| {
        let told = plan.actions.iter().find_map(|action| match action {
            Action::TellOperation { uid, status, .. } if Some(uid) == operation.metadata.uid.as_ref() => {
                Some(status)
            }
            _ => None,
        });
        let status = told.or(operation.status.as_ref())?;
        Some(OperationStatus {
            id: operation.metadata.name.clone().unwrap_or_default().chars().take(63).collect(),
            kind: format!("{:?}", operation.spec.kind),
            target: operation.spec.replace_node.as_ref().map(|it| it.node.clone()).unwrap_or_default(),
            phase: format!("{:?}", status.phase),
            percent: status.percent,
        })
    };
    asked::open(input).filter_map(one).collect()
}
