use lamina_crds::operation::Component;
use lamina_peers::admin::{Identity, Status};
use lamina_peers::view::{ClusterView, NodeState, NodeView};
use lamina_types::{Epoch, Incarnation, Level, NodeId, Settings};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::cluster::record::{Found, Record};
use crate::cluster::seen::{Claim, Object, Owner, Place, Pod};
use crate::names::role;

const STORE: ClusterId = ClusterId(77);
const NOW: i64 = 1_800_000_000;

fn key() -> Key {
    Key { namespace: "shop".into(), name: "orders".into() }
}

fn cluster(spec: serde_json::Value) -> StorageCluster {
    let mut cluster = StorageCluster::new("orders", serde_json::from_value(spec).unwrap());
    cluster.metadata.uid = Some("owner".into());
    cluster
}

fn planned(cluster: &StorageCluster, seen: &Seen) -> Plan {
    plan(&Input {
        key: &key(),
        cluster,
        seen,
        images: &Images { image: "lamina:0.1.0".into(), ..Images::default() },
        operator_namespace: "ops",
        now: NOW,
        fresh: STORE,
    })
}

fn node_id(place: Place) -> NodeId {
    NodeId((u128::from(place.1) + 1) << 90 | place.0 as u128)
}

fn places() -> Vec<Place> {
    Component::ALL.into_iter().flat_map(|it| (0..3).map(move |n| (it, n))).collect()
}

fn view() -> ClusterView {
    let nodes = places().into_iter().map(|place| NodeView {
        node: node_id(place),
        role: role(place.0),
        name: key().pod(place.0, place.1),
        address: key().address(place.0, place.1),
        incarnation: Incarnation(1),
        state: NodeState::Active,
        state_epoch: Epoch::ZERO,
        zone: String::new(),
        seen: true,
    });
    ClusterView {
        cluster: STORE,
        epoch: Epoch(1),
        level: Level::FIRST,
        settings: Settings::default(),
        nodes: nodes.collect(),
        groups: Vec::new(),
        shards: Vec::new(),
        tablets: Vec::new(),
    }
}

/// A store for which nothing is left to do.
fn converged(cluster: &StorageCluster) -> Seen {
    let mut seen = Seen {
        record: Found::Present(Record::adopts(STORE, Settings::default())),
        status: Some(Status { view: view(), nodes: Vec::new(), groups: Vec::new(), grant: None }),
        probe: Some(Ok(())),
        ..Seen::default()
    };
    for place in places() {
        let name = key().pod(place.0, place.1);
        let identity = Identity {
            node: Some(node_id(place)),
            cluster: Some(STORE),
            role: role(place.0),
            name: name.clone(),
            ready: true,
            version: "0.1.0".into(),
            record: None,
        };
        seen.identities.insert(place, identity);
        let pod = Pod {
            uid: format!("{name}-uid"),
            name,
            created: NOW - 1000,
            ready: true,
            running: true,
            ..Pod::default()
        };
        seen.pods.insert(place, pod);
        if place.0 != Component::Index {
            let name = key().claim(place.0, place.1);
            let uid = format!("{name}-uid");
            let size = 10 << 30;
            seen.claims.insert(
                place,
                Claim { name, uid, created: NOW - 1000, requested: size, capacity: size, ..Claim::default() },
            );
        }
    }
    let plan = planned(cluster, &seen);
    for (component, accepted) in &plan.choice.templates {
        for (place, pod) in &mut seen.pods {
            if place.0 == *component {
                pod.revision.clone_from(&accepted.revision);
            }
        }
    }
    seen.templates = plan.choice.templates.clone();
    apply(&mut seen, &plan);
    seen
}

/// What the API server would have after the plan's objects were applied.
fn apply(seen: &mut Seen, plan: &Plan) {
    for action in &plan.actions {
        if let Action::Apply { kind, name, object, .. } = action {
            let object = Object {
                uid: format!("{name}-{kind}"),
                owner: Owner::Us,
                deleting: false,
                json: object.clone(),
            };
            seen.objects.insert((*kind, name.clone()), object);
        }
    }
}

fn evicted(plan: &Plan) -> Vec<&str> {
    let mut names = Vec::new();
    for action in &plan.actions {
        if let Action::Evict { name, .. } = action {
            names.push(name.as_str());
        }
    }
    names
}

