//! Nodes, the keeper and the command line → any node, which answers by itself or sends on to the meta leader.
//!
//! Calls that change something carry the cluster's id in their context, and refuse what would lose redundancy.

use lamina_types::{
    ClusterId, Epoch, GroupId, Incarnation, Level, NodeId, ReplicaId, Role, Settings, ShardId, Version,
};
use serde::{Deserialize, Serialize};

use crate::data::DataStats;
use crate::group::GroupStats;
use crate::index::IndexStats;
use crate::view::{ClusterView, NodeState};

crate::port::port! {
    /// A node's administration.
    AdminPeer: AdminRequest => AdminAnswer {
        Identify => Identity,
        WhereIsMeta => MetaIs,
        Bootstrap => Bootstrapped,
        RegisterNode => NodeRegistered,
        Heartbeat => HeartbeatSeen,
        Watch => ViewChanged,
        ClusterStatus => Status,
        Probe => Probed,
        CanStop => StopGranted,
        EndGrant => GrantEnded,
        SetNodeState => NodeStateSet,
        SetNodeZone => NodeZoneSet,
        ReleaseVolume => VolumeReleased,
        FlushStore => StoreFlushed,
    }
}

/// Who is there? Answered by every process from its first moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identify {}

/// Who is there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The node; an index node that has not met its cluster has none yet.
    pub node: Option<NodeId>,
    /// Its store; `None`: none yet.
    pub cluster: Option<ClusterId>,
    /// What it runs.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// It has loaded and registered, and serves.
    pub ready: bool,
    /// The version of the program.
    pub version: String,
    /// The bootstrap record on its volume, if it is a first member: whoever finds a store that began in part finishes it by this.
    pub record: Option<Bootstrap>,
}

/// Where is the meta group? Answered by frontends from what they know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WhereIsMeta {}

/// Where the meta group is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MetaIs {
    /// The store.
    pub cluster: ClusterId,
    /// The address of the leader, if the answerer knows one.
    pub leader: Option<String>,
    /// Addresses of all members.
    pub members: Vec<String>,
}

/// Makes an empty node a first member of a new store (protocols §10.1). The same again: done already.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The new store.
    pub cluster: ClusterId,
    /// The first members of the meta group, in order: their replica ids are 1, 2, …
    pub members: Vec<FirstMember>,
    /// What is settled for ever.
    pub settings: Settings,
}

/// A first member of the meta group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FirstMember {
    /// The node.
    pub node: NodeId,
    /// Where it answers.
    pub address: String,
}

/// The node is a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bootstrapped {}

/// A process says that it has started.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RegisterNode {
    /// The node.
    pub node: NodeId,
    /// What it runs.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// Where it answers.
    pub address: String,
    /// Raised and synced at this start; `None`: meta gives one (index nodes have no volume).
    pub incarnation: Option<Incarnation>,
    /// Random, made at this start.
    pub nonce: u64,
    /// Its failure domain; empty if unknown.
    pub zone: String,
    /// The version of the program.
    pub version: String,
    /// The highest level of formats that the program supports.
    pub level_max: Level,
}

/// The start is registered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NodeRegistered {
    /// The incarnation of this start.
    pub incarnation: Incarnation,
    /// The cluster as meta knows it.
    pub view: ClusterView,
}

/// A node says that it is there, and what it has become.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The node.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The epoch of its view.
    pub epoch: Epoch,
    /// Index nodes: shards that are complete, by the map of `epoch`.
    pub complete: Vec<ShardId>,
    /// Frontends: groups that this node leads, with hints of their tablets.
    pub leads: Vec<LedGroup>,
    /// Frontends: replicas that run here.
    pub replicas: Vec<ReplicaId>,
}

/// A group that a frontend leads.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LedGroup {
    /// The group.
    pub group: GroupId,
    /// The leader's term, so that an older leader's word does not win.
    pub term: u64,
    /// Voters in the uniform configuration; empty while it is joint.
    pub voters: Vec<ReplicaId>,
    /// The keys of its tablets.
    pub ranges: Vec<lamina_types::KeyRange>,
    /// Data nodes whose ban the group has applied, with its epoch.
    pub bans: Vec<(NodeId, Epoch)>,
    /// Replicas that rejected what they had acknowledged to this leader: their volume has lost it (rule G7).
    pub shut_out: Vec<ReplicaId>,
}

