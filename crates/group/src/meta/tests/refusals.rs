//! Every entry that is refused has no effect, and says why.

use lamina_types::{Reason, Reign, ReplicaId, ShardId};

use super::*;
use crate::meta::entry::{GrantEnd, ShardReplacement};

#[test]
fn entries_of_another_reign_have_no_effect() {
    let mut store = Store::whole();
    let old = store.state().reign();
    store.begin();
    let before = store.state().clone();
    let zone = Change::SetZone { node: node(1), zone: "z".to_owned() };
    let outcome = store.append(zone.in_reign(old));
    assert_eq!(outcome, Outcome::Refused(Refusal::StaleReign { present: store.state().reign() }));
    assert_eq!(MetaState { applied: before.applied, ..store.state().clone() }, before);
    let future = Change::SetZone { node: node(1), zone: "z".to_owned() }.in_reign(Reign(99));
    assert!(matches!(store.append(future), Outcome::Refused(Refusal::StaleReign { .. })));
}

#[test]
fn a_store_is_founded_once_and_by_one_record() {
    let mut store = Store::default();
    store.begin();
    assert_eq!(store.refused(Change::Register(registration(1, 1, 1))), Refusal::NotFounded);
    for bad in [
        found(0, small()),
        found(3, Settings { frontend_replication: 2, ..small() }),
        found(3, Settings { data_replication: 4, ..small() }),
        found(3, Settings { index_replication: 1, ..small() }),
        found(3, Settings { shards: 0, ..small() }),
        found(3, Settings { groups: 0, ..small() }),
        found(3, Settings { block_bytes: 0, ..small() }),
        Found {
            members: [found(1, small()).members, found(1, small()).members].concat(),
            ..found(1, small())
        },
    ] {
        assert!(matches!(store.refused(Change::Found(bad)), Refusal::Invalid { .. }));
    }
    assert_eq!(store.group.view(), None);
    let record = found(3, small());
    assert!(matches!(store.propose(Change::Found(record.clone())), Outcome::Done(_)));
    assert!(matches!(store.propose(Change::Found(record.clone())), Outcome::Unchanged(_)));
    let other = Found { cluster: ClusterId(8), ..record.clone() };
    assert_eq!(store.refused(Change::Found(other)), Refusal::OtherCluster { present: CLUSTER });
    let changed = Found { members: found(2, small()).members, ..record };
    assert_eq!(store.refused(Change::Found(changed)), Refusal::OtherRecord);
}

#[test]
fn a_start_registers_only_with_a_higher_incarnation_or_as_itself() {
    let mut store = Store::whole();
    let rolled_back = |n| Refusal::RolledBackOrInUse { node: node(n), recorded: Incarnation(1) };
    assert_eq!(store.refused(Change::Register(registration(1, 1, 2))), rolled_back(1));
    assert_eq!(store.refused(Change::Register(registration(1, 0, 1))), rolled_back(1));
    assert_eq!(store.register(1, 1, 1), Outcome::Registered(Incarnation(1)));
    assert_eq!(store.register(1, 5, 2), Outcome::Registered(Incarnation(5)));
    assert_eq!(store.node_state(1), NodeState::Active, "a restart is no change of membership");
    let foreign = Registration { cluster: ClusterId(8), ..registration(1, 9, 9) };
    assert_eq!(store.refused(Change::Register(foreign)), Refusal::OtherCluster { present: CLUSTER });
    let turned = Registration { role: Role::Data, ..registration(1, 9, 9) };
    assert_eq!(store.refused(Change::Register(turned)), Refusal::WrongRole(node(1)));
    let bare = Registration { incarnation: None, ..registration(1, 9, 9) };
    assert!(matches!(store.refused(Change::Register(bare)), Refusal::Invalid { .. }));
    let long = Registration { name: "n".repeat(257), ..registration(1, 9, 9) };
    assert!(matches!(store.refused(Change::Register(long)), Refusal::Invalid { .. }));
}

