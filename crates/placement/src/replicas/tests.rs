use proptest::prelude::*;

use super::*;

fn host(node: u128, zone: &str, max: Option<u64>) -> Host {
    Host {
        site: Site { node: NodeId(node), zone: zone.to_owned() },
        replicas: 0,
        memtable_bytes: 0,
        memtable_bytes_max: max,
    }
}

fn set(ids: &[u64]) -> BTreeSet<ReplicaId> {
    ids.iter().copied().map(ReplicaId).collect()
}

#[test]
fn a_frontend_never_gets_more_memtables_than_it_has_room_for() {
    let mut hosts: Vec<Host> = (1..=3).map(|node| host(node, "", Some(250))).collect();
    for _ in 0..2 {
        let members = first_members(3, 100, &hosts).unwrap();
        hosts.iter_mut().filter(|host| members.contains(&host.site.node)).for_each(|host| host.take(100));
    }
    assert_eq!(first_members(3, 100, &hosts), None);
    assert!(hosts.iter().all(|host| host.memtable_bytes == 200));
}

#[test]
fn a_replacement_avoids_those_that_stay_and_those_that_leave() {
    let hosts: Vec<Host> = (1..=4).map(|node| host(node, "", None)).collect();
    assert_eq!(replacement(&[NodeId(1), NodeId(2)], &[NodeId(3)], 1, &hosts), Some(NodeId(4)));
    assert_eq!(replacement(&[NodeId(1), NodeId(2)], &[NodeId(3), NodeId(4)], 1, &hosts), None);
}

#[test]
fn a_replica_is_replaced_in_three_steps_and_the_old_one_votes_until_the_new_one_does() {
    let mut group = Membership {
        placed: set(&[1, 2, 3, 40]),
        leaving: set(&[3]),
        voters: set(&[1, 2, 3]),
        ..Membership::default()
    };
    assert_eq!(membership_step(&group), Some(MembershipStep::AddLearner(ReplicaId(40))));
    group.learners = set(&[40]);
    assert_eq!(membership_step(&group), None, "it waits until the learner has caught up");
    group.caught_up = set(&[40]);
    assert_eq!(membership_step(&group), Some(MembershipStep::ChangeVoters(set(&[1, 2, 40]))));
    group.joint = true;
    assert_eq!(membership_step(&group), Some(MembershipStep::ChangeVoters(set(&[1, 2, 40]))), "and again");
    group = Membership { voters: set(&[1, 2, 40]), learners: set(&[]), joint: false, ..group };
    assert_eq!(membership_step(&group), None);
}

#[test]
fn a_group_that_meta_does_not_know_changes_nothing() {
    let group = Membership { voters: set(&[1]), ..Membership::default() };
    assert_eq!(membership_step(&group), None);
}

proptest! {
    #[test]
    fn groups_spread_over_frontends_and_zones(
        groups in 1usize..20, replication in 1u32..4, zones in prop::collection::vec(0u8..3, 3..8)
    ) {
        let mut hosts: Vec<Host> =
            (1..).zip(&zones).map(|(node, zone)| host(node, &zone.to_string(), None)).collect();
        let distinct = zones.iter().collect::<BTreeSet<_>>().len();
        for _ in 0..groups {
            let members = first_members(replication, 1, &hosts).unwrap();
            prop_assert_eq!(members.iter().collect::<BTreeSet<_>>().len(), replication as usize);
            let used: BTreeSet<_> = hosts
                .iter().filter(|host| members.contains(&host.site.node)).map(|host| host.site.zone.clone()).collect();
            prop_assert_eq!(used.len(), distinct.min(replication as usize));
            hosts.iter_mut().filter(|host| members.contains(&host.site.node)).for_each(|host| host.take(1));
        }
        if distinct == 1 {
            let counts: Vec<u32> = hosts.iter().map(|host| host.replicas).collect();
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn leaders_spread_evenly(groups in 1u32..30, nodes in 1u128..6) {
        let able: Vec<(GroupId, Vec<NodeId>)> =
            (0..groups).map(|group| (GroupId(group), (1..=nodes).map(NodeId).collect())).collect();
        let leaders = preferred_leaders(&able);
        prop_assert_eq!(leaders.len(), groups as usize);
        let mut counts = BTreeMap::<NodeId, u32>::new();
        leaders.values().for_each(|node| *counts.entry(*node).or_default() += 1);
        prop_assert!(*counts.values().max().unwrap() <= groups.div_ceil(nodes as u32));
    }
}