#[test]
fn a_store_that_is_as_it_should_be_has_an_empty_plan() {
    let cluster = cluster(json!({}));
    let seen = converged(&cluster);
    let plan = planned(&cluster, &seen);
    assert!(plan.actions.is_empty() && plan.stalls.is_empty() && plan.progress.is_empty(), "{plan:#?}");
}

#[test]
fn an_empty_store_begins_only_when_every_node_with_a_volume_answers_without_one() {
    let cluster = cluster(json!({}));
    let mut seen = converged(&cluster);
    seen.record = Found::Absent;
    seen.status = None;
    for identity in seen.identities.values_mut() {
        identity.cluster = None;
    }
    let begins = |seen: &Seen| {
        planned(&cluster, seen).actions.iter().any(|it| matches!(it, Action::CreateRecord { .. }))
    };
    assert!(begins(&seen));
    for place in places().into_iter().filter(|it| it.0 != Component::Index) {
        let mut silent = seen.clone();
        silent.identities.remove(&place);
        assert!(!begins(&silent), "{place:?}");
        let mut known = seen.clone();
        known.identities.get_mut(&place).unwrap().cluster = Some(ClusterId(5));
        assert!(!begins(&known), "{place:?}");
    }
}

#[test]
fn two_stores_on_the_volumes_stall_and_nothing_is_bootstrapped() {
    let cluster = cluster(json!({}));
    let mut seen = converged(&cluster);
    seen.identities.get_mut(&(Component::Data, 1)).unwrap().cluster = Some(ClusterId(5));
    let plan = planned(&cluster, &seen);
    assert_eq!(plan.stalls[0].reason, Reason::MixedVolumes);
    assert!(plan.stalls[0].message.contains("orders-data-1"), "{}", plan.stalls[0].message);
    assert!(plan.actions.is_empty());
}

#[test]
fn the_next_pod_waits_until_the_last_one_is_back_and_for_no_pod_of_another_role() {
    let cluster = cluster(json!({}));
    let mut seen = converged(&cluster);
    for n in 0..2 {
        seen.pods.get_mut(&(Component::Index, n)).unwrap().revision = "old".into();
    }
    assert_eq!(evicted(&planned(&cluster, &seen)), ["orders-index-1"]);
    seen.pods.get_mut(&(Component::Data, 0)).unwrap().ready = false;
    assert_eq!(evicted(&planned(&cluster, &seen)), ["orders-index-1"]);
    seen.pods.get_mut(&(Component::Index, 2)).unwrap().ready = false;
    let plan = planned(&cluster, &seen);
    assert_eq!(evicted(&plan), Vec::<&str>::new());
    assert!(
        plan.progress.iter().any(|(_, why)| why.contains("orders-index-2 is not ready")),
        "{:?}",
        plan.progress
    );
}

#[test]
fn a_pod_whose_volume_is_being_deleted_is_not_stopped() {
    let cluster = cluster(json!({}));
    let mut seen = converged(&cluster);
    seen.pods.get_mut(&(Component::Data, 2)).unwrap().revision = "old".into();
    seen.claims.get_mut(&(Component::Data, 2)).unwrap().deleting = true;
    assert!(planned(&cluster, &seen).actions.is_empty());
}

/// Something that may be otherwise than it should be.
#[derive(Clone, Copy, Debug)]
enum Change {
    Outdated,
    NotReady,
    Stopped,
    Deleting,
    Missing,
    Silent,
    Dead,
    Unseen,
    Small,
    ClaimDeleting,
    Marked,
    MarkedByNobody,
    NoStatus,
    NoRecord,
    GrantOfThis,
    GrantOfAnother,
    NoSet,
}

const CHANGES: [Change; 17] = [
    Change::Outdated,
    Change::NotReady,
    Change::Stopped,
    Change::Deleting,
    Change::Missing,
    Change::Silent,
    Change::Dead,
    Change::Unseen,
    Change::Small,
    Change::ClaimDeleting,
    Change::Marked,
    Change::MarkedByNobody,
    Change::NoStatus,
    Change::NoRecord,
    Change::GrantOfThis,
    Change::GrantOfAnother,
    Change::NoSet,
];

