use proptest::prelude::*;

use super::*;

fn site(node: u128, zone: &str) -> Site {
    Site { node: NodeId(node), zone: zone.to_owned() }
}

fn sites(zones: &[u8]) -> Vec<Site> {
    zones.iter().enumerate().map(|(at, zone)| site(at as u128 + 1, &format!("z{zone}"))).collect()
}

fn skew(counts: &BTreeMap<NodeId, usize>, sites: &[Site]) -> usize {
    let of = |site: &Site| counts.get(&site.node).copied().unwrap_or(0);
    sites.iter().map(of).max().unwrap_or(0) - sites.iter().map(of).min().unwrap_or(0)
}

fn replicas(map: &[Vec<NodeId>]) -> BTreeMap<NodeId, usize> {
    let mut counts = BTreeMap::new();
    map.iter().flatten().for_each(|node| *counts.entry(*node).or_default() += 1);
    counts
}

fn preferred(map: &[Vec<NodeId>]) -> BTreeMap<NodeId, usize> {
    let mut counts = BTreeMap::new();
    map.iter().filter_map(|list| list.first()).for_each(|node| *counts.entry(*node).or_default() += 1);
    counts
}

fn zones_of(list: &[NodeId], sites: &[Site]) -> BTreeSet<String> {
    list.iter().filter_map(|node| sites.iter().find(|s| s.node == *node)).map(|s| s.zone.clone()).collect()
}

#[test]
fn three_nodes_share_64_shards_evenly() {
    let sites = sites(&[0, 1, 2]);
    let map = first_map(64, 2, &sites);
    assert_eq!(map.len(), 64);
    assert!(skew(&replicas(&map), &sites) <= 1, "{:?}", replicas(&map));
    assert!(skew(&preferred(&map), &sites) <= 1, "{:?}", preferred(&map));
}

#[test]
fn a_lost_node_is_replaced_and_nothing_else_moves() {
    let before = sites(&[0, 1, 2]);
    let map = first_map(64, 2, &before);
    let lost = BTreeSet::from([NodeId(2)]);
    let alive: Vec<Site> = vec![site(1, "z0"), site(3, "z2"), site(4, "z1")];
    let steps = repair(&map, &lost, &alive);
    assert_eq!(steps.len(), map.iter().filter(|list| list.contains(&NodeId(2))).count());
    assert!(steps.iter().all(|step| step.out == NodeId(2)));
    let newcomer = steps.iter().filter(|step| step.into == NodeId(4)).count();
    assert!(
        newcomer * 10 >= steps.len() * 9,
        "the empty node takes nearly all: {newcomer} of {}",
        steps.len()
    );
}

#[test]
fn without_another_node_nothing_is_replaced() {
    let map = first_map(8, 2, &sites(&[0, 0]));
    let one_left = [site(1, "z0")];
    assert_eq!(repair(&map, &BTreeSet::from([NodeId(2)]), &one_left), Vec::new());
    assert_eq!(first_map(3, 2, &[]), vec![Vec::new(); 3]);
}

#[test]
fn new_tablets_reach_all_nodes_before_any_shard_gets_a_second() {
    let map = first_map(8, 2, &sites(&[0, 0, 0, 0]));
    let mut loads = vec![0; 8];
    let mut first_nodes = BTreeSet::new();
    for at in 0..8 {
        let shard = shard_for_tablet(&map, &loads).unwrap();
        loads[usize::from(shard.0)] += 1;
        if at < 4 {
            first_nodes.insert(map[usize::from(shard.0)][0]);
        }
    }
    assert_eq!(loads, vec![1; 8]);
    assert_eq!(first_nodes.len(), 4, "four tablets, four preferred nodes");
    assert_eq!(shard_for_tablet(&map, &[]), None);
    assert_eq!(shard_for_tablet(&[], &[3, 1]), Some(ShardId(1)), "without a map the loads decide");
}

proptest! {
    #[test]
    fn a_first_map_is_spread_and_balanced(
        shards in 1u16..100, replication in 1u32..4, zones in prop::collection::vec(0u8..4, 1..9)
    ) {
        let sites = sites(&zones);
        let map = first_map(shards, replication, &sites);
        let distinct: BTreeSet<_> = zones.iter().collect();
        let width = sites.len().min(replication as usize);
        for list in &map {
            prop_assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), width);
            prop_assert_eq!(zones_of(list, &sites).len(), width.min(distinct.len()));
        }
        prop_assert_eq!(&map, &first_map(shards, replication, &sites), "the same again");
    }

    #[test]
    fn with_equal_chances_nobody_has_two_more_than_another(
        shards in 1u16..100, replication in 1u32..4, nodes in 1usize..9, own_zones: bool
    ) {
        let zones: Vec<u8> = (0..nodes as u8).map(|at| if own_zones { at } else { 0 }).collect();
        let sites = sites(&zones);
        let map = first_map(shards, replication, &sites);
        prop_assert!(skew(&replicas(&map), &sites) <= 1);
        prop_assert!(skew(&preferred(&map), &sites) <= 1, "{:?}", preferred(&map));
    }

    #[test]
    fn repair_replaces_all_it_can_and_then_is_silent(
        shards in 1u16..40, replication in 1u32..4, nodes in 1usize..7, lost in prop::collection::btree_set(1u128..7, 0..4)
    ) {
        let zones: Vec<u8> = (0..nodes as u8).map(|at| at % 3).collect();
        let all = sites(&zones);
        let lost: BTreeSet<NodeId> = lost.into_iter().map(NodeId).collect();
        let alive: Vec<Site> = all.iter().filter(|site| !lost.contains(&site.node)).cloned().collect();
        let mut map = first_map(shards, replication, &all);
        let width = map[0].len();
        for step in repair(&map, &lost, &alive) {
            let list = &mut map[usize::from(step.shard.0)];
            prop_assert!(!list.contains(&step.into));
            *list.iter_mut().find(|node| **node == step.out).unwrap() = step.into;
        }
        for list in &map {
            let good = list.iter().filter(|node| !lost.contains(node)).count();
            prop_assert_eq!(good, width.min(alive.len()));
        }
        prop_assert_eq!(repair(&map, &lost, &alive), Vec::new());
    }
}
