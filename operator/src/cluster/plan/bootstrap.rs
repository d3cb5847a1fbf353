//! The beginning of a store, exactly once (protocols §10.1), and taking up one whose volumes were found (§10.2).
//!
//! One record, one name, one first membership; an empty volume never turns into a store by itself. The record is created, never
//! changed: who loses the race reads the winner's at the next pass.

use std::collections::BTreeSet;

use lamina_crds::Reason;
use lamina_crds::operation::Component;
use lamina_peers::admin::FirstMember;
use lamina_types::ClusterId;

use super::{Action, Input, Plan};
use crate::cluster::record::{Found, Record};
use crate::cluster::seen::Place;

/// Plans the beginning.
pub fn plan(input: &Input<'_>, plan: &mut Plan) {
    let known: BTreeSet<ClusterId> = input.seen.identities.values().filter_map(|it| it.cluster).collect();
    let record = input.seen.record.present();
    let mut stores = known.clone();
    stores.extend(record.map(|record| record.cluster));
    if stores.len() > 1 {
        return mixed(input, plan, &stores);
    }
    match (&input.seen.record, known.first()) {
        (Found::Unreadable(_), _) => {}
        (Found::Absent, Some(cluster)) => adopt(input, plan, *cluster),
        (Found::Absent, None) => begin(input, plan),
        (Found::Present(record), _) => go_on(input, plan, record),
    }
}

fn mixed(input: &Input<'_>, plan: &mut Plan, stores: &BTreeSet<ClusterId>) {
    let one = |cluster: &ClusterId| {
        let of = |(place, it): (&Place, &lamina_peers::admin::Identity)| {
            (it.cluster == Some(*cluster)).then(|| input.key.pod(place.0, place.1))
        };
        let pods: Vec<String> = input.seen.identities.iter().filter_map(of).collect();
        format!(
            "{cluster} ({})",
            if pods.is_empty() { "the bootstrap record".to_owned() } else { pods.join(", ") }
        )
    };
    let all: Vec<String> = stores.iter().map(one).collect();
    plan.stall(
        Reason::MixedVolumes,
        format!(
            "volumes of several stores are here: {}; remove those that do not belong here",
            all.join(" and ")
        ),
    );
}

/// No record, but a volume knows its store: it is taken up, and nothing is begun.
fn adopt(input: &Input<'_>, plan: &mut Plan, cluster: ClusterId) {
    match input.seen.status.as_ref().filter(|status| status.view.cluster == cluster) {
        Some(status) => {
            let record = Record::adopts(cluster, status.view.settings.clone());
            plan.waits(
                Reason::Bootstrapping,
                format!("store {cluster} was found on its volumes, and is taken up"),
            );
            plan.add(Action::CreateRecord { object: record.object(input.key, input.owner()) });
        }
        None => match unbegun(input, cluster) {
            Some(record) => {
                let why =
                    format!("store {cluster} was found half begun on its volumes; its beginning is finished");
                plan.waits(Reason::Bootstrapping, why);
                plan.add(Action::CreateRecord { object: record.object(input.key, input.owner()) });
            }
            None => plan.waits(Reason::Bootstrapping, not_together(input, cluster)),
        },
    }
}

/// The record of a store that certainly has not begun: so many of its first members answer and have never been told of it that
/// the others cannot be a majority. It holds nothing, and is begun by the record that the others have.
fn unbegun(input: &Input<'_>, cluster: ClusterId) -> Option<Record> {
    let identities = || input.seen.identities.values();
    let record = identities().filter_map(|it| it.record.as_ref()).find(|it| it.cluster == cluster)?;
    let told = record
        .members
        .iter()
        .filter(|member| !identities().any(|it| it.node == Some(member.node) && it.cluster.is_none()))
        .count();
    (told <= record.members.len() / 2).then(|| Record::of(record))
}

/// Whether it began with a majority that is lost now, or never quite began, nobody can tell from here.
fn not_together(input: &Input<'_>, cluster: ClusterId) -> String {
    let knows = |(place, it): (&Place, &lamina_peers::admin::Identity)| {
        (place.0 != Component::Index && it.cluster.is_some()).then(|| input.key.claim(place.0, place.1))
    };
    let claims: Vec<String> = input.seen.identities.iter().filter_map(knows).collect();
    format!(
        "store {cluster} was found on its volumes; its frontends have not found each other yet (it is known to {}). If that \
         lasts, bring the volumes of the other frontends back; of a store that never began, delete these claims and their pods",
        claims.join(", ")
    )
}

