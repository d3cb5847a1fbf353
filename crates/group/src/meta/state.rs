//! What the meta group knows.

use std::collections::BTreeMap;

use lamina_peers::view::{
    ClusterView, GroupView, NodeState, NodeView, ReplicaPlacement, ShardReplica, ShardView, TabletHint,
};
use lamina_types::{
    ClusterId, Epoch, GroupId, Incarnation, KeyRange, Level, LogIndex, NodeId, Reign, ReplicaId, Role,
    Settings, ShardId,
};
use serde::{Deserialize, Serialize};

use super::entry::Found;
use super::outcome::Refusal;

/// The whole state. Epochs are indexes of entries: the view's is that of the last entry that changed something
/// which others can see.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MetaState {
    /// The last entry applied.
    pub(super) applied: LogIndex,
    /// The present reign.
    pub(super) reign: Reign,
    /// The level of formats.
    pub(super) level: Level,
    /// The bootstrap record; `None` before the store is founded.
    pub(super) founded: Option<Found>,
    /// When something visible changed last.
    pub(super) epoch: Epoch,
    /// All nodes that were ever registered, the removed ones too.
    pub(super) nodes: BTreeMap<NodeId, NodeRecord>,
    /// All groups.
    pub(super) groups: BTreeMap<GroupId, GroupRecord>,
    /// In the order of their numbers; empty before the first assignment.
    pub(super) shards: Vec<ShardRecord>,
    /// When the shard map changed last, flags included.
    pub(super) map_epoch: Epoch,
    /// The grant that is out.
    pub(super) grant: Option<Grant>,
}

/// One node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeRecord {
    /// What it runs.
    pub role: Role,
    /// Its name; empty for a first member that has not registered yet.
    pub name: String,
    /// Where it answers.
    pub address: String,
    /// Its failure domain; empty if unknown.
    pub zone: String,
    /// The zone was set by the keeper: what the node says does not change it.
    pub zone_set: bool,
    /// The version of its program.
    pub version: String,
    /// The highest level that its program supports.
    pub level_max: Level,
    /// Its last registered start; 0 before the first.
    pub incarnation: Incarnation,
    /// Random, of that start.
    pub nonce: u64,
    /// Where it stands in its life.
    pub state: NodeState,
    /// The entry that set the state: the drain epoch.
    pub state_epoch: Epoch,
    /// Its volume was given up: it may never register again.
    pub released: bool,
    /// A hint: the meta leader hears of it.
    pub seen: bool,
}

/// One group.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The replicas of the first members, who alone initialise the group.
    pub initial: Vec<ReplicaId>,
    /// All replicas that may have files.
    pub replicas: BTreeMap<ReplicaId, ReplicaRecord>,
    /// The keys of its first tablet, if it began with one.
    pub first_range: Option<KeyRange>,
    /// The term of the hints.
    pub term: u64,
    /// A hint: who leads.
    pub leader: Option<NodeId>,
    /// A hint: the keys of its tablets.
    pub ranges: Vec<KeyRange>,
}

/// One replica of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReplicaRecord {
    /// Where it is.
    pub node: NodeId,
    /// Since when others replace it. That is never taken back.
    pub leaving: Option<Epoch>,
}

/// One index shard.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Who serves it, preferred first.
    pub replicas: Vec<ShardReplicaRecord>,
}

/// One node's part in a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShardReplicaRecord {
    /// The node.
    pub node: NodeId,
    /// It has every part; else it is loading.
    pub complete: bool,
    /// Since when it loads, or loaded: only a report by a view at least as new counts.
    pub since: Epoch,
}

/// Leave to stop a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Its name.
    pub id: String,
    /// The node.
    pub node: NodeId,
    /// The node's start when the grant was given: the grant ends when a later one has caught up.
    pub incarnation: Incarnation,
}

impl Default for MetaState {
    fn default() -> MetaState {
        MetaState {
            applied: LogIndex::ZERO,
            reign: Reign::ZERO,
            level: Level::FIRST,
            founded: None,
            epoch: Epoch::ZERO,
            nodes: BTreeMap::new(),
            groups: BTreeMap::new(),
            shards: Vec::new(),
            map_epoch: Epoch::ZERO,
            grant: None,
        }
    }
}

impl MetaState {
    /// The last entry applied.
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// The present reign: entries of others have no effect.
    pub fn reign(&self) -> Reign {
        self.reign
    }

    /// The level of formats.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The bootstrap record, once the store is founded.
    pub fn founded(&self) -> Option<&Found> {
        self.founded.as_ref()
    }

