//! No voluntary step destroys the last verified copy of a table or a majority of a group (invariant N2).

use std::collections::BTreeMap;

use lamina_peers::admin::{Heartbeat, LedGroup};
use lamina_peers::group::GroupStats;
use lamina_types::{Reign, ReplicaId, ShardId, Version};

use super::*;
use crate::meta::guard::{self, Answers};
use crate::meta::observe::GroupObserved;

fn stats(caught_up: &[u128]) -> GroupStats {
    GroupStats {
        leader: node(1),
        reign: Reign(1),
        last_version: Version::ZERO,
        applied: 1,
        caught_up: caught_up.iter().copied().map(node).collect(),
        voters: [1, 2, 3].map(node).to_vec(),
        tablets: vec![],
        tables: 0,
        table_bytes: 0,
        under_replicated: 0,
        only_on_named: 0,
        naming: 0,
        verified: 0,
        memtable_bytes: 0,
        memtable_bytes_max: 0,
        writes_per_second: 0.0,
        write_p99_us: 0,
    }
}

fn answers(caught_up: &[u128]) -> Answers {
    BTreeMap::from([(GroupId(0), stats(caught_up)), (GroupId(1), stats(caught_up))])
}

/// All nodes are heard, and all index replicas complete.
fn healthy() -> (Store, Observed) {
    let mut store = Store::whole();
    for n in [11, 12, 13] {
        let mine = |shard: &ShardId| store.state().shards()[usize::from(shard.0)].nodes().contains(&node(n));
        let shards = (0..4).map(ShardId).filter(mine).collect();
        let epoch = store.state().epoch();
        store.propose(Change::ShardsComplete { node: node(n), incarnation: Incarnation(1), epoch, shards });
    }
    (store, Observed::default())
}

fn stop(store: &Store, observed: &Observed, n: u128, answers: &Answers) -> Result<(), Vec<String>> {
    can_stop(store.state(), observed, "mine", node(n), answers)
}

#[test]
fn a_grant_that_is_asked_for_again_is_judged_again() {
    let (mut store, observed) = healthy();
    store.propose(Change::GrantStop { grant: "mine".to_owned(), node: node(2) });
    assert_eq!(stop(&store, &observed, 2, &answers(&[1, 2, 3])), Ok(()));
    // It was stopped, and the answer was lost.
    assert_eq!(stop(&store, &observed, 2, &answers(&[1, 3])), Ok(()));
    // It was not stopped yet, and another one is back without having caught up.
    let reasons = stop(&store, &observed, 2, &answers(&[1, 2])).unwrap_err();
    assert!(reasons.iter().any(|it| it.contains("would keep 1 caught-up voters")), "{reasons:?}");
    // Nobody else is granted meanwhile.
    let other = can_stop(store.state(), &observed, "other", node(21), &answers(&[1, 2, 3])).unwrap_err();
    assert!(other[0].contains("being stopped already"), "{other:?}");
}

#[test]
fn in_a_healthy_store_any_one_node_may_stop() {
    let (store, observed) = healthy();
    for n in [1, 2, 3, 11, 12, 13, 21, 22, 23] {
        assert_eq!(stop(&store, &observed, n, &answers(&[1, 2, 3])), Ok(()), "node {n}");
    }
    assert!(stop(&store, &observed, 9, &answers(&[1, 2, 3])).is_err());
}

#[test]
fn a_frontend_may_not_stop_without_a_majority_of_caught_up_voters() {
    let (mut store, observed) = healthy();
    let reasons = stop(&store, &observed, 1, &answers(&[1, 2])).unwrap_err();
    assert_eq!(reasons[0], "group 0 would keep 1 caught-up voters of 3, and needs 2");
    let reasons = stop(&store, &observed, 1, &Answers::new()).unwrap_err();
    assert_eq!(reasons[1], "the leader of group 1 did not answer");
    store.propose(Change::SetSeen { node: node(3), incarnation: Incarnation(1), seen: false });
    assert!(stop(&store, &observed, 1, &answers(&[1, 2, 3])).is_err(), "node 3 is down already");
    assert_eq!(stop(&store, &observed, 3, &answers(&[1, 2, 3])), Ok(()), "and may be stopped itself");
}

#[test]
fn only_one_stop_is_under_way() {
    let (mut store, observed) = healthy();
    store.propose(Change::GrantStop { grant: "other".to_owned(), node: node(22) });
    let reasons = stop(&store, &observed, 1, &answers(&[1, 2, 3])).unwrap_err();
    assert!(reasons[0].contains("being stopped already"), "{reasons:?}");
    assert_eq!(
        can_stop(store.state(), &observed, "other", node(22), &answers(&[1, 2, 3])),
        Ok(()),
        "the same again"
    );
}

