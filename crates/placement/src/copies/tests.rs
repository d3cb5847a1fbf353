use std::collections::BTreeSet;

use lamina_types::GroupId;
use proptest::prelude::*;

use super::*;

fn data(node: u128, zone: &str, free_gib: u64) -> DataSite {
    DataSite {
        site: Site { node: NodeId(node), zone: zone.to_owned() },
        free_bytes: free_gib << 30,
        total_bytes: 1 << 40,
    }
}

fn tablet(index: u64) -> TabletId {
    TabletId { group: GroupId(1), index }
}

fn even(nodes: u128) -> Vec<DataSite> {
    (1..=nodes).map(|node| data(node, &format!("z{}", node % 3), 512)).collect()
}

#[test]
fn tables_of_one_tablet_lie_together_and_tablets_spread() {
    let sites = even(9);
    let one = choose(tablet(7), 3, &sites);
    assert_eq!(one, choose(tablet(7), 3, &sites));
    let mut used = BTreeMap::<NodeId, usize>::new();
    for index in 0..300 {
        for node in choose(tablet(index), 3, &sites) {
            *used.entry(node).or_default() += 1;
        }
    }
    assert_eq!(used.len(), 9);
    assert!(used.values().all(|count| (60..=140).contains(count)), "{used:?}");
}

#[test]
fn a_node_with_more_room_gets_more() {
    let sites: Vec<DataSite> =
        (1..=6).map(|node| data(node, "z", if node == 1 { 800 } else { 200 })).collect();
    let firsts = (0..600).filter(|index| choose(tablet(*index), 1, &sites) == [NodeId(1)]).count();
    assert!((200..=340).contains(&firsts), "{firsts} of 600, expected 4/9");
}

#[test]
fn a_node_that_is_nearly_full_is_the_last_resort() {
    let mut sites = even(4);
    sites.iter_mut().for_each(|data| data.site.zone = String::new());
    sites[2].free_bytes = 1 << 30;
    assert!((0..100).all(|index| !choose(tablet(index), 3, &sites).contains(&NodeId(3))));
    assert!(choose(tablet(1), 4, &sites).contains(&NodeId(3)));
}

#[test]
fn a_lost_copy_is_missing_and_leaves_the_record_only_when_replaced() {
    let sites = even(4);
    let standing = |lost: u128| {
        (1..=4u128)
            .map(|node| (NodeId(node), if node == lost { Standing::Lost } else { Standing::Holds }))
            .collect::<BTreeMap<_, _>>()
    };
    let copies = [NodeId(1), NodeId(2), NodeId(3)];
    let before = audit(tablet(1), &copies, 3, &standing(2), &sites);
    assert_eq!(before, Audit { missing: 1, superfluous: vec![] });
    assert_eq!(repair_target(tablet(1), &copies, &sites), Some(NodeId(4)));
    let repaired = [NodeId(1), NodeId(2), NodeId(3), NodeId(4)];
    let after = audit(tablet(1), &repaired, 3, &standing(2), &sites);
    assert_eq!(after, Audit { missing: 0, superfluous: vec![NodeId(2)] });
    assert_eq!(audit(tablet(1), &copies, 3, &standing(0), &sites), Audit::default());
}

#[test]
fn a_node_that_is_not_known_holds_nothing() {
    let found = audit(tablet(1), &[NodeId(9)], 1, &BTreeMap::new(), &even(3));
    assert_eq!(found, Audit { missing: 1, superfluous: vec![] });
}

proptest! {
    #[test]
    fn copies_are_distinct_and_spread_over_zones(
        index: u64, replication in 1u32..5, nodes in prop::collection::vec((0u8..4, 0u64..2000), 0..9)
    ) {
        let sites: Vec<DataSite> =
            (1..).zip(&nodes).map(|(node, (zone, free))| data(node, &zone.to_string(), *free)).collect();
        let chosen = choose(tablet(index), replication, &sites);
        let width = sites.len().min(replication as usize);
        prop_assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), width);
        let zones: BTreeSet<_> = nodes.iter().map(|(zone, _)| zone).collect();
        let used: BTreeSet<_> = chosen
            .iter()
            .map(|node| &sites.iter().find(|data| data.site.node == *node).unwrap().site.zone)
            .collect();
        prop_assert_eq!(used.len(), width.min(zones.len()));
    }

    #[test]
    fn a_new_node_changes_few_orders_and_only_to_itself(index: u64) {
        let mut sites = even(6);
        sites.iter_mut().for_each(|data| data.site.zone = String::new());
        let before = choose(tablet(index), 3, &sites);
        sites.push(data(7, "", 512));
        let after = choose(tablet(index), 3, &sites);
        let changed: Vec<_> = after.iter().filter(|node| !before.contains(node)).collect();
        prop_assert!(changed.is_empty() || changed == [&NodeId(7)]);
    }

    #[test]
    fn an_audit_never_gives_up_a_copy_that_is_needed(
        copies in prop::collection::btree_set(1u128..8, 0..7),
        standings in prop::collection::vec(0u8..3, 8), replication in 1u32..5
    ) {
        let copies: Vec<NodeId> = copies.into_iter().map(NodeId).collect();
        let standing: BTreeMap<NodeId, Standing> = (1..8u128)
            .map(|node| (NodeId(node), [Standing::Holds, Standing::Leaves, Standing::Lost][standings[node as usize] as usize]))
            .collect();
        let holds = |node: &&NodeId| standing.get(*node) == Some(&Standing::Holds);
        let found = audit(tablet(3), &copies, replication, &standing, &even(7));
        let before = copies.iter().filter(holds).count();
        let left: Vec<NodeId> = copies.iter().copied().filter(|n| !found.superfluous.contains(n)).collect();
        let after = left.iter().filter(holds).count();
        prop_assert!(after >= before.min(replication as usize));
        prop_assert_eq!(found.missing as usize, (replication as usize).saturating_sub(before));
        prop_assert!(found.superfluous.is_empty() || after == replication as usize);
        let again = audit(tablet(3), &left, replication, &standing, &even(7));
        prop_assert_eq!(again.superfluous, Vec::new());
    }
}
