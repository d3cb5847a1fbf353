//! Deciding and applying comes to an end, and then is silent.

use std::collections::BTreeSet;

use lamina_peers::admin::{Heartbeat, LedGroup};
use lamina_types::ShardId;
use proptest::prelude::*;

use super::random::{lived, raws};
use super::*;

/// A world in which every node that is not lost does what the view tells it, at once.
fn world(state: &MetaState, now_ms: u64) -> Observer {
    let mut observer = Observer::new(0);
    for (id, record) in state.nodes() {
        if record.is_lost() || record.incarnation == Incarnation::ZERO {
            continue;
        }
        let complete = |(_, shard): &(ShardId, &state::ShardRecord)| shard.nodes().contains(id);
        let leads = state.groups().iter().filter_map(|(group, g)| {
            let alive = |node: &NodeId| state.node(*node).is_some_and(|n| !n.is_lost());
            let leader = g.staying().map(|(_, node)| node).find(alive)?;
            (leader == *id).then(|| LedGroup {
                group: *group,
                term: 1000 + u64::from(group.0),
                voters: g.staying().map(|(replica, _)| replica).collect(),
                ranges: vec![KeyRange::prefix(vec![group.0 as u8])],
                bans: vec![],
                shut_out: vec![],
            })
        });
        let beat = Heartbeat {
            node: *id,
            incarnation: record.incarnation,
            epoch: state.epoch(),
            complete: (0..)
                .map(ShardId)
                .zip(state.shards())
                .filter(complete)
                .map(|(shard, _)| shard)
                .collect(),
            leads: leads.collect(),
            replicas: vec![],
        };
        observer.heartbeat(beat, now_ms);
    }
    observer
}

/// Decides and applies until nothing is left to do; the number of passes.
fn settle(store: &mut Store) -> usize {
    for pass in 0..60 {
        let observed = world(store.state(), 1000).observed(1500);
        let steps = decide(store.state(), &observed);
        if steps.is_empty() {
            return pass;
        }
        for step in steps {
            store.propose(step);
        }
    }
    let observed = world(store.state(), 1000).observed(1500);
    panic!("no end: {:?}", decide(store.state(), &observed));
}

fn check_settled(state: &MetaState) {
    let settings = state.settings().unwrap();
    for (id, node) in state.nodes() {
        let stuck = node.state == NodeState::Joining && node.incarnation > Incarnation::ZERO;
        assert!(!stuck, "node {id} answers and is joining still");
        assert!(node.is_lost() || node.incarnation == Incarnation::ZERO || node.seen);
    }
    let frontends: BTreeSet<NodeId> = state.usable(Role::Frontend).map(|(id, _)| id).collect();
    if frontends.len() >= settings.frontends as usize {
        assert!(state.groups().len() > settings.groups as usize, "the data groups are there");
    }
    for (id, group) in state.groups() {
        let spare = frontends.iter().any(|node| !group.names(*node));
        let lost = group.staying().any(|(_, node)| state.nodes()[&node].is_lost());
        assert!(!(lost && spare), "group {id} has a lost replica and somebody who could replace it");
        let led = group.staying().any(|(_, node)| {
            let node = &state.nodes()[&node];
            !node.is_lost() && node.incarnation > Incarnation::ZERO
        });
        let leaving = group.replicas.values().any(|replica| replica.leaving.is_some());
        assert!(!(led && leaving && group.leader.is_some()) || first_leader_is_mute(state, group));
    }
    let index: Vec<NodeId> = state.usable(Role::Index).map(|(id, _)| id).collect();
    assert!(index.len() < settings.index_nodes as usize || !state.shards().is_empty(), "shards are assigned");
    for shard in state.shards() {
        for replica in &shard.replicas {
            let lost = state.nodes()[&replica.node].is_lost();
            assert!(lost || replica.complete, "who loaded is complete");
            assert!(
                !lost || index.iter().all(|node| shard.nodes().contains(node)),
                "and the lost are replaced"
            );
        }
    }
}

/// The world lets the first living replica lead; a first member that never registered sends no heartbeats.
fn first_leader_is_mute(state: &MetaState, group: &state::GroupRecord) -> bool {
    let first = group.staying().map(|(_, node)| &state.nodes()[&node]).find(|node| !node.is_lost());
    first.is_none_or(|node| node.incarnation == Incarnation::ZERO)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn from_any_state_it_settles_and_then_is_silent(raws in raws(100)) {
        let mut store = lived(&raws, false);
        if store.state().founded().is_none() {
            return Ok(());
        }
        settle(&mut store);
        check_settled(store.state());
        let observed = world(store.state(), 500_000).observed(500_000);
        prop_assert_eq!(decide(store.state(), &observed), vec![], "no flapping");
    }
}

#[test]
fn an_empty_world_grows_into_a_whole_store() {
    let mut store = Store::default();
    store.begin();
    let bootstrap = Some(found(3, small()));
    let steps = decide(store.state(), &Observed { bootstrap, ..Observed::default() });
    assert_eq!(steps.len(), 1);
    store.propose(steps[0].clone());
    assert_eq!(settle(&mut store), 0, "nobody has registered");
    for n in [1, 2, 11, 12, 21] {
        store.register(n, 1, 1);
    }
    settle(&mut store);
    assert_eq!(
        (store.state().groups().len(), store.state().shards().len()),
        (1, 0),
        "it waits for the third"
    );
    store.register(3, 1, 1);
    store.register(13, 1, 1);
    settle(&mut store);
    assert_eq!((store.state().groups().len(), store.state().shards().len()), (2, 4));
    check_settled(store.state());
}