/// Meta heard it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HeartbeatSeen {
    /// A newer view than the node's, if there is one.
    pub view: Option<ClusterView>,
}

/// Waits for a view newer than `after`, at most for the deadline of the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Watch {
    /// The epoch that the caller has.
    pub after: Epoch,
}

/// The view, newer than the caller's unless the time was over.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ViewChanged {
    /// The view.
    pub view: ClusterView,
}

/// Everything that a person wants to see at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClusterStatus {}

/// The state of the store.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The cluster.
    pub view: ClusterView,
    /// What each node says of itself; absent if it did not answer in time.
    pub nodes: Vec<NodeStatus>,
    /// What each group's leader says; absent groups have no leader that answers.
    pub groups: Vec<(GroupId, GroupStats)>,
    /// The grant that is out, if any: its id and the node.
    pub grant: Option<(String, NodeId)>,
}

/// What a node says of itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node.
    pub node: NodeId,
    /// The version of its program.
    pub version: String,
    /// Resident memory of its process, in bytes; 0 if unknown.
    pub memory_bytes: u64,
    /// Figures of its role.
    pub figures: Figures,
}

/// Figures by role.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Figures {
    /// It did not answer.
    None,
    /// A frontend.
    Frontend(FrontendStats),
    /// An index node.
    Index(IndexStats),
    /// A data node.
    Data(DataStats),
}

/// Figures of a frontend.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct FrontendStats {
    /// Groups that it leads.
    pub leads: u64,
    /// Replicas that it hosts.
    pub replicas: u64,
    /// Reads since the start.
    pub reads: u64,
    /// Writes since the start.
    pub writes: u64,
    /// Bytes in the block cache.
    pub cache_bytes: u64,
    /// Bytes of the log on its volume.
    pub log_bytes: u64,
    /// Room on its volume.
    pub free_bytes: u64,
}

/// Proves that the store works: [`crate::group::ProbeGroup`] in every group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Probe {}

/// The store works.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Probed {
    /// Groups that were probed.
    pub groups: u32,
    /// The highest version seen.
    pub version: Version,
}

/// May this node be stopped? One grant is out at a time (protocols §10.5).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CanStop {
    /// Names the stop; asking again with the same id is the same grant.
    pub grant: String,
    /// The node.
    pub node: NodeId,
}

/// Whether the node may be stopped.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StopGranted {
    /// It may; end the grant when it is back.
    Granted,
    /// Not now, because of these.
    Refused {
        /// One sentence each.
        reasons: Vec<String>,
    },
}

/// Ends a grant that is not wanted any more. None out of this id: also well.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EndGrant {
    /// Its id.
    pub grant: String,
}

/// The grant is ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GrantEnded {}

/// States the intent for a node (protocols §10.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetNodeState {
    /// The node.
    pub node: NodeId,
    /// The state that it must have now, so that a late call does no harm.
    pub from: NodeState,
    /// The state to go to. `Dead` is the only one that is built so far.
    pub to: NodeState,
}

/// The state is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeStateSet {
    /// The epoch from which on it holds: the node's drain epoch.
    pub epoch: Epoch,
}

/// Tells a node's failure domain, which pods cannot learn by themselves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetNodeZone {
    /// The node.
    pub node: NodeId,
    /// Its zone.
    pub zone: String,
}

/// The zone is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeZoneSet {}

/// May the volume of this dead node be thrown away? From then on its id can never register again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReleaseVolume {
    /// The node.
    pub node: NodeId,
}

/// Whether the volume is released.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum VolumeReleased {
    /// It may be thrown away.
    Released,
    /// Not now, because of these.
    Refused {
        /// One sentence each.
        reasons: Vec<String>,
    },
}

/// Flushes every group, and on request compacts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FlushStore {
    /// Also compact everything into the last run.
    pub compact: bool,
}

/// Flushed, and compacted if asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoreFlushed {
    /// Live tables now.
    pub tables: u64,
    /// Their bytes, counted once.
    pub table_bytes: u64,
}