fn begin(input: &Input<'_>, plan: &mut Plan) {
    // Volumes may hold what does not answer yet: an empty store must never begin beside them.
    let places: Vec<Place> = plan.verdict.counts.places().collect();
    let with_volume = |place: &&Place| place.0 != Component::Index;
    let silent = places.iter().filter(with_volume).find(|place| !input.seen.identities.contains_key(place));
    if let Some(place) = silent {
        let pod = input.key.pod(place.0, place.1);
        let why = match input.seen.pods.get(place) {
            Some(pod) if pod.trouble.is_empty() => String::new(),
            Some(pod) => format!(" ({})", pod.trouble),
            None => {
                format!(" (there is no such pod: see the events of StatefulSet {})", input.key.set(place.0))
            }
        };
        plan.waits(
            Reason::Bootstrapping,
            format!("the store begins when all nodes answer; {pod} does not yet{why}"),
        );
        return;
    }
    // One that is on its way out must not take part: nobody would take it off the list of nodes again.
    if let Some(pod) = input.seen.pods.iter().find(|(place, _)| !places.contains(place)).map(|(_, pod)| pod) {
        plan.waits(
            Reason::Bootstrapping,
            format!("the store begins when {}, one too many, is gone", pod.name),
        );
        return;
    }
    let frontends = places.iter().filter(|place| place.0 == Component::Frontend);
    let members = frontends.filter_map(|place| {
        let node = input.seen.identities.get(place)?.node?;
        Some(FirstMember { node, address: input.key.address(place.0, place.1) })
    });
    let members: Vec<FirstMember> = members.collect();
    if members.len() < plan.verdict.counts.frontend as usize {
        plan.waits(Reason::Bootstrapping, "frontends answer without saying who they are");
        return;
    }
    let record = Record::begins(input.fresh, members, input.cluster.spec.shape().settings);
    plan.waits(Reason::Bootstrapping, "all nodes answer: the store begins");
    plan.add(Action::CreateRecord { object: record.object(input.key, input.owner()) });
}

/// There is a record: whoever it lists and has no store yet is told.
fn go_on(input: &Input<'_>, plan: &mut Plan, record: &Record) {
    let frontends = (0..plan.verdict.counts.frontend).map(|n| (Component::Frontend, n));
    let there: Vec<(Place, &lamina_peers::admin::Identity)> =
        frontends.clone().filter_map(|place| Some((place, input.seen.identities.get(&place)?))).collect();
    let all_answer = there.len() == plan.verdict.counts.frontend as usize;
    let mut lost = Vec::new();
    for member in &record.members {
        let Some((place, identity)) = there.iter().find(|(_, it)| it.node == Some(member.node)) else {
            lost.push(member.address.clone());
            continue;
        };
        let registered = input.seen.store().is_some_and(|status| {
            status
                .view
                .node(member.node)
                .is_some_and(|node| node.incarnation != lamina_types::Incarnation::ZERO)
        });
        if identity.cluster.is_none() && !registered {
            plan.waits(
                Reason::Bootstrapping,
                format!("{} becomes a first member", input.key.pod(place.0, place.1)),
            );
            plan.add(Action::Bootstrap {
                place: *place,
                address: input.key.address(place.0, place.1),
                node: member.node,
                record: record.bootstrap(),
            });
        }
    }
    // What data nodes remember does not bring a group back.
    let knows = |place: &Place| there.iter().any(|(at, it)| at == place && it.cluster.is_some());
    let known = frontends.clone().filter(knows).count();
    let told = plan.actions.iter().filter(|action| matches!(action, Action::Bootstrap { .. })).count();
    // The meta group of a store that is to last has three members, and needs two of them.
    let too_few = usize::from(plan.verdict.counts.frontend > 1);
    if !all_answer {
        if known == 0 {
            plan.waits(Reason::Bootstrapping, "waiting until all frontends answer");
        }
    } else if known == 0 && (record.adopted || !lost.is_empty()) {
        volumes_lost(input, plan, record, "no frontend's volume knows it", &lost);
    } else if input.seen.store().is_none() && known > 0 && known + told <= too_few {
        volumes_lost(input, plan, record, "only one frontend's volume knows it", &lost);
    }
}

/// Too few remember the store, and nobody may begin it again under its old name.
fn volumes_lost(input: &Input<'_>, plan: &mut Plan, record: &Record, why: &str, lost: &[String]) {
    plan.actions.retain(|action| !matches!(action, Action::Bootstrap { .. }));
    let lost =
        if lost.is_empty() { String::new() } else { format!(" (first members lost: {})", lost.join(", ")) };
    plan.stall(
        Reason::VolumesLost,
        format!(
            "store {} has begun, and {why}{lost}; bring the volumes back, or begin an empty store: delete ConfigMap {} and all \
             volumes of this store",
            record.cluster,
            input.key.record()
        ),
    );
}
