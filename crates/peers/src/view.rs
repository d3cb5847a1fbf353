//! What every process knows of its cluster: a copy of what the meta group publishes, with an epoch.
//!
//! A view is a hint. Whoever acts by an old one is told so by whom it reaches; nothing safe rests on it.

use lamina_types::{
    ClusterId, Epoch, GroupId, Incarnation, KeyRange, Level, NodeId, ReplicaId, Role, Settings, ShardId,
};
use serde::{Deserialize, Serialize};

/// One picture of the cluster.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ClusterView {
    /// The store.
    pub cluster: ClusterId,
    /// Raised at each change.
    pub epoch: Epoch,
    /// The level of formats.
    pub level: Level,
    /// What bootstrap settled.
    pub settings: Settings,
    /// All nodes that were not removed, by id.
    pub nodes: Vec<NodeView>,
    /// All groups, meta first.
    pub groups: Vec<GroupView>,
    /// One for each shard, in order. Empty until the first assignment.
    pub shards: Vec<ShardView>,
    /// Hints: which group has which keys. The groups' logs are the truth.
    pub tablets: Vec<TabletHint>,
}

/// One node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeView {
    /// The node.
    pub node: NodeId,
    /// What it runs.
    pub role: Role,
    /// Its name, as of its pod or directory: `frontend-0`.
    pub name: String,
    /// Where it answers.
    pub address: String,
    /// Its present start.
    pub incarnation: Incarnation,
    /// Where it stands in its life.
    pub state: NodeState,
    /// When the state was set: the index of the meta group's entry. Bans of data nodes carry it (protocols §10.4).
    pub state_epoch: Epoch,
    /// Its failure domain; empty if unknown.
    pub zone: String,
    /// The meta leader heard of it lately.
    pub seen: bool,
}

/// Where a node stands in its life (protocols §10.4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum NodeState {
    /// Registered, not yet answering.
    Joining,
    /// Takes part.
    Active,
    /// Gives up what it holds.
    Draining,
    /// Holds nothing.
    Drained,
    /// Declared lost.
    Dead,
    /// Gone for ever.
    Removed,
}

impl NodeState {
    /// The state in lower case, as on the status page.
    pub const fn as_str(self) -> &'static str {
        match self {
            NodeState::Joining => "joining",
            NodeState::Active => "active",
            NodeState::Draining => "draining",
            NodeState::Drained => "drained",
            NodeState::Dead => "dead",
            NodeState::Removed => "removed",
        }
    }
}

/// One group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupView {
    /// The group.
    pub group: GroupId,
    /// Its placements.
    pub replicas: Vec<ReplicaPlacement>,
    /// Those of its replicas that others replace: the leader takes them out once the others vote.
    pub leaving: Vec<ReplicaId>,
    /// The first members, who alone initialise the group (protocols §8.3).
    pub initial: Vec<ReplicaId>,
    /// The keys of its first tablet, if it began with one: part of the state before the first entry.
    pub first_range: Option<KeyRange>,
    /// Who led it when the meta leader heard last.
    pub leader: Option<NodeId>,
}

/// One replica on one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ReplicaPlacement {
    /// The replica.
    pub replica: ReplicaId,
    /// Where it is.
    pub node: NodeId,
}

/// One index shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShardView {
    /// The shard.
    pub shard: ShardId,
    /// Who serves it; the first is preferred.
    pub replicas: Vec<ShardReplica>,
}

/// One node's part in a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShardReplica {
    /// The node.
    pub node: NodeId,
    /// It has every part; else it is loading.
    pub complete: bool,
}

/// Which group has a range of keys.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TabletHint {
    /// The keys.
    pub range: KeyRange,
    /// The group.
    pub group: GroupId,
}

impl ClusterView {
    /// A node by its id.
    pub fn node(&self, node: NodeId) -> Option<&NodeView> {
        self.nodes.iter().find(|view| view.node == node)
    }

    /// A group by its id.
    pub fn group(&self, group: GroupId) -> Option<&GroupView> {
        self.groups.iter().find(|view| view.group == group)
    }

    /// A shard by its id.
    pub fn shard(&self, shard: ShardId) -> Option<&ShardView> {
        self.shards.get(usize::from(shard.0))
    }

    /// Nodes of a role, in the order of their ids.
    pub fn nodes_of(&self, role: Role) -> impl Iterator<Item = &NodeView> {
        self.nodes.iter().filter(move |view| view.role == role)
    }

    /// The group that a key was last known to lie in. Keys begin with their keyspace.
    pub fn group_of_key(&self, key: &[u8]) -> Option<GroupId> {
        self.tablets.iter().find(|hint| hint.range.contains(key)).map(|hint| hint.group)
    }
}
