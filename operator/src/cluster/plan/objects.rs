//! Objects that are not as they should be.

use lamina_crds::Reason;
use lamina_crds::cluster::{NetworkPolicyMode, ReclaimPolicy};
use lamina_crds::operation::Component;
use serde_json::{Value, json};

use super::{Action, Input, Plan};
use crate::cluster::build::statefulset::{self, SetOptions};
use crate::cluster::build::{budgets, hashed, network, services};
use crate::cluster::redundancy::redundancy;
use crate::cluster::seen::Owner;
use crate::cluster::{compare, template};
use crate::kinds::Kind;
use crate::names::{HASH, Key};

/// Whether objects of a deleted store of this name are still there. Nothing is done before they are gone.
pub fn waits_for_predecessor(input: &Input<'_>, plan: &mut Plan) -> bool {
    let old = |object: &crate::cluster::seen::Object| object.owner == Owner::Predecessor;
    let Some(((kind, name), _)) = input.seen.objects.iter().find(|(_, object)| old(object)) else {
        return pods_wait_for_predecessor(input, plan);
    };
    plan.waits(
        Reason::Applying,
        format!("{kind} {name} of the deleted store of this name is still being removed"),
    );
    true
}

/// A StatefulSet may be gone before its pods, which answer until they are collected, too: such a store is not taken up. (A pod
/// without one is on its way from a set that was deleted and left it to its successor.)
fn pods_wait_for_predecessor(input: &Input<'_>, plan: &mut Plan) -> bool {
    if input.seen.record.present().is_some() {
        return false;
    }
    let sets = || input.seen.objects.iter().filter(|((kind, _), _)| *kind == Kind::StatefulSet);
    let is_there = |uid: &String| sets().any(|(_, set)| set.uid == *uid);
    let left = input.seen.pods.values().find(|pod| pod.set.as_ref().is_some_and(|uid| !is_there(uid)));
    let Some(pod) = left else { return false };
    plan.waits(
        Reason::Applying,
        format!("pod {} of a deleted StatefulSet of this name is still being removed", pod.name),
    );
    true
}

/// Plans what is to be created, changed and removed.
pub fn plan(input: &Input<'_>, plan: &mut Plan) {
    let wanted = wanted(input, plan);
    for (kind, object) in &wanted {
        apply(input, plan, *kind, object);
    }
    for ((kind, name), object) in &input.seen.objects {
        // The record is for ever, and what is being deleted is on its way already.
        let ours = object.owner == Owner::Us && Kind::OWNED.contains(kind) && *name != input.key.record();
        let is_wanted = wanted.iter().any(|(of, it)| of == kind && name_of(it) == name);
        if ours && !is_wanted && !object.deleting && *kind != Kind::StatefulSet {
            plan.add(Action::Remove { kind: *kind, name: name.clone(), uid: object.uid.clone() });
        }
    }
}

/// Everything but the record, in the order in which it is made.
fn wanted(input: &Input<'_>, plan: &Plan) -> Vec<(Kind, Value)> {
    let (key, owner, spec) = (input.key, input.owner(), &input.cluster.spec);
    let mut objects = vec![
        (Kind::ServiceAccount, services::account(key, owner)),
        (Kind::Service, services::client(key, owner, spec)),
    ];
    if !plan.choice.templates.is_empty() {
        objects.push((Kind::ConfigMap, template::object(key, owner, &plan.choice.templates)));
    }
    objects.extend(Component::ALL.map(|it| (Kind::Service, services::headless(key, owner, it))));
    if spec.network.policy == NetworkPolicyMode::Managed {
        objects.push((Kind::NetworkPolicy, network::nodes(key, owner, input.operator_namespace)));
        objects.push((Kind::NetworkPolicy, network::clients(key, owner, spec)));
    }
    for component in Component::ALL {
        let replicas = plan.verdict.counts.of(component);
        if replicas > 1 {
            let full = redundancy(input.seen, &plan.verdict.counts, component).is_full();
            objects.push((Kind::Budget, budgets::budget(key, owner, component, full)));
        }
        if let Some(accepted) = plan.choice.templates.get(&component) {
            let options = SetOptions {
                replicas,
                template: accepted.labelled(),
                size: size(input, component),
                keep_volumes: grows(input, component),
            };
            objects.push((Kind::StatefulSet, statefulset::set(key, owner, spec, component, options)));
        }
    }
    objects.into_iter().map(|(kind, object)| (kind, hashed(object))).collect()
}

/// The size of new claims: that of the present StatefulSet as long as there is one, because it cannot be changed there.
fn size(input: &Input<'_>, component: Component) -> Option<String> {
    let storage = statefulset::storage(&input.cluster.spec, component)?;
    let live = input.seen.object(Kind::StatefulSet, &input.key.set(component));
    let present = live.and_then(|set| statefulset::size_of(&set.json));
    Some(present.unwrap_or(storage.size.as_str()).to_owned())
}

/// Whether the StatefulSet is about to be made anew, so that nothing may go with it.
pub fn grows(input: &Input<'_>, component: Component) -> bool {
    if input.cluster.spec.reclaim_policy == ReclaimPolicy::Retain {
        return false;
    }
    let wanted = statefulset::storage(&input.cluster.spec, component).map(|it| it.size.clone());
    let present = size(input, component).map(lamina_crds::Bytes::new);
    wanted.map(|it| it.bytes()) > present.map(|it| it.bytes())
}

fn apply(input: &Input<'_>, plan: &mut Plan, kind: Kind, object: &Value) {
    let name = name_of(object).to_owned();
    match input.seen.object(kind, &name) {
        Some(live) if live.deleting => {
            plan.waits(
                Reason::Applying,
                format!("{kind} {name} is being deleted; it is made anew when it is gone"),
            );
        }
        Some(live) if live.owner == Owner::Us && compare::has(&live.json, object) => {}
        live => {
            let uid = live.map(|it| it.uid.clone());
            let drift = live.and_then(|it| drift(&it.json, object));
            plan.waits(
                Reason::Applying,
                format!("{kind} {name} is {}", if uid.is_some() { "changed" } else { "created" }),
            );
            plan.add(Action::Apply { kind, name, uid, object: object.clone(), drift });
        }
    }
}

/// Where an object was changed by somebody else: it was applied as it is rendered now, and is otherwise.
fn drift(live: &Value, wanted: &Value) -> Option<String> {
    let hash = |of: &Value| of.pointer("/metadata/annotations").and_then(|it| it.get(HASH)).cloned();
    (hash(live).is_some() && hash(live) == hash(wanted)).then(|| compare::difference(live, wanted)).flatten()
}

fn name_of(object: &Value) -> &str {
    compare::text(object, "/metadata/name").unwrap_or_default()
}

/// The merge patch that makes a claim larger.
pub fn larger(uid: &str, size: &str) -> Value {
    json!({ "metadata": { "uid": uid }, "spec": { "resources": { "requests": { "storage": size } } } })
}

/// Where a pod's StatefulSet is expected.
pub fn set_is_there(input: &Input<'_>, key: &Key, component: Component) -> bool {
    input.seen.object(Kind::StatefulSet, &key.set(component)).is_some_and(|set| !set.deleting)
}
