//! What a status tells. Field names are stable: scripts read them.

use lamina_peers::admin::{Figures, NodeStatus, Status};
use lamina_peers::view::{NodeState, NodeView};
use lamina_types::{GroupId, NodeId, Role};
use serde::Serialize;

/// The state of a store.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    pub cluster: String,
    pub epoch: u64,
    /// Everything is there that should be.
    pub healthy: bool,
    /// What is not; one sentence each.
    pub troubles: Vec<String>,
    /// What is worth a look, but needs nothing: the store is well all the same.
    pub notes: Vec<String>,
    pub frontends: Tier,
    pub index: Tier,
    pub data: Tier,
    pub groups: Vec<Group>,
    pub shards: Shards,
    /// Tables with fewer copies than they should have.
    pub under_replicated_tables: u64,
    pub tables: u64,
    pub table_bytes: u64,
    pub data_replication: u32,
    pub nodes: Vec<Node>,
    pub stop_granted_to: Option<String>,
}

/// One of the three services.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Tier {
    pub present: u32,
    pub expected: u32,
}

/// One group.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Group {
    pub group: u32,
    pub leader: Option<String>,
    pub voters: usize,
    pub caught_up: usize,
    pub last_version: u64,
    pub applied: u64,
    pub tablets: usize,
    pub tables: u64,
    pub table_bytes: u64,
    pub under_replicated: u64,
    pub runs_max: u32,
    pub memtable_bytes: u64,
    pub memtable_bytes_max: u64,
    pub writes_per_second: f64,
    pub write_p99_us: u64,
}

/// Index shards.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Shards {
    pub count: usize,
    pub replication: u32,
    /// Shards with as many complete replicas as there should be.
    pub complete: usize,
    /// Shards that no complete replica serves.
    pub unserved: usize,
}

/// One node.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Node {
    pub name: String,
    pub role: &'static str,
    pub node: String,
    pub address: String,
    pub zone: String,
    pub state: &'static str,
    pub seen: bool,
    pub answers: bool,
    pub version: String,
    /// Resident memory of its process; absent: the node did not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    #[serde(flatten)]
    pub figures: NodeFigures,
}

/// Figures by role.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub enum NodeFigures {
    None {},
    Frontend {
        leads: u64,
        replicas: u64,
        reads: u64,
        writes: u64,
        cache_bytes: u64,
        log_bytes: u64,
        free_bytes: u64,
    },
    Index {
        tables: u64,
        index_bytes: u64,
        index_bytes_max: u64,
        shards: usize,
        shards_complete: usize,
        lookups: u64,
        filtered: u64,
        missing: u64,
    },
    Data {
        tables: u64,
        file_bytes: u64,
        free_bytes: u64,
        total_bytes: u64,
        blocks_read: u64,
        blocks_damaged: u64,
        compacted_bytes: u64,
        jobs: u64,
        scrubbed_blocks: u64,
    },
}

impl Report {
    /// What a status means.
    pub fn of(status: &Status) -> Report {
        let view = &status.view;
        let name = |id: NodeId| view.node(id).map_or_else(|| id.to_string(), |node| node.name.clone());
        let mut by_name: Vec<&NodeView> = view.nodes.iter().collect();
        by_name.sort_by(|a, b| (a.role, a.name.len(), &a.name).cmp(&(b.role, b.name.len(), &b.name)));
        let nodes: Vec<Node> = by_name
            .into_iter()
            .map(|node| Node::of(node, status.nodes.iter().find(|other| other.node == node.node)))
            .collect();
        // The meta group has no keys, and answers for itself by answering at all.
        let data_groups = view.groups.iter().filter(|group| group.group != GroupId::META);
        let groups: Vec<Group> = data_groups.map(|group| group_of(status, group.group, &name)).collect();
        let settings = &view.settings;
        let tier = |role: Role, expected: u32| {
            let answers = |node: &NodeView| status.nodes.iter().any(|other| other.node == node.node);
            let present = view.nodes_of(role).filter(|node| serves(node) && answers(node)).count() as u32;
            let members = view.nodes_of(role).filter(|node| node.state <= NodeState::Draining).count() as u32;
            Tier { present, expected: expected.max(members) }
        };
        let mut report = Report {
            cluster: view.cluster.to_string(),
            epoch: view.epoch.0,
            healthy: true,
            troubles: Vec::new(),
            notes: Vec::new(),
            frontends: tier(Role::Frontend, settings.frontends),
            index: tier(Role::Index, settings.index_nodes),
            data: tier(Role::Data, settings.data_nodes),
            shards: Shards::of(status),
            under_replicated_tables: groups.iter().map(|group| group.under_replicated).sum(),
            tables: groups.iter().map(|group| group.tables).sum(),
            table_bytes: groups.iter().map(|group| group.table_bytes).sum(),
            data_replication: settings.data_replication,
            groups,
            nodes,
            stop_granted_to: status.grant.as_ref().map(|(_, node)| name(*node)),
        };
        report.troubles = report.find_troubles();
        report.notes = report.find_notes();
        report.healthy = report.troubles.is_empty();
        report
    }

