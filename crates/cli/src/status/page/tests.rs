use lamina_peers::admin::{Figures, FrontendStats, NodeStatus, Status};
use lamina_peers::data::DataStats;
use lamina_peers::group::GroupStats;
use lamina_peers::index::IndexStats;
use lamina_peers::view::{ClusterView, GroupView, NodeState, NodeView, ShardReplica, ShardView};
use lamina_types::{
    ClusterId, Epoch, GroupId, Incarnation, Level, NodeId, Reign, Role, Settings, ShardId, Version,
};

use super::*;

fn node(id: u128, role: Role, name: &str) -> NodeView {
    NodeView {
        node: NodeId(id),
        role,
        name: name.to_owned(),
        address: format!("127.0.0.1:{}", 4700 + id),
        incarnation: Incarnation(1),
        state: NodeState::Active,
        state_epoch: Epoch(1),
        zone: String::new(),
        seen: true,
    }
}

fn figures(role: Role) -> Figures {
    match role {
        Role::Frontend => {
            Figures::Frontend(FrontendStats { leads: 1, replicas: 2, ..FrontendStats::default() })
        }
        Role::Index => Figures::Index(IndexStats {
            tables: 118,
            memory_bytes: 70 << 20,
            memory_bytes_max: 1 << 30,
            shards: Vec::new(),
            lookups: 4_100,
            filtered: 0,
            missing: 0,
        }),
        Role::Data => Figures::Data(DataStats {
            tables: 118,
            file_bytes: 1 << 30,
            free_bytes: 1 << 34,
            total_bytes: 1 << 35,
            blocks_read: 7,
            blocks_damaged: 0,
            compacted_bytes: 0,
            jobs: 0,
            scrubbed_blocks: 0,
            damage_found: 0,
        }),
    }
}

fn group_stats() -> GroupStats {
    GroupStats {
        leader: NodeId(1),
        reign: Reign(1),
        last_version: Version::from_ms(1_790_000_000_000),
        applied: 9,
        caught_up: vec![NodeId(1), NodeId(2), NodeId(3)],
        voters: vec![NodeId(1), NodeId(2), NodeId(3)],
        tablets: Vec::new(),
        tables: 118,
        table_bytes: 3 << 30,
        under_replicated: 0,
        only_on_named: 0,
        naming: 0,
        verified: 0,
        memtable_bytes: 61 << 20,
        memtable_bytes_max: 192 << 20,
        writes_per_second: 18_200.0,
        write_p99_us: 1900,
    }
}

fn status() -> Status {
    let nodes: Vec<NodeView> = Role::ALL
        .iter()
        .enumerate()
        .flat_map(|(r, role)| {
            (0..3).map(move |n| node((r * 3 + n + 1) as u128, *role, &format!("{role}-{n}")))
        })
        .collect();
    let stats = group_stats();
    let group = |n| GroupView {
        group: GroupId(n),
        replicas: Vec::new(),
        leaving: Vec::new(),
        initial: Vec::new(),
        first_range: None,
        leader: Some(NodeId(1)),
    };
    let replica = |n| ShardReplica { node: NodeId(n), complete: true };
    let shards =
        (0..64).map(|n| ShardView { shard: ShardId(n), replicas: vec![replica(4), replica(5)] }).collect();
    Status {
        nodes: nodes
            .iter()
            .map(|node| NodeStatus {
                node: node.node,
                version: "0.1.0".to_owned(),
                memory_bytes: 88 << 20,
                figures: figures(node.role),
            })
            .collect(),
        groups: vec![(GroupId(0), stats.clone()), (GroupId(1), stats)],
        grant: None,
        view: ClusterView {
            cluster: ClusterId(0x3d76_0000_0000_0000_0000_0000_0000_0001),
            epoch: Epoch(41),
            level: Level::FIRST,
            settings: Settings::default(),
            nodes,
            groups: vec![group(0), group(1)],
            shards,
            tablets: Vec::new(),
        },
    }
}