#[test]
fn a_lost_frontend_makes_way_for_its_replacement_and_is_forgotten() {
    let mut store = Store::whole();
    settle(&mut store);
    let epoch = store.kill(2);
    settle(&mut store);
    assert_eq!(store.replicas(1).len(), 3, "nobody could replace it yet");
    store.register(4, 1, 1);
    settle(&mut store);
    for group in [0, 1] {
        let nodes: BTreeSet<u128> = store.replicas(group).iter().map(|(_, node, _)| *node).collect();
        assert_eq!(nodes, BTreeSet::from([1, 3, 4]));
    }
    assert_eq!(store.node_state(2), NodeState::Dead, "it may come back");
    store.propose(Change::ReleaseVolume { node: node(2), epoch });
    settle(&mut store);
    assert_eq!(store.node_state(2), NodeState::Removed);
}

#[test]
fn a_replica_is_not_dropped_before_its_leader_knows_and_votes_without_it() {
    let mut store = Store::whole();
    settle(&mut store);
    store.kill(2);
    store.register(4, 1, 1);
    store.activate(4);
    let before = world(store.state(), 1000);
    for change in decide(store.state(), &before.observed(1500)) {
        store.propose(change);
    }
    let drops = |store: &Store, observed: &Observed| {
        let steps = decide(store.state(), observed);
        steps.iter().filter(|step| matches!(step, Change::DropReplica { .. })).count()
    };
    assert_eq!(drops(&store, &before.observed(1500)), 0, "it votes still");
    let mut unaware = before.observed(1500);
    for (group, said) in &mut unaware.groups {
        let staying = |replica: &lamina_types::ReplicaId| {
            store.state().groups()[group].replicas[replica].leaving.is_none()
        };
        said.voters.retain(staying);
    }
    assert_eq!(
        drops(&store, &unaware),
        0,
        "its leader does not know yet that it leaves, and may take it in again"
    );
    let mut joint = world(store.state(), 1000).observed(1500);
    joint.groups.values_mut().for_each(|said| said.voters.clear());
    assert_eq!(drops(&store, &joint), 0, "the change is under way");
    assert_eq!(drops(&store, &world(store.state(), 1000).observed(1500)), 2);
}

#[test]
fn a_lost_index_node_gives_its_shards_to_a_new_one() {
    let mut store = Store::whole();
    settle(&mut store);
    store.register(14, 0, 1);
    settle(&mut store);
    store.kill(12);
    settle(&mut store);
    let nodes: BTreeSet<u128> =
        store.state().shards().iter().flat_map(|shard| shard.nodes()).map(|node| node.0).collect();
    assert!(!nodes.contains(&12) && nodes.contains(&14), "{nodes:?}");
    check_settled(store.state());
}

#[test]
fn silence_is_noticed_but_not_by_a_leader_who_has_just_begun() {
    let mut store = Store::whole();
    settle(&mut store);
    let fresh = Observer::new(100_000);
    assert_eq!(decide(store.state(), &fresh.observed(109_999)), []);
    assert_eq!(
        fresh.unseen_ms(node(1), 110_000),
        10_000,
        "it cannot know of more silence than it has listened"
    );
    let mut one_silent = world(store.state(), 100_000);
    one_silent.heartbeat(
        Heartbeat {
            node: node(21),
            incarnation: Incarnation(1),
            epoch: store.state().epoch(),
            complete: vec![],
            leads: vec![],
            replicas: vec![],
        },
        80_000,
    );
    let steps = decide(store.state(), &one_silent.observed(100_000));
    assert_eq!(steps, [Change::SetSeen { node: node(21), incarnation: Incarnation(1), seen: false }]);
    store.propose(steps[0].clone());
    assert_eq!(decide(store.state(), &one_silent.observed(100_000)), []);
    assert!(!store.group.view().unwrap().node(node(21)).unwrap().seen);
    settle(&mut store);
    assert!(store.group.view().unwrap().node(node(21)).unwrap().seen);
}

#[test]
fn an_older_leader_of_a_group_is_not_believed() {
    let mut store = Store::whole();
    settle(&mut store);
    let mut observer = world(store.state(), 1000);
    let claim = |n: u128, term| Heartbeat {
        node: node(n),
        incarnation: Incarnation(1),
        epoch: store.state().epoch(),
        complete: vec![],
        leads: vec![LedGroup {
            group: GroupId(1),
            term,
            voters: vec![],
            ranges: vec![],
            bans: vec![],
            shut_out: vec![],
        }],
        replicas: vec![],
    };
    observer.heartbeat(claim(2, 900), 1000);
    assert_eq!(observer.observed(1000).groups[&GroupId(1)].leader, node(1));
    observer.heartbeat(claim(3, 2000), 1000);
    assert_eq!(observer.observed(1000).groups[&GroupId(1)].leader, node(3));
}
