//! What the store needs to be told: zones, grants that nobody wants, nodes whose volume is gone.

use lamina_peers::admin::Status;
use lamina_peers::view::NodeState;
use lamina_types::{ClusterId, NodeId};

use super::action::granted_pod;
use super::nodes::{is_gone, node_at, nodes_of};
use super::{Action, Input, Plan, rollout};
use crate::cluster::redundancy::is_caught_up;

/// Plans what the store is told.
pub fn plan(input: &Input<'_>, plan: &mut Plan) {
    let Some(status) = input.seen.store() else { return };
    zones(input, plan, status);
    end_grant(input, plan, status);
    bury(input, plan, status);
}

fn zones(input: &Input<'_>, plan: &mut Plan, status: &Status) {
    for (place, pod) in &input.seen.pods {
        let zone = if pod.zone.is_empty() { input.seen.zones.get(&pod.host) } else { Some(&pod.zone) };
        let (Some(zone), Some(node)) = (zone, node_at(input, status, *place)) else { continue };
        if !zone.is_empty() && node.zone != *zone && !is_gone(node) && pod.ready {
            plan.add(Action::SetZone { node: node.node, zone: zone.clone() });
        }
    }
}

/// A grant stays as long as its pod is the one to be stopped, or is on its way back. It ends by itself when the node's next start has
/// caught up; but if it was asked for too late, for a pod that had gone already, nobody but us can end it.
fn end_grant(input: &Input<'_>, plan: &mut Plan, status: &Status) {
    let Some((grant, node)) = &status.grant else { return };
    let Some(uid) = granted_pod(grant) else { return };
    let there = input.seen.pods.iter().find(|(_, pod)| pod.uid == uid);
    let wanted = match there {
        Some((place, pod)) => {
            pod.deleting || rollout::next(input, plan).is_some_and(|target| target.place == *place)
        }
        None => !is_back(input, status, *node) && !is_next(input, plan, status, *node),
    };
    if !wanted {
        plan.add(Action::EndGrant { grant: grant.clone() });
    }
}

/// The pod that came after the one of the grant never got well, and is to be stopped in its turn: under a grant of its own.
fn is_next(input: &Input<'_>, plan: &Plan, status: &Status, node: NodeId) -> bool {
    let next = rollout::next(input, plan);
    next.and_then(|target| node_at(input, status, target.place)).is_some_and(|it| it.node == node)
}

/// The node of a grant whose pod is gone is back, or will never be.
fn is_back(input: &Input<'_>, status: &Status, node: NodeId) -> bool {
    let Some(view) = status.view.node(node) else { return true };
    let pod = input
        .seen
        .pods
        .iter()
        .find(|(place, _)| node_at(input, status, **place).is_some_and(|it| it.node == node));
    let ready = pod.is_some_and(|(_, pod)| pod.ready && !pod.deleting);
    is_gone(view) || (ready && view.seen && view.state == NodeState::Active && is_caught_up(status, view))
}

/// Another node answers where this one did, on an empty volume: this one will never come back, and what it held is made anew.
fn bury(input: &Input<'_>, plan: &mut Plan, status: &Status) {
    for (place, identity) in &input.seen.identities {
        let Some(present) = identity.node.filter(|_| belongs(identity.cluster, status)) else { continue };
        for gone in nodes_of(input, status, *place).filter(|node| node.node != present && !node.seen) {
            if gone.state == NodeState::Dead {
                plan.add(Action::Bury { node: gone.node, name: gone.name.clone() });
            } else {
                plan.add(Action::DeclareDead { node: gone.node, name: gone.name.clone(), from: gone.state });
            }
        }
    }
}

fn belongs(cluster: Option<ClusterId>, status: &Status) -> bool {
    cluster == Some(status.view.cluster)
}
