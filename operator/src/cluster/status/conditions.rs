//! The conditions. All are there from the first pass on.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use lamina_crds::operation::Component;
use lamina_crds::status::ComponentStatuses;
use lamina_crds::{Condition, ConditionType, Reason, Verdict};
use lamina_peers::view::NodeState;

use crate::cluster::execute::Outcome;
use crate::cluster::plan::{Input, Plan};
use crate::cluster::redundancy::{Redundancy, redundancy, shards};

/// A condition without its time.
type Said = (Verdict, Reason, String);

/// All conditions, in their order.
pub fn all(
    input: &Input<'_>,
    plan: &Plan,
    outcome: &Outcome,
    components: &ComponentStatuses,
) -> Vec<Condition> {
    let now = Time(Timestamp::from_second(input.now).unwrap_or_default());
    let stalled = stalled(plan, outcome);
    let available = available(input, plan);
    let ready = ready(input, plan, &stalled, &available, components);
    let said = [
        (ConditionType::Ready, ready),
        (ConditionType::Available, available),
        (ConditionType::Progressing, progressing(input, plan, outcome)),
        (ConditionType::Degraded, degraded(input, plan)),
        (ConditionType::Reconciled, reconciled(input, plan, outcome, &stalled)),
        (ConditionType::Stalled, stalled),
        (ConditionType::ShardsFullyReplicated, replicated(input)),
        (ConditionType::VolumesResized, resized(input, outcome)),
        (ConditionType::UpgradeAvailable, upgrade(plan)),
        (ConditionType::Paused, paused(input)),
    ];
    let generation = input.cluster.metadata.generation;
    let one = |(kind, (verdict, reason, message)): (ConditionType, Said)| {
        debug_assert!(reason.conditions().contains(&kind), "{kind} cannot have reason {reason}");
        Condition::new(kind, verdict, reason, message, now.clone()).observed(generation)
    };
    said.into_iter().map(one).collect()
}

fn fine(verdict: bool, message: &str) -> Said {
    (verdict.into(), Reason::AsExpected, message.to_owned())
}

fn stalled(plan: &Plan, outcome: &Outcome) -> Said {
    match plan.stalls.first().or(outcome.stalls.first()) {
        Some(stall) => (Verdict::True, stall.reason, stall.message.clone()),
        None => fine(false, "nothing has to be done by hand"),
    }
}

fn available(input: &Input<'_>, plan: &Plan) -> Said {
    match &input.seen.probe {
        Some(Ok(())) => fine(true, "every group answered a probe"),
        Some(Err(error)) => (Verdict::False, Reason::ProbeFailed, format!("a probe failed: {error}")),
        None if input.seen.record.present().is_none() => {
            let why = plan.progress.iter().find(|(reason, _)| *reason == Reason::Bootstrapping);
            let message = why.map_or("the store has not begun yet", |(_, message)| message.as_str());
            (Verdict::False, Reason::Bootstrapping, message.to_owned())
        }
        None => (Verdict::False, Reason::StoreUnreachable, unreachable(input).to_owned()),
    }
}

