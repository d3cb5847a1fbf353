//! Growth of volumes: first every claim, then the StatefulSet is made anew, its pods left alone, so that later claims have the new
//! size. Each step is derived from the sizes that are there.

use lamina_crds::Reason;
use lamina_crds::operation::Component;

use super::{Action, Input, Plan, objects};
use crate::cluster::build::statefulset;
use crate::kinds::Kind;

/// Plans growth.
pub fn plan(input: &Input<'_>, plan: &mut Plan) {
    for component in Component::ALL {
        let Some(storage) = statefulset::storage(&input.cluster.spec, component) else { continue };
        let wanted = storage.size.bytes();
        let mut all_asked = true;
        for ((_, _), claim) in input.seen.claims.iter().filter(|((of, _), _)| *of == component) {
            if claim.requested < wanted && !claim.deleting {
                all_asked = false;
                plan.waits(
                    Reason::ResizingVolumes,
                    format!("volume {} grows to {}", claim.name, storage.size),
                );
                plan.add(Action::GrowClaim {
                    name: claim.name.clone(),
                    uid: claim.uid.clone(),
                    size: storage.size.as_str().to_owned(),
                });
            }
        }
        if all_asked {
            make_anew(input, plan, component, wanted);
        }
    }
}

fn make_anew(input: &Input<'_>, plan: &mut Plan, component: Component, wanted: u64) {
    let name = input.key.set(component);
    let Some(set) = input.seen.object(Kind::StatefulSet, &name).filter(|set| !set.deleting) else { return };
    let present = statefulset::size_of(&set.json).map(|size| lamina_crds::Bytes::new(size).bytes());
    if present.is_none_or(|present| present >= wanted) {
        return;
    }
    plan.waits(Reason::ResizingVolumes, format!("StatefulSet {name} is made anew for larger volumes"));
    // Claims that belong to the StatefulSet could go with it. They are let go first.
    let owned = input.seen.claims.iter().any(|((of, _), claim)| *of == component && claim.owned);
    let keeps = !objects::grows(input, component) || retains(&set.json);
    if !owned && keeps {
        plan.add(Action::RecreateSet { component, name, uid: set.uid.clone() });
    }
}

fn retains(set: &serde_json::Value) -> bool {
    let pointer = "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted";
    crate::cluster::compare::text(set, pointer).is_none_or(|policy| policy == "Retain")
}