#[test]
fn states_change_only_along_the_table() {
    let mut store = Store::whole();
    store.register(4, 3, 3);
    let unborn =
        Store::founded(3, small()).refused(Change::Activate { node: node(1), incarnation: Incarnation(0) });
    assert!(matches!(unborn, Refusal::StaleIncarnation { .. }), "a first member that never registered");
    let stale = Change::Activate { node: node(4), incarnation: Incarnation(2) };
    assert!(matches!(store.refused(stale), Refusal::StaleIncarnation { .. }));
    let dead = |n, from, unseen_ms| Change::DeclareDead { node: node(n), from, unseen_ms };
    let lately = store.refused(dead(2, NodeState::Active, 29_999));
    assert_eq!(lately, Refusal::SeenLately { node: node(2), unseen_ms: 29_999, needed_ms: 30_000 });
    let error = lamina_types::Error::from(lately);
    assert_eq!((error.reason(), error.retry_after()), (Reason::StateRefused, Some(1)));
    let wrong = Refusal::WrongState { node: node(2), state: NodeState::Active };
    assert_eq!(store.refused(dead(2, NodeState::Joining, 60_000)), wrong);
    assert_eq!(store.refused(dead(9, NodeState::Active, 60_000)), Refusal::NoNode(node(9)));
    let epoch = store.kill(2);
    assert_eq!(store.propose(dead(2, NodeState::Active, 0)), Outcome::Unchanged(epoch), "it is dead already");
    let activate = Change::Activate { node: node(2), incarnation: Incarnation(1) };
    assert_eq!(store.refused(activate), Refusal::WrongState { node: node(2), state: NodeState::Dead });
    assert_eq!(store.register(2, 1, 1), Outcome::Registered(Incarnation(1)), "it was only away");
    assert_eq!(store.node_state(2), NodeState::Joining);
}

#[test]
fn a_node_is_removed_only_when_nothing_names_it() {
    let mut store = Store::whole();
    let remove = |n, epoch| Change::Remove { node: node(n), epoch };
    let active = store.state().node(node(3)).unwrap().state_epoch;
    assert!(matches!(store.refused(remove(3, active)), Refusal::WrongState { .. }));
    let epoch = store.kill(3);
    assert_eq!(store.refused(remove(3, active)), Refusal::StaleEpoch { present: epoch });
    assert!(matches!(store.refused(remove(3, epoch)), Refusal::StillNamed(..)));
    let epoch = store.kill(12);
    assert_eq!(store.refused(remove(12, epoch)), Refusal::StillNamed(node(12), "an index shard"));
    store.propose(Change::GrantStop { grant: "g".to_owned(), node: node(21) });
    let epoch = store.kill(21);
    assert_eq!(store.refused(remove(21, epoch)), Refusal::StillNamed(node(21), "a grant to stop it"));
    store.propose(Change::EndGrant { grant: "g".to_owned(), because: GrantEnd::Unwanted });
    assert!(matches!(store.propose(remove(21, epoch)), Outcome::Done(_)));
    assert!(store.group.view().unwrap().node(node(21)).is_none());
    assert_eq!(store.refused(Change::Register(registration(21, 7, 7))), Refusal::NodeGone(node(21)));
    let zone = Change::SetZone { node: node(21), zone: String::new() };
    assert_eq!(store.refused(zone), Refusal::NodeGone(node(21)));
    assert!(matches!(store.propose(remove(21, epoch)), Outcome::Unchanged(_)));
}

#[test]
fn an_index_node_that_was_removed_may_come_back() {
    let mut store = Store::whole();
    store.register(14, 0, 4);
    let epoch = store.kill(14);
    store.propose(Change::Remove { node: node(14), epoch });
    assert_eq!(store.node_state(14), NodeState::Removed);
    assert_eq!(store.register(14, 0, 5), Outcome::Registered(Incarnation(2)));
    assert_eq!(store.node_state(14), NodeState::Joining);
}

#[test]
fn a_volume_is_released_only_of_a_dead_node_and_for_this_death() {
    let mut store = Store::whole();
    let release = |n, epoch| Change::ReleaseVolume { node: node(n), epoch };
    let active = store.state().node(node(21)).unwrap().state_epoch;
    assert!(matches!(store.refused(release(21, active)), Refusal::WrongState { .. }));
    let first = store.kill(21);
    store.register(21, 2, 2);
    let second = store.kill(21);
    assert_eq!(store.refused(release(21, first)), Refusal::StaleEpoch { present: second });
    assert!(matches!(store.propose(release(21, second)), Outcome::Done(_)));
    assert!(matches!(store.propose(release(21, second)), Outcome::Unchanged(_)));
    let index = store.kill(11);
    assert_eq!(store.refused(release(11, index)), Refusal::WrongRole(node(11)));
}