/// Why the store does not say how it is.
fn unreachable(input: &Input<'_>) -> &'static str {
    if input.seen.identities.keys().any(|place| place.0 == Component::Frontend) {
        "frontends answer, and none of them knows how the store is: they have not found each other, or have lost their volumes"
    } else {
        "no frontend answers the operator"
    }
}

fn ready(
    input: &Input<'_>,
    plan: &Plan,
    stalled: &Said,
    available: &Said,
    components: &ComponentStatuses,
) -> Said {
    if stalled.0 == Verdict::True {
        let fits = stalled.1.conditions().contains(&ConditionType::Ready);
        return (Verdict::False, if fits { stalled.1 } else { Reason::ApiRefused }, stalled.2.clone());
    }
    if available.0 != Verdict::True {
        return (Verdict::False, available.1, available.2.clone());
    }
    let all = [
        (Component::Frontend, &components.frontend),
        (Component::Index, &components.index),
        (Component::Data, &components.data),
    ];
    let short: Vec<String> = all
        .iter()
        .filter(|(_, it)| it.ready < it.desired)
        .map(|(component, it)| {
            let (ready, desired, role) = (it.ready, it.desired, component.as_str());
            format!("{ready} of {desired} {role} nodes are ready{}", lacking(input, plan, *component))
        })
        .collect();
    if short.is_empty() {
        fine(true, "the store serves, and all nodes are ready")
    } else {
        (Verdict::False, Reason::NodesNotReady, short.join("; "))
    }
}

/// The first node of a role that is not ready, and why, as far as Kubernetes says.
fn lacking(input: &Input<'_>, plan: &Plan, component: Component) -> String {
    let first = (0..plan.verdict.counts.of(component)).find_map(|ordinal| {
        let name = input.key.pod(component, ordinal);
        match input.seen.pods.get(&(component, ordinal)) {
            None => Some(format!("{name} is not there")),
            Some(pod) if pod.deleting => Some(format!("{name} is stopping")),
            Some(pod) if !pod.ready && pod.trouble.is_empty() => Some(format!("{name} is not ready")),
            Some(pod) if !pod.ready => Some(format!("{name} is not ready ({})", pod.trouble)),
            Some(_) => None,
        }
    });
    first.map_or(String::new(), |it| format!(": {it}"))
}

fn progressing(input: &Input<'_>, plan: &Plan, outcome: &Outcome) -> Said {
    if input.cluster.spec.paused {
        return (
            Verdict::False,
            Reason::PausedBySpec,
            "spec.paused is true; set it to false to go on".to_owned(),
        );
    }
    let fits = |(reason, _): &&(Reason, String)| reason.conditions().contains(&ConditionType::Progressing);
    if !outcome.errors.is_empty() {
        return (Verdict::True, Reason::Applying, failing(outcome));
    }
    let waits = outcome.waits.iter().find(fits);
    let planned = plan.progress.iter().find(fits);
    // The pod that is replaced is named by the plan, and why it waits by the store.
    match (planned, waits) {
        (Some((reason, message)), Some((_, why))) => (Verdict::True, *reason, format!("{message}; {why}")),
        (Some((reason, message)), None) | (None, Some((reason, message))) => {
            (Verdict::True, *reason, message.clone())
        }
        (None, None) => fine(false, "nothing is being changed"),
    }
}

/// The first step that failed.
fn failing(outcome: &Outcome) -> String {
    let first = outcome.errors.first().map_or("", String::as_str);
    format!("a step failed, and is tried again: {first}")
}

fn reconciled(input: &Input<'_>, plan: &Plan, outcome: &Outcome, stalled: &Said) -> Said {
    if input.cluster.spec.paused {
        return (
            Verdict::Unknown,
            Reason::PausedBySpec,
            "spec.paused is true; set it to false to go on".to_owned(),
        );
    }
    let fits = |reason: Reason| reason.conditions().contains(&ConditionType::Reconciled);
    if stalled.0 == Verdict::True {
        return (
            Verdict::False,
            if fits(stalled.1) { stalled.1 } else { Reason::Applying },
            stalled.2.clone(),
        );
    }
    let next = plan.progress.iter().chain(&outcome.waits).find(|(reason, _)| fits(*reason));
    match next {
        _ if !outcome.errors.is_empty() => (Verdict::False, Reason::Applying, failing(outcome)),
        Some((reason, message)) => (Verdict::False, *reason, message.clone()),
        None if plan.actions.is_empty() && input.seen.probe.is_some() => fine(true, "nothing is left to do"),
        None => (Verdict::False, Reason::Applying, "steps are left to be taken".to_owned()),
    }
}

fn degraded(input: &Input<'_>, plan: &Plan) -> Said {
    let Some(store) = input.seen.store() else { return unknown(input) };
    let gone = |state: NodeState| matches!(state, NodeState::Dead | NodeState::Removed);
    let lost = store.view.nodes.iter().find(|node| !node.seen && !gone(node.state));
    let first =
        Component::ALL.into_iter().find_map(|it| match redundancy(input.seen, &plan.verdict.counts, it) {
            Redundancy::Less(why) => Some((it, why)),
            Redundancy::Full | Redundancy::Unknown => None,
        });
    match (lost, first) {
        (Some(node), Some((_, why))) => {
            let pod = input.seen.pods.values().find(|pod| pod.name == node.name);
            let trouble = pod.map(|pod| pod.trouble.as_str()).filter(|it| !it.is_empty());
            let trouble = trouble.map_or(String::new(), |it| format!(" ({it})"));
            (Verdict::True, Reason::NodeLost, format!("{} is not seen{trouble}; {why}", node.name))
        }
        (None, Some((component, why))) => {
            let reason = match component {
                Component::Index if why.contains("shards") => Reason::ShardsLoading,
                Component::Data if why.contains("tables") => Reason::TablesUnderReplicated,
                _ => Reason::NodesNotReady,
            };
            (Verdict::True, reason, why)
        }
        (_, None) => fine(false, "every role has the redundancy that was settled"),
    }
}

/// What is said of a store that does not answer.
fn unknown(input: &Input<'_>) -> Said {
    match input.seen.record.present() {
        Some(_) => (Verdict::Unknown, Reason::StoreUnreachable, unreachable(input).to_owned()),
        None => (Verdict::Unknown, Reason::Bootstrapping, "the store has not begun yet".to_owned()),
    }
}

fn replicated(input: &Input<'_>) -> Said {
    let Some(store) = input.seen.store() else { return unknown(input) };
    let shards = shards(Some(store));
    if shards.total > 0 && shards.fully_replicated == shards.total {
        return fine(true, "every index shard is complete on all its nodes");
    }
    let reason = if shards.unavailable > 0 { Reason::ShardsUnavailable } else { Reason::ShardsLoading };
    (Verdict::False, reason, format!("{} index shards are complete on all their nodes", shards.summary))
}

fn resized(input: &Input<'_>, outcome: &Outcome) -> Said {
    if let Some(stall) = outcome.stalls.iter().find(|it| it.reason == Reason::ResizeUnsupported) {
        return (Verdict::False, stall.reason, stall.message.clone());
    }
    let small = input.seen.claims.iter().filter(|((component, _), claim)| {
        let storage = crate::cluster::build::statefulset::storage(&input.cluster.spec, *component);
        storage.is_some_and(|it| claim.capacity > 0 && claim.capacity < it.size.bytes())
    });
    match small.map(|(_, claim)| claim.name.as_str()).collect::<Vec<&str>>() {
        names if names.is_empty() => fine(true, "every volume has its size"),
        names => (Verdict::False, Reason::ResizingVolumes, format!("{} grow", names.join(", "))),
    }
}

fn upgrade(plan: &Plan) -> Said {
    match &plan.choice.available {
        Some(revision) => (
            Verdict::True,
            Reason::TemplatePinned,
            format!(
                "this operator would make pods of revision {revision}; set upgrade.podTemplatePolicy to \
                 FollowOperator to have them"
            ),
        ),
        None => fine(false, "pods are as this operator makes them"),
    }
}

fn paused(input: &Input<'_>) -> Said {
    if input.cluster.spec.paused {
        (Verdict::True, Reason::PausedBySpec, "spec.paused is true; set it to false to go on".to_owned())
    } else {
        fine(false, "the operator works on this store")
    }
}