#[test]
fn a_data_node_may_not_stop_with_the_last_copy_or_when_flushes_would_stop() {
    let (mut store, observed) = healthy();
    let mut bare = answers(&[1, 2, 3]);
    bare.get_mut(&GroupId(1)).unwrap().only_on_named = 2;
    let reasons = stop(&store, &observed, 21, &bare).unwrap_err();
    assert_eq!(reasons, ["2 tables of group 1 would have no copy that can be read"]);
    store.propose(Change::SetSeen { node: node(22), incarnation: Incarnation(1), seen: false });
    let reasons = stop(&store, &observed, 21, &answers(&[1, 2, 3])).unwrap_err();
    assert_eq!(reasons, ["1 data nodes would be left, and a flush needs 2"]);
    let down = guard::down_with(store.state(), &observed, node(21));
    assert_eq!(guard::down_data_nodes(store.state(), &down), [node(21), node(22)]);
}

#[test]
fn an_index_node_may_not_stop_while_it_alone_is_complete() {
    let (mut store, observed) = healthy();
    store.register(12, 0, 2);
    assert!(stop(&store, &observed, 11, &Answers::new()).is_err());
    assert_eq!(stop(&store, &observed, 12, &Answers::new()), Ok(()), "it serves nothing alone");
}

#[test]
fn an_index_node_that_only_loads_may_stop_though_nobody_else_is_complete() {
    let (mut store, observed) = healthy();
    for n in [11, 12, 13] {
        store.register(n, 0, 2);
    }
    for n in [11, 12, 13] {
        assert_eq!(stop(&store, &observed, n, &Answers::new()), Ok(()), "node {n} serves nothing");
    }
}

#[test]
fn development_waives_the_guards_of_stops_but_not_of_volumes() {
    let settings = Settings {
        development: true,
        frontend_replication: 1,
        index_replication: 1,
        data_replication: 1,
        frontends: 1,
        index_nodes: 1,
        data_nodes: 1,
        ..small()
    };
    let mut store = Store::founded(1, settings);
    for n in [1, 11, 21] {
        store.register(n, 1, 1);
        store.activate(n);
    }
    let observed = Observed::default();
    assert_eq!(stop(&store, &observed, 1, &Answers::new()), Ok(()));
    assert_eq!(stop(&store, &observed, 21, &Answers::new()), Ok(()));
    store.kill(1);
    assert!(release_volume(store.state(), &observed, node(1), &Answers::new()).is_err());
}

#[test]
fn a_volume_is_released_when_others_have_verified_copies_and_the_ban_holds() {
    let (mut store, mut observed) = healthy();
    let release = |store: &Store, observed: &Observed, answers: &Answers| {
        release_volume(store.state(), observed, node(21), answers)
    };
    let mut all = answers(&[1, 2, 3]);
    let of_group_1 = all.get_mut(&GroupId(1)).unwrap();
    (of_group_1.naming, of_group_1.verified) = (5, 5);
    assert!(release(&store, &observed, &all).unwrap_err()[0].contains("is active"));
    let epoch = store.kill(21);
    assert_eq!(
        release(&store, &observed, &all).unwrap_err(),
        [format!("group 1 may still place tables on node {}", node(21))]
    );
    let mut said = GroupObserved {
        leader: node(1),
        term: 1,
        epoch,
        voters: Default::default(),
        ranges: vec![],
        bans: BTreeMap::from([(node(21), Epoch(epoch.0 - 1))]),
        shut_out: Default::default(),
    };
    observed.groups.insert(GroupId(1), said.clone());
    assert!(release(&store, &observed, &all).is_err(), "the ban of an earlier state");
    said.bans = BTreeMap::from([(node(21), epoch)]);
    observed.groups.insert(GroupId(1), said);
    for verified in [0, 4] {
        let mut some = all.clone();
        some.get_mut(&GroupId(1)).unwrap().verified = verified;
        assert!(release(&store, &observed, &some).is_err(), "{verified} of 5 tables are verified");
    }
    let mut silent = all.clone();
    silent.remove(&GroupId(1));
    assert!(release(&store, &observed, &silent).is_err(), "nobody has looked");
    let mut only = all.clone();
    only.get_mut(&GroupId(1)).unwrap().only_on_named = 1;
    assert!(release(&store, &observed, &only).is_err(), "the last copy");
    assert_eq!(release(&store, &observed, &all), Ok(()));
    store.propose(Change::ReleaseVolume { node: node(21), epoch });
    let mut naming = all.clone();
    naming.get_mut(&GroupId(1)).unwrap().naming = 4;
    let forget = |answers| can_forget(store.state(), &observed, node(21), answers);
    assert_eq!(forget(&naming).unwrap_err(), [format!("4 tables of group 1 name node {}", node(21))]);
    assert!(forget(&all).is_err(), "5 tables name it still");
    assert_eq!(forget(&answers(&[1, 2, 3])), Ok(()));
    let mut certified = observed.clone();
    let remove = Change::Remove { node: node(21), epoch };
    assert!(!decide(store.state(), &certified).contains(&remove));
    certified.forgettable.insert(node(21), epoch);
    assert!(decide(store.state(), &certified).contains(&remove));
}