    /// What is not as it should be, the worst first.
    fn find_troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        for group in self.groups.iter().filter(|group| group.leader.is_none()) {
            troubles.push(format!(
                "group {} has no leader that answers: its keys cannot be written",
                group.group
            ));
        }
        if self.shards.unserved > 0 {
            troubles
                .push(format!("{} index shards are loading: reads there are slower", self.shards.unserved));
        } else if self.shards.complete < self.shards.count {
            let lacking = self.shards.count - self.shards.complete;
            troubles.push(format!("{lacking} index shards have fewer replicas than they should"));
        }
        if self.under_replicated_tables > 0 {
            let n = self.under_replicated_tables;
            troubles.push(format!("{n} tables have fewer copies than {}", self.data_replication));
        }
        for group in
            self.groups.iter().filter(|group| group.leader.is_some() && group.caught_up < group.voters)
        {
            let (behind, voters) = (group.voters - group.caught_up, group.voters);
            troubles.push(format!("group {}: {behind} of {voters} replicas are behind", group.group));
        }
        for node in self.nodes.iter().filter(|node| node.state == "active" && !node.seen) {
            troubles.push(format!("{} is not heard of", node.name));
        }
        // What the store knows is old where its meta group has no majority.
        for node in self.nodes.iter().filter(|node| node.state == "active" && node.seen && !node.answers) {
            troubles.push(format!("{} does not answer", node.name));
        }
        for node in self.nodes.iter().filter(|node| ["draining", "dead", "joining"].contains(&node.state)) {
            troubles.push(format!("{} is {}", node.name, node.state));
        }
        troubles
    }

    /// Damage is counted since a node's start, and nobody counts what is not repaired yet: so it is no trouble.
    fn find_notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for node in &self.nodes {
            if let NodeFigures::Data { blocks_damaged: found @ 1.., .. } = node.figures {
                notes.push(format!("{}: damaged blocks read since its start: {found}", node.name));
            }
        }
        notes
    }
}

fn serves(node: &NodeView) -> bool {
    node.seen && matches!(node.state, NodeState::Active | NodeState::Draining)
}

fn group_of(status: &Status, group: GroupId, name: &impl Fn(NodeId) -> String) -> Group {
    let stats = status.groups.iter().find(|(other, _)| *other == group).map(|(_, stats)| stats);
    Group {
        group: group.0,
        leader: stats.map(|stats| name(stats.leader)),
        voters: stats.map_or(0, |stats| stats.voters.len()),
        caught_up: stats.map_or(0, |stats| stats.caught_up.len()),
        last_version: stats.map_or(0, |stats| stats.last_version.0),
        applied: stats.map_or(0, |stats| stats.applied),
        tablets: stats.map_or(0, |stats| stats.tablets.len()),
        tables: stats.map_or(0, |stats| stats.tables),
        table_bytes: stats.map_or(0, |stats| stats.table_bytes),
        under_replicated: stats.map_or(0, |stats| stats.under_replicated),
        runs_max: stats.map_or(0, |stats| stats.tablets.iter().map(|tablet| tablet.runs).max().unwrap_or(0)),
        memtable_bytes: stats.map_or(0, |stats| stats.memtable_bytes),
        memtable_bytes_max: stats.map_or(0, |stats| stats.memtable_bytes_max),
        writes_per_second: stats.map_or(0.0, |stats| stats.writes_per_second),
        write_p99_us: stats.map_or(0, |stats| stats.write_p99_us),
    }
}

impl Shards {
    fn of(status: &Status) -> Shards {
        let view = &status.view;
        let wanted = view.settings.index_replication as usize;
        let complete = |n: usize| {
            let replicas = |shard: &lamina_peers::view::ShardView| {
                shard.replicas.iter().filter(|replica| replica.complete).count()
            };
            view.shards.iter().filter(|shard| replicas(shard) >= n).count()
        };
        Shards {
            count: view.shards.len(),
            replication: view.settings.index_replication,
            complete: complete(wanted),
            unserved: view.shards.len() - complete(1),
        }
    }
}

impl Node {
    fn of(view: &NodeView, status: Option<&NodeStatus>) -> Node {
        Node {
            name: view.name.clone(),
            role: view.role.as_str(),
            node: view.node.to_string(),
            address: view.address.clone(),
            zone: view.zone.clone(),
            state: view.state.as_str(),
            seen: view.seen,
            answers: status.is_some_and(|status| status.figures != Figures::None),
            version: status.map(|status| status.version.clone()).unwrap_or_default(),
            memory_bytes: status.map(|status| status.memory_bytes).filter(|bytes| *bytes > 0),
            figures: status.map_or(NodeFigures::None {}, |status| NodeFigures::of(&status.figures)),
        }
    }
}

impl NodeFigures {
    fn of(figures: &Figures) -> NodeFigures {
        match figures {
            Figures::None => NodeFigures::None {},
            Figures::Frontend(stats) => NodeFigures::Frontend {
                leads: stats.leads,
                replicas: stats.replicas,
                reads: stats.reads,
                writes: stats.writes,
                cache_bytes: stats.cache_bytes,
                log_bytes: stats.log_bytes,
                free_bytes: stats.free_bytes,
            },
            Figures::Index(stats) => NodeFigures::Index {
                tables: stats.tables,
                index_bytes: stats.memory_bytes,
                index_bytes_max: stats.memory_bytes_max,
                shards: stats.shards.len(),
                shards_complete: stats.shards.iter().filter(|shard| shard.complete).count(),
                lookups: stats.lookups,
                filtered: stats.filtered,
                missing: stats.missing,
            },
            Figures::Data(stats) => NodeFigures::Data {
                tables: stats.tables,
                file_bytes: stats.file_bytes,
                free_bytes: stats.free_bytes,
                total_bytes: stats.total_bytes,
                blocks_read: stats.blocks_read,
                blocks_damaged: stats.blocks_damaged,
                compacted_bytes: stats.compacted_bytes,
                jobs: stats.jobs,
                scrubbed_blocks: stats.scrubbed_blocks,
            },
        }
    }
}