#[test]
fn a_healthy_store_is_told_in_four_lines() {
    let report = Report::of(&status());
    assert!(report.healthy, "{:?}", report.troubles);
    let text = summary(&report, None);
    assert_eq!(text.lines().count(), 4, "{text}");
    for words in
        ["3d760000…", "epoch 41", "frontends  3/3", "shards 64 (×2)", "18.2 k/s", "61.0 MiB of 192 MiB"]
    {
        assert!(text.contains(words), "{words} in:\n{text}");
    }
}

#[test]
fn with_an_earlier_report_counters_are_rates() {
    let mut earlier = status();
    for node in &mut earlier.nodes {
        if let Figures::Index(stats) = &mut node.figures {
            stats.lookups -= 100;
        }
    }
    let text = summary(&Report::of(&status()), Some((&Report::of(&earlier), 2.0)));
    assert!(text.contains("lookups 150/s"), "{text}");
}

#[test]
fn every_trouble_is_named() {
    let mut broken = status();
    broken.view.nodes[0].seen = false;
    broken.view.nodes[8].state = NodeState::Draining;
    broken.view.shards[0].replicas[1].complete = false;
    let mut another = broken.view.groups[1].clone();
    another.group = GroupId(2);
    broken.view.groups.push(another);
    broken.groups[1].1.under_replicated = 2;
    broken.groups[1].1.caught_up.pop();
    let report = Report::of(&broken);
    assert!(!report.healthy);
    let text = summary(&report, None);
    for words in [
        "NOT WELL",
        "frontends  2/3",
        "group 2 has no leader",
        "1 index shards have fewer replicas",
        "2 tables have fewer copies than 3",
        "group 1: 1 of 3 replicas are behind",
        "frontend-0 is not heard of",
        "data-2 is draining",
    ] {
        assert!(text.contains(words), "{words} in:\n{text}");
    }
}

#[test]
fn damage_that_was_found_since_the_start_is_told_and_leaves_the_store_well() {
    let mut repaired = status();
    for node in &mut repaired.nodes {
        if let (NodeId(8), Figures::Data(stats)) = (node.node, &mut node.figures) {
            stats.blocks_damaged = 1;
        }
    }
    let report = Report::of(&repaired);
    assert!(report.healthy, "{:?}", report.troubles);
    let text = summary(&report, None);
    for words in ["all well", "  data-1: damaged blocks read since its start: 1"] {
        assert!(text.contains(words), "{words} in:\n{text}");
    }
}

#[test]
fn a_node_that_does_not_answer_is_named_even_where_the_store_still_counts_on_it() {
    let mut frozen = status();
    let silent = frozen.view.nodes[1].node;
    frozen.nodes.retain(|node| node.node != silent);
    let text = summary(&Report::of(&frozen), None);
    for words in ["NOT WELL", "frontends  2/3", "frontend-1 does not answer"] {
        assert!(text.contains(words), "{words} in:\n{text}");
    }
}

#[test]
fn tables_are_aligned_and_name_every_node_and_group() {
    let text = tables(&Report::of(&status()));
    assert_eq!(text.lines().count(), 1 + 9 + 1 + 1 + 1, "{text}");
    let names: Vec<&str> = text.lines().skip(1).take(9).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names.first().copied(), Some("frontend-0"));
    assert_eq!(names.last().copied(), Some("data-2"));
}

#[test]
fn json_has_stable_names_and_no_numbers_that_programs_cannot_read() {
    let json = serde_json::to_value(Report::of(&status())).unwrap();
    assert_eq!(json["frontends"]["present"], 3);
    assert_eq!(json["healthy"], true);
    assert_eq!(json["nodes"][3]["lookups"], 4100);
    assert_eq!(json["groups"][0]["leader"], "frontend-0");
    assert!(json["cluster"].is_string() && json["nodes"][0]["node"].is_string());
}