#[test]
fn groups_are_made_of_active_frontends_and_numbered_without_gaps() {
    let mut store = Store::whole();
    store.register(4, 1, 1);
    let create = |group, members: &[u128]| Change::CreateGroup {
        group: GroupId(group),
        members: members.iter().copied().map(node).collect(),
        range: None,
    };
    assert_eq!(store.refused(create(3, &[1])), Refusal::NotNext { next: GroupId(2) });
    assert_eq!(store.refused(create(1, &[1])), Refusal::NotNext { next: GroupId(2) });
    assert!(matches!(store.refused(create(2, &[])), Refusal::Invalid { .. }));
    assert!(matches!(store.refused(create(2, &[1, 1])), Refusal::Invalid { .. }));
    assert_eq!(store.refused(create(2, &[1, 11])), Refusal::WrongRole(node(11)));
    assert_eq!(store.refused(create(2, &[1, 8])), Refusal::NoNode(node(8)));
    let joining = Refusal::WrongState { node: node(4), state: NodeState::Joining };
    assert_eq!(store.refused(create(2, &[1, 4])), joining);
    assert!(matches!(store.propose(create(2, &[3, 1])), Outcome::Placed(_)));
}

#[test]
fn a_replica_is_placed_once_on_a_node_and_dropped_only_when_replaced() {
    let mut store = Store::whole();
    store.register(4, 1, 1);
    store.activate(4);
    let place = |group, n, replaces: Option<u64>| Change::PlaceReplica {
        group: GroupId(group),
        node: node(n),
        replaces: replaces.map(ReplicaId),
    };
    let drop = |replica| Change::DropReplica { group: GroupId(0), replica: ReplicaId(replica) };
    let placed = Refusal::AlreadyPlaced { group: GroupId(0), node: node(1) };
    assert_eq!(store.refused(place(0, 1, None)), placed);
    assert_eq!(store.refused(place(7, 4, None)), Refusal::NoGroup(GroupId(7)));
    assert_eq!(store.refused(place(0, 4, Some(99))), Refusal::NoReplica(ReplicaId(99)));
    assert_eq!(store.refused(drop(3)), Refusal::NotLeaving(ReplicaId(3)));
    let Outcome::Placed(new) = store.propose(place(0, 4, Some(3))) else { panic!() };
    assert_eq!(new, [ReplicaId(16 * store.log.len() as u64)]);
    assert!(matches!(store.propose(drop(3)), Outcome::Done(_)));
    assert_eq!(store.refused(drop(3)), Refusal::NoReplica(ReplicaId(3)));
}

#[test]
fn hints_of_older_leaders_lose() {
    let mut store = Store::whole();
    let leader = |term, n| Change::LeaderSeen { group: GroupId(1), term, leader: node(n) };
    let hints = |term, ranges| Change::TabletHints { group: GroupId(1), term, ranges };
    assert!(matches!(store.propose(leader(5, 2)), Outcome::Done(_)));
    assert!(matches!(store.propose(leader(6, 2)), Outcome::Unchanged(_)));
    assert_eq!(store.refused(leader(5, 1)), Refusal::StaleTerm { present: 6 });
    assert_eq!(store.refused(hints(5, vec![])), Refusal::StaleTerm { present: 6 });
    assert_eq!(store.refused(leader(7, 8)), Refusal::NoNode(node(8)));
    store.kill(2);
    assert_eq!(store.state().groups()[&GroupId(1)].leader, None, "the dead lead nothing");
    assert!(matches!(store.refused(leader(7, 2)), Refusal::WrongState { .. }));
}

#[test]
fn shards_are_assigned_once_and_to_active_index_nodes() {
    let mut store = Store::founded(3, small());
    for n in [11, 12, 13] {
        store.register(n, 0, 1);
    }
    store.activate(11);
    let assign = |lists: &[&[u128]]| Change::AssignShards {
        map: lists.iter().map(|list| list.iter().copied().map(node).collect()).collect(),
    };
    assert!(matches!(store.refused(assign(&[&[11]])), Refusal::Invalid { .. }));
    assert!(matches!(store.refused(assign(&[&[11], &[11], &[], &[11]])), Refusal::Invalid { .. }));
    assert!(matches!(store.refused(assign(&[&[11], &[11], &[11, 11], &[11]])), Refusal::Invalid { .. }));
    assert!(matches!(store.refused(assign(&[&[11], &[12], &[11], &[11]])), Refusal::WrongState { .. }));
    assert!(matches!(store.propose(assign(&[&[11][..]; 4])), Outcome::Done(_)));
    assert_eq!(store.refused(assign(&[&[11][..]; 4])), Refusal::AlreadyAssigned);
}