#[test]
fn a_volume_that_lost_what_it_acknowledged_is_shut_out_and_its_replica_replaced() {
    let (mut store, _) = healthy();
    let (lost, _, _) = store.replicas(1)[1];
    let mut observer = Observer::new(0);
    let beat = |term, shut_out: Vec<ReplicaId>| Heartbeat {
        node: node(1),
        incarnation: Incarnation(1),
        epoch: store.state().epoch(),
        complete: vec![],
        leads: vec![LedGroup {
            group: GroupId(1),
            term,
            voters: vec![],
            ranges: vec![KeyRange::all()],
            bans: vec![],
            shut_out,
        }],
        replicas: vec![],
    };
    let (said, unsaid) = (beat(2, vec![ReplicaId(lost)]), beat(3, vec![]));
    observer.heartbeat(said, 10);
    assert_eq!(observer.shut_out_on(store.state(), node(2)), Some(GroupId(1)));
    assert_eq!(observer.shut_out_on(store.state(), node(1)), None);
    let places = |store: &Store, observer: &Observer| -> Vec<Change> {
        let steps = decide(store.state(), &observer.observed(20));
        steps.into_iter().filter(|step| matches!(step, Change::PlaceReplica { .. })).collect()
    };
    assert_eq!(places(&store, &observer), [], "nobody could take its place");
    store.register(4, 1, 1);
    store.activate(4);
    let replaces = Some(ReplicaId(lost));
    let place = Change::PlaceReplica { group: GroupId(1), node: node(4), replaces };
    assert_eq!(places(&store, &observer), std::slice::from_ref(&place));
    store.propose(place);
    assert_eq!(places(&store, &observer), [], "once");
    observer.heartbeat(unsaid, 30);
    assert_eq!(observer.shut_out_on(store.state(), node(2)), None, "a later leader says otherwise");
}

#[test]
fn a_frontends_grant_waits_for_all_of_its_groups() {
    let (mut store, mut observed) = healthy();
    store.propose(Change::GrantStop { grant: "g".to_owned(), node: node(2) });
    store.register(2, 2, 2);
    let one_behind = BTreeMap::from([(GroupId(0), stats(&[1, 2, 3])), (GroupId(1), stats(&[1, 3]))]);
    assert_eq!(guard::caught_up_frontends(store.state(), &one_behind), [node(1), node(3)].into());
    let back = guard::caught_up_frontends(store.state(), &answers(&[1, 2, 3]));
    assert!(back.contains(&node(2)));
    let heard = observe::NodeObserved {
        incarnation: Incarnation(2),
        silent_ms: 0,
        epoch: Epoch::ZERO,
        complete: Default::default(),
    };
    observed.nodes.insert(node(2), heard);
    assert_eq!(decide(store.state(), &observed), []);
    observed.caught_up = back;
    assert_eq!(decide(store.state(), &observed).len(), 1);
}

#[test]
fn the_meta_group_answers_for_itself() {
    let (mut store, observed) = healthy();
    let set = |ids: &[u64]| ids.iter().copied().map(ReplicaId).collect();
    let with = |store: &Store, voters: &[u64], caught_up: &[u64]| {
        let meta = guard::meta_answer(store.state(), node(1), &set(voters), &set(caught_up));
        BTreeMap::from([(GroupId(0), meta), (GroupId(1), stats(&[1, 2, 3]))])
    };
    let all = with(&store, &[1, 2, 3], &[2, 3]);
    assert_eq!(all[&GroupId(0)].caught_up, [1, 2, 3].map(node), "the leader is caught up with itself");
    assert_eq!(stop(&store, &observed, 3, &all), Ok(()));
    assert!(stop(&store, &observed, 3, &with(&store, &[1, 2, 3], &[3])).is_err());
    assert!(stop(&store, &observed, 3, &with(&store, &[1, 2, 3, 99], &[2, 3])).is_err(), "99 is not placed");
    store.propose(Change::GrantStop { grant: "g".to_owned(), node: node(2) });
    assert!(guard::caught_up_frontends(store.state(), &all).contains(&node(2)));
}