fn change(seen: &mut Seen, place: Place, change: Change) {
    let pod = seen.pods.get_mut(&place);
    let claim = seen.claims.get_mut(&place);
    let node =
        seen.status.as_mut().and_then(|it| it.view.nodes.iter_mut().find(|it| it.node == node_id(place)));
    match change {
        Change::Outdated => pod.into_iter().for_each(|it| it.revision = "old".into()),
        Change::NotReady => pod.into_iter().for_each(|it| it.ready = false),
        Change::Stopped => pod.into_iter().for_each(|it| (it.ready, it.running) = (false, false)),
        Change::Deleting => pod.into_iter().for_each(|it| it.deleting = true),
        Change::Missing => drop(seen.pods.remove(&place)),
        Change::Silent => drop(seen.identities.remove(&place)),
        Change::Dead => node.into_iter().for_each(|it| (it.state, it.seen) = (NodeState::Dead, false)),
        Change::Unseen => node.into_iter().for_each(|it| it.seen = false),
        Change::Small => claim.into_iter().for_each(|it| it.requested = 1 << 30),
        Change::ClaimDeleting => claim.into_iter().for_each(|it| it.deleting = true),
        Change::Marked => claim.into_iter().for_each(|it| it.gives_up = Some(vec![node_id(place)])),
        Change::MarkedByNobody => claim.into_iter().for_each(|it| it.gives_up = Some(Vec::new())),
        Change::NoStatus => seen.status = None,
        Change::NoRecord => seen.record = Found::Absent,
        Change::GrantOfThis | Change::GrantOfAnother => {
            let uid = match change {
                Change::GrantOfThis => pod.map(|it| it.uid.clone()).unwrap_or_default(),
                _ => "gone".to_owned(),
            };
            if let Some(status) = &mut seen.status {
                status.grant = Some((action::grant_of(&uid), node_id(place)));
            }
        }
        Change::NoSet => drop(seen.objects.remove(&(crate::kinds::Kind::StatefulSet, key().set(place.0)))),
    }
}

fn some_change() -> impl Strategy<Value = (Place, Change)> {
    (0..9usize, 0..CHANGES.len()).prop_map(|(place, change)| (places()[place], CHANGES[change]))
}

fn some_spec() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({ "image": { "tag": "other" } })),
        Just(json!({ "paused": true })),
        Just(json!({ "index": { "replicas": 5 } })),
        Just(json!({ "data": { "storage": { "size": "50Gi" } } })),
        Just(json!({ "version": "3.0.0" })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_plan_is_in_order_disrupts_once_and_destroys_only_what_says_whose_it_is(
        spec in some_spec(),
        changes in prop::collection::vec(some_change(), 0..8),
    ) {
        let mut seen = converged(&cluster(json!({})));
        for (place, it) in &changes {
            change(&mut seen, *place, *it);
        }
        let wanted = cluster(spec);
        let plan = planned(&wanted, &seen);
        let ranks: Vec<_> = plan.actions.iter().map(Action::rank).collect();
        prop_assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", ranks);
        let disrupts = plan.actions.iter().filter(|it| it.class() == Class::Disrupt).count();
        prop_assert!(disrupts <= 1);
        for action in &plan.actions {
            match action {
                Action::GiveUp { uid, .. } => {
                    let claim = seen.claims.values().find(|it| it.uid == *uid).unwrap();
                    prop_assert!(claim.gives_up.is_some() && !claim.deleting);
                    prop_assert!(seen.store().is_some());
                }
                Action::Evict { name, uid, node, .. } => {
                    let (place, pod) = seen.pods.iter().find(|(_, it)| it.uid == *uid).unwrap();
                    prop_assert_eq!(&pod.name, name);
                    prop_assert!(seen.store().is_some() && !pod.deleting);
                    prop_assert_eq!(*node, node_id(*place));
                    let others: Vec<_> = seen.pods_of(place.0).filter(|(n, _)| *n != place.1).collect();
                    prop_assert!(others.iter().all(|(_, it)| it.ready && !it.deleting) && others.len() == 2);
                }
                Action::DeletePod { uid, .. } => {
                    let (place, pod) = seen.pods.iter().find(|(_, it)| it.uid == *uid).unwrap();
                    let given_up = seen.claims.get(place).is_some_and(|it| it.deleting && it.gives_up.is_some());
                    prop_assert!(!pod.ready || given_up);
                }
                _ => {}
            }
        }
        if wanted.spec.paused {
            prop_assert!(plan.actions.is_empty());
        }
        prop_assert_eq!(planned(&wanted, &seen).actions, plan.actions);
    }
}