#[test]
fn only_lost_nodes_give_their_shards_away_and_only_by_the_present_map() {
    let mut store = Store::whole();
    store.register(14, 0, 1);
    store.activate(14);
    let shard =
        (0..4).map(ShardId).find(|s| store.state().shards()[usize::from(s.0)].nodes().contains(&node(11)));
    let shard = shard.unwrap();
    let replace = |store: &Store, out, into| Change::ReplaceShardReplicas {
        epoch: store.state().map_epoch(),
        changes: vec![ShardReplacement { shard, out: node(out), into: node(into) }],
    };
    let alive = replace(&store, 11, 14);
    assert!(matches!(store.refused(alive), Refusal::WrongState { .. }));
    let before = replace(&store, 11, 14);
    store.kill(11);
    assert!(matches!(store.refused(before), Refusal::StaleEpoch { .. }));
    let other = store.state().shards()[usize::from(shard.0)].nodes().into_iter().find(|n| n.0 != 11).unwrap();
    let twice = replace(&store, 11, other.0);
    assert!(matches!(store.refused(twice), Refusal::Invalid { .. }));
    let nobody = replace(&store, 11, 1);
    assert_eq!(store.refused(nobody), Refusal::WrongRole(node(1)));
    let good = replace(&store, 11, 14);
    assert!(matches!(store.propose(good), Outcome::Done(_)));
    let none = replace(&store, 11, 14);
    assert_eq!(store.refused(none), Refusal::NoShardReplica { shard, node: node(11) });
    assert_eq!(store.state().shards()[usize::from(shard.0)].nodes(), [other, node(14)]);
}

#[test]
fn one_grant_is_out_at_a_time() {
    let mut store = Store::whole();
    let grant = |id: &str, n| Change::GrantStop { grant: id.to_owned(), node: node(n) };
    let end = |id: &str, because| Change::EndGrant { grant: id.to_owned(), because };
    assert!(matches!(store.refused(grant("", 1)), Refusal::Invalid { .. }));
    assert_eq!(store.refused(grant("a", 9)), Refusal::NoNode(node(9)));
    store.propose(grant("a", 1));
    let out = Refusal::GrantOut { grant: "a".to_owned(), node: node(1) };
    assert_eq!(store.refused(grant("b", 2)), out);
    assert_eq!(store.refused(grant("a", 2)), out);
    let caught_up = |n| GrantEnd::CaughtUp { incarnation: Incarnation(n) };
    assert_eq!(store.refused(end("a", caught_up(1))), Refusal::NotBack(node(1)));
    assert!(matches!(store.refused(end("a", caught_up(2))), Refusal::StaleIncarnation { .. }));
    assert!(
        matches!(store.propose(end("b", GrantEnd::Unwanted)), Outcome::Unchanged(_)),
        "none of this name"
    );
    assert!(matches!(store.propose(end("a", GrantEnd::Unwanted)), Outcome::Done(_)));
    assert!(matches!(store.propose(grant("b", 2)), Outcome::Done(_)));
}

#[test]
fn the_level_rises_one_step_at_a_time_and_an_unknown_one_stops_the_replica() {
    let mut store = Store::whole();
    let raise = |to| Change::RaiseLevel { to: Level(to) };
    assert!(matches!(store.propose(raise(1)), Outcome::Unchanged(_)));
    assert_eq!(store.refused(raise(0)), Refusal::WrongLevel { present: 1 });
    let entry = raise(2).in_reign(store.state().reign()).encode().unwrap();
    let index = LogIndex(store.log.len() as u64 + 1);
    assert_eq!(store.group.apply(index, &entry), Err(MetaStop::Level { to: 2, highest: 1 }));
}

#[test]
fn messages_of_unknown_or_former_starts_are_not_listened_to() {
    let mut store = Store::whole();
    let admits = |store: &Store, n, incarnation| store.state().admits(node(n), Incarnation(incarnation));
    assert_eq!(admits(&store, 1, 1), Ok(()));
    assert_eq!(admits(&store, 9, 1), Err(Refusal::NoNode(node(9))));
    assert_eq!(admits(&store, 1, 2), Err(Refusal::NoNode(node(1))), "it has to register first");
    store.register(1, 2, 2);
    assert!(matches!(admits(&store, 1, 1), Err(Refusal::StaleIncarnation { .. })));
    let epoch = store.kill(21);
    assert_eq!(
        admits(&store, 21, 1),
        Err(Refusal::NoNode(node(21))),
        "who was declared dead registers again"
    );
    store.propose(Change::ReleaseVolume { node: node(21), epoch });
    assert_eq!(admits(&store, 21, 1), Err(Refusal::NodeGone(node(21))));
}