    /// The store, once it is founded.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.founded.as_ref().map(|found| found.cluster)
    }

    /// What bootstrap settled.
    pub fn settings(&self) -> Option<&Settings> {
        self.founded.as_ref().map(|found| &found.settings)
    }

    /// The epoch of the view.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The epoch of the shard map.
    pub fn map_epoch(&self) -> Epoch {
        self.map_epoch
    }

    /// All nodes that were ever registered, by id.
    pub fn nodes(&self) -> &BTreeMap<NodeId, NodeRecord> {
        &self.nodes
    }

    /// A node, also a removed one.
    pub fn node(&self, node: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&node)
    }

    /// All groups, by id.
    pub fn groups(&self) -> &BTreeMap<GroupId, GroupRecord> {
        &self.groups
    }

    /// The shard map; empty before the first assignment.
    pub fn shards(&self) -> &[ShardRecord] {
        &self.shards
    }

    /// The grant that is out.
    pub fn grant(&self) -> Option<&Grant> {
        self.grant.as_ref()
    }

    /// Active nodes of a role that the meta leader hears of: where something may be placed.
    pub fn usable(&self, role: Role) -> impl Iterator<Item = (NodeId, &NodeRecord)> {
        self.nodes
            .iter()
            .filter(move |(_, node)| node.role == role && node.state == NodeState::Active && node.seen)
            .map(|(id, node)| (*id, node))
    }

    /// Whether a message of this node and start may be listened to (rule G5).
    ///
    /// # Errors
    /// The node is not known or gone, or another start of it has registered.
    pub fn admits(&self, node: NodeId, incarnation: Incarnation) -> Result<(), Refusal> {
        let record = self.nodes.get(&node).ok_or(Refusal::NoNode(node))?;
        if record.state == NodeState::Removed || record.released {
            return Err(Refusal::NodeGone(node));
        }
        if incarnation < record.incarnation {
            return Err(Refusal::StaleIncarnation { node, recorded: record.incarnation });
        }
        // A start that is not registered must register, also one that was declared dead and lives.
        let registered = incarnation == record.incarnation && record.state != NodeState::Dead;
        if registered { Ok(()) } else { Err(Refusal::NoNode(node)) }
    }

    /// What every node shall know; `None` before the store is founded.
    pub fn view(&self) -> Option<ClusterView> {
        let found = self.founded.as_ref()?;
        let visible = self.nodes.iter().filter(|(_, node)| node.state != NodeState::Removed);
        Some(ClusterView {
            cluster: found.cluster,
            epoch: self.epoch,
            level: self.level,
            settings: found.settings.clone(),
            nodes: visible.map(|(id, node)| node.view(*id)).collect(),
            groups: self.groups.iter().map(|(id, group)| group.view(*id)).collect(),
            shards: (0..).map(ShardId).zip(&self.shards).map(|(id, shard)| shard.view(id)).collect(),
            tablets: self.tablet_hints(),
        })
    }

    /// All hints of tablets, by their first keys.
    fn tablet_hints(&self) -> Vec<TabletHint> {
        let of_group = |(id, group): (&GroupId, &GroupRecord)| {
            let id = *id;
            group.ranges.clone().into_iter().map(move |range| TabletHint { range, group: id })
        };
        let mut hints: Vec<TabletHint> = self.groups.iter().flat_map(of_group).collect();
        hints.sort_by(|a, b| a.range.start.cmp(&b.range.start).then(a.group.cmp(&b.group)));
        hints
    }
}

impl NodeRecord {
    fn view(&self, node: NodeId) -> NodeView {
        NodeView {
            node,
            role: self.role,
            name: self.name.clone(),
            address: self.address.clone(),
            incarnation: self.incarnation,
            state: self.state,
            state_epoch: self.state_epoch,
            zone: self.zone.clone(),
            seen: self.seen,
        }
    }

    /// Declared lost, or gone: what it holds does not count.
    pub fn is_lost(&self) -> bool {
        matches!(self.state, NodeState::Dead | NodeState::Removed)
    }
}

impl GroupRecord {
    fn view(&self, group: GroupId) -> GroupView {
        let leaving = self.replicas.iter().filter(|(_, record)| record.leaving.is_some());
        GroupView {
            group,
            replicas: self
                .replicas
                .iter()
                .map(|(replica, record)| ReplicaPlacement { replica: *replica, node: record.node })
                .collect(),
            leaving: leaving.map(|(replica, _)| *replica).collect(),
            initial: self.initial.clone(),
            first_range: self.first_range.clone(),
            leader: self.leader,
        }
    }

    /// Whether a replica of the group is on this node, leaving or not.
    pub fn names(&self, node: NodeId) -> bool {
        self.replicas.values().any(|record| record.node == node)
    }

    /// Replicas that nobody replaces.
    pub fn staying(&self) -> impl Iterator<Item = (ReplicaId, NodeId)> {
        self.replicas
            .iter()
            .filter(|(_, record)| record.leaving.is_none())
            .map(|(id, record)| (*id, record.node))
    }
}

impl ShardRecord {
    fn view(&self, shard: ShardId) -> ShardView {
        let one =
            |replica: &ShardReplicaRecord| ShardReplica { node: replica.node, complete: replica.complete };
        ShardView { shard, replicas: self.replicas.iter().map(one).collect() }
    }

    /// Who serves the shard, preferred first.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.replicas.iter().map(|replica| replica.node).collect()
    }
}
