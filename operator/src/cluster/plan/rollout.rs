//! Pods that are replaced, one after the other: because their template changed, or because somebody asked for a restart.
//!
//! Data nodes first, frontends last; in each role the highest ordinal first. A pod that does not run anyway is replaced at once,
//! whatever the state of the store: so a bad template is never stuck. One that runs is stopped when the store grants it.

use lamina_crds::Reason;
use lamina_crds::operation::Component;

use super::nodes::node_at;
use super::{Action, Input, Plan, asked, objects};
use crate::cluster::seen::{Place, Pod};
use crate::kinds::Kind;

/// So long a pod that runs may be loading, where no store can be asked.
const LOADS_SECONDS: i64 = 600;

/// A pod that is to be replaced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The pod.
    pub place: Place,
    /// Its template is not the accepted one.
    pub outdated: bool,
}

/// All pods that are to be replaced, in order.
pub fn targets(input: &Input<'_>, plan: &Plan) -> Vec<Target> {
    let mut targets = Vec::new();
    for component in Component::ALL {
        let Some(accepted) = plan.choice.templates.get(&component) else { continue };
        let count = plan.verdict.counts.of(component);
        let mut pods: Vec<(u32, &Pod)> = input.seen.pods_of(component).filter(|(n, _)| *n < count).collect();
        pods.reverse();
        for (ordinal, pod) in pods {
            let outdated = pod.revision != accepted.revision;
            if outdated || asked::restarts(input, component, pod) {
                targets.push(Target { place: (component, ordinal), outdated });
            }
        }
    }
    targets
}

/// The pod that is to be stopped next, if any: the first that runs.
pub fn next(input: &Input<'_>, plan: &Plan) -> Option<Target> {
    let mut running = targets(input, plan);
    running.retain(|target| !serves_nobody(input, target));
    first(input, &running).cloned()
}

/// The first of all, but those that are outdated and not ready before the others: their new template may mend them, and nobody else
/// is stopped before.
fn first<'a>(input: &Input<'_>, targets: &'a [Target]) -> Option<&'a Target> {
    let ready = |it: &Target| input.seen.pods.get(&it.place).is_none_or(|pod| pod.ready);
    targets.iter().find(|it| it.outdated && !ready(it)).or_else(|| targets.first())
}

/// Plans the next replacement.
pub fn plan(input: &Input<'_>, plan: &mut Plan) {
    let (bad, targets): (Vec<_>, Vec<_>) =
        targets(input, plan).into_iter().partition(|target| serves_nobody(input, target));
    // Pods of a template that is not accepted yet in the cluster: the StatefulSet has to make them by the new one.
    // One that somebody else has changed is set back before, and has that template. One that is made anew makes no pods meanwhile.
    let stale = |it: &Action| match it {
        Action::Apply { kind: Kind::StatefulSet, drift, .. } => drift.is_none(),
        Action::RecreateSet { .. } => true,
        _ => false,
    };
    if plan.actions.iter().any(stale) {
        return;
    }
    bad.iter().for_each(|target| replace_at_once(input, plan, target));
    let Some(target) = first(input, &targets) else { return };
    let pod = input.key.pod(target.place.0, target.place.1);
    let reason = if target.outdated { Reason::Rolling } else { Reason::Restarting };
    let left = targets.len();
    plan.waits(
        reason,
        format!("{left} {} to replace; next is {pod}", if left == 1 { "pod is" } else { "pods are" }),
    );
    if let Some(why) = hindrance(input, plan, target) {
        plan.waits(Reason::WaitingForGrant, why);
        return;
    }
    let (Some(status), Some(seen)) = (input.seen.store(), input.seen.pods.get(&target.place)) else { return };
    match node_at(input, status, target.place) {
        Some(node) => plan.add(Action::Evict {
            name: pod,
            uid: seen.uid.clone(),
            node: node.node,
            ready: seen.ready,
            why: if target.outdated { "its template changed" } else { "a restart was asked for" }.to_owned(),
        }),
        None => plan.waits(Reason::WaitingForGrant, format!("the store does not know {pod} yet")),
    }
}

/// Whether a pod is outdated and serves nobody, so that it can be replaced without asking.
fn serves_nobody(input: &Input<'_>, target: &Target) -> bool {
    let Some(pod) = input.seen.pods.get(&target.place) else { return false };
    let begun = input.seen.record.present().is_some();
    let serves = match input.seen.store() {
        _ if pod.ready => true,
        Some(status) => pod.running && node_at(input, status, target.place).is_some_and(|node| node.seen),
        // Nobody can tell: it may be loading what the others wait for.
        None => pod.running && begun && input.now - pod.created < LOADS_SECONDS,
    };
    target.outdated && !serves && !pod.deleting && !claim_goes(input, target.place)
}

fn replace_at_once(input: &Input<'_>, plan: &mut Plan, target: &Target) {
    let Some(pod) = input.seen.pods.get(&target.place) else { return };
    let trouble = if pod.trouble.is_empty() { "it is not ready" } else { pod.trouble.as_str() };
    let why = format!("it has an older template and does not serve: {trouble}");
    plan.waits(Reason::ReplacingBadPod, format!("{} is replaced: {why}", pod.name));
    plan.add(Action::DeletePod { name: pod.name.clone(), uid: pod.uid.clone(), force: false, why });
}

/// Why a pod that runs is not stopped now, as far as that can be said without asking the store.
fn hindrance(input: &Input<'_>, plan: &Plan, target: &Target) -> Option<String> {
    let component = target.place.0;
    if input.seen.store().is_none() {
        return Some("no frontend answers, and without the store's word no pod is stopped".to_owned());
    }
    if !objects::set_is_there(input, input.key, component) {
        return Some(format!(
            "StatefulSet {} is not there, which would make the pod anew",
            input.key.set(component)
        ));
    }
    if claim_goes(input, target.place) {
        let claim = input.key.claim(component, target.place.1);
        return Some(format!("volume {claim} is being deleted and would go with its pod"));
    }
    let limps_at = |place: Place| {
        let revision = plan.choice.templates.get(&component).map(|it| it.revision.as_str());
        let limping = |pod: &Pod| !pod.ready && Some(pod.revision.as_str()) != revision;
        input.seen.pods.get(&place).is_some_and(limping)
    };
    let limps = |target: &Target| limps_at(target.place);
    // Of one role, one at a time: also where the store itself would not mind, as in development.
    for ordinal in 0..plan.verdict.counts.of(component) {
        let place = (component, ordinal);
        let name = input.key.pod(component, ordinal);
        match input.seen.pods.get(&place) {
            None => {
                let set = input.key.set(component);
                return Some(format!("{name} is not there; see the events of StatefulSet {set}"));
            }
            Some(pod) if pod.deleting => return Some(format!("{name} is stopping")),
            // Those that are not ready and outdated, too, have their turn next.
            Some(pod) if !pod.ready && place != target.place && !(limps(target) && limps_at(place)) => {
                let trouble =
                    if pod.trouble.is_empty() { String::new() } else { format!(" ({})", pod.trouble) };
                return Some(format!("{name} is not ready{trouble}"));
            }
            Some(_) => {}
        }
    }
    None
}

fn claim_goes(input: &Input<'_>, place: Place) -> bool {
    input.seen.claims.get(&place).is_some_and(|claim| claim.deleting || claim.gives_up.is_some())
}
