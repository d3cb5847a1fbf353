//! Log entries of the meta group, and their bytes (`docs/formats/meta.md`).

use bytes::Bytes;
use lamina_peers::admin::{Bootstrap, FirstMember, RegisterNode};
use lamina_peers::view::NodeState;
use lamina_types::{
    ClusterId, Epoch, GroupId, Incarnation, KeyRange, Level, NodeId, Reign, ReplicaId, Role, Settings,
    ShardId,
};
use serde::{Deserialize, Serialize};

use super::stop::MetaStop;

/// The format of entries, written before each: bound to the level of the store.
pub const ENTRY_FORMAT: u16 = 1;

/// An entry of the meta group's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MetaEntry {
    /// The first entry of each leader. Its index is the new reign.
    BeginReign {
        /// The leader.
        node: NodeId,
        /// Its start.
        incarnation: Incarnation,
    },
    /// Everything else. Of another reign than the present one it has no effect (rule G2).
    InReign {
        /// The proposer's reign.
        reign: Reign,
        /// What shall change.
        change: Change,
    },
}

/// What an entry shall change. Each has its preconditions; where they do not hold, nothing changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    /// The store begins, by its bootstrap record (invariant B1).
    Found(Found),
    /// A process has started.
    Register(Registration),
    /// Joining → Active: the registered incarnation answers.
    Activate {
        /// The node.
        node: NodeId,
        /// The incarnation that answered.
        incarnation: Incarnation,
    },
    /// Active, Joining, Draining → Dead.
    DeclareDead {
        /// The node.
        node: NodeId,
        /// The state that the caller believes it to be in.
        from: NodeState,
        /// How long the meta leader has not heard of it, in milliseconds.
        unseen_ms: u64,
    },
    /// Dead, Drained → Removed: nothing names the node any more.
    Remove {
        /// The node.
        node: NodeId,
        /// The epoch of the state for which that was certified.
        epoch: Epoch,
    },
    /// Tells a node's failure domain; it stands above what the node says itself.
    SetZone {
        /// The node.
        node: NodeId,
        /// Its zone.
        zone: String,
    },
    /// A hint: the meta leader hears of the node, or does not any more.
    SetSeen {
        /// The node.
        node: NodeId,
        /// The start that was heard of, or not.
        incarnation: Incarnation,
        /// Heard of.
        seen: bool,
    },
    /// A new group with its first members.
    CreateGroup {
        /// The group: the next number.
        group: GroupId,
        /// Frontends; their replica ids follow from the entry's index.
        members: Vec<NodeId>,
        /// The keys of its first tablet, if it begins with one.
        range: Option<KeyRange>,
    },
    /// One more replica of a group.
    PlaceReplica {
        /// The group.
        group: GroupId,
        /// The frontend.
        node: NodeId,
        /// A replica that leaves in exchange, for ever.
        replaces: Option<ReplicaId>,
    },
    /// A replica that others replace is in no configuration any more: its node deletes its files.
    DropReplica {
        /// The group.
        group: GroupId,
        /// The replica.
        replica: ReplicaId,
    },
    /// A hint: who leads a group.
    LeaderSeen {
        /// The group.
        group: GroupId,
        /// The leader's term.
        term: u64,
        /// The leader.
        leader: NodeId,
    },
    /// A hint: the keys of a group's tablets.
    TabletHints {
        /// The group.
        group: GroupId,
        /// The term of the leader who said so.
        term: u64,
        /// The keys.
        ranges: Vec<KeyRange>,
    },
    /// The first shard map.
    AssignShards {
        /// For each shard who serves it, preferred first.
        map: Vec<Vec<NodeId>>,
    },
    /// Replicas of shards go from lost nodes to others.
    ReplaceShardReplicas {
        /// The epoch of the map for which this was planned.
        epoch: Epoch,
        /// The replacements.
        changes: Vec<ShardReplacement>,
    },
    /// An index node has every part of these shards.
    ShardsComplete {
        /// The node.
        node: NodeId,
        /// The start that reported it.
        incarnation: Incarnation,
        /// The view by which it loaded.
        epoch: Epoch,
        /// The shards.
        shards: Vec<ShardId>,
    },
    /// An index node does not have every part of these shards any more.
    ShardsLoading {
        /// The node.
        node: NodeId,
        /// The start that reported it.
        incarnation: Incarnation,
        /// The view by which it reported.
        epoch: Epoch,
        /// The shards.
        shards: Vec<ShardId>,
    },
    /// A node may be stopped. One grant is out at a time.
    GrantStop {
        /// Names the stop.
        grant: String,
        /// The node.
        node: NodeId,
    },
    /// A grant ends.
    EndGrant {
        /// Its name.
        grant: String,
        /// Why.
        because: GrantEnd,
    },
    /// The volume of a dead node may be thrown away; its id can never register again.
    ReleaseVolume {
        /// The node.
        node: NodeId,
        /// The epoch of its death, for which the guard was asked.
        epoch: Epoch,
    },
    /// Every node supports the next level.
    RaiseLevel {
        /// The present level + 1.
        to: Level,
    },
}

/// The content of the bootstrap record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Found {
    /// The new store.
    pub cluster: ClusterId,
    /// The first members of the meta group, in order: their replica ids are 1, 2, …
    pub members: Vec<FirstMember>,
    /// What is settled for ever.
    pub settings: Settings,
}

/// What a process says of itself when it has started.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Registration {
    /// The store that it belongs to.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// What it runs.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// Where it answers.
    pub address: String,
    /// Raised and synced at this start; `None`: an index node, which is given one.
    pub incarnation: Option<Incarnation>,
    /// Random, made at this start.
    pub nonce: u64,
    /// Its failure domain; empty if unknown.
    pub zone: String,
    /// The version of its program.
    pub version: String,
    /// The highest level that its program supports.
    pub level_max: Level,
}

/// One replica of a shard goes from a lost node to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShardReplacement {
    /// The shard.
    pub shard: ShardId,
    /// Who is lost.
    pub out: NodeId,
    /// Who takes its place, loading at first.
    pub into: NodeId,
}

/// Why a grant ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum GrantEnd {
    /// Its owner does not want it any more.
    Unwanted,
    /// The node is back.
    CaughtUp {
        /// The start that has caught up.
        incarnation: Incarnation,
    },
}

impl From<Bootstrap> for Found {
    fn from(record: Bootstrap) -> Found {
        Found { cluster: record.cluster, members: record.members, settings: record.settings }
    }
}

impl Registration {
    /// The entry for what a process said to a member of `cluster`.
    pub fn new(cluster: ClusterId, said: RegisterNode) -> Registration {
        Registration {
            cluster,
            node: said.node,
            role: said.role,
            name: said.name,
            address: said.address,
            incarnation: said.incarnation,
            nonce: said.nonce,
            zone: said.zone,
            version: said.version,
            level_max: said.level_max,
        }
    }
}

impl Change {
    /// The entry of this change in a reign.
    pub fn in_reign(self, reign: Reign) -> MetaEntry {
        MetaEntry::InReign { reign, change: self }
    }

    /// The name of the change, for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Change::Found(_) => "Found",
            Change::Register(_) => "Register",
            Change::Activate { .. } => "Activate",
            Change::DeclareDead { .. } => "DeclareDead",
            Change::Remove { .. } => "Remove",
            Change::SetZone { .. } => "SetZone",
            Change::SetSeen { .. } => "SetSeen",
            Change::CreateGroup { .. } => "CreateGroup",
            Change::PlaceReplica { .. } => "PlaceReplica",
            Change::DropReplica { .. } => "DropReplica",
            Change::LeaderSeen { .. } => "LeaderSeen",
            Change::TabletHints { .. } => "TabletHints",
            Change::AssignShards { .. } => "AssignShards",
            Change::ReplaceShardReplicas { .. } => "ReplaceShardReplicas",
            Change::ShardsComplete { .. } => "ShardsComplete",
            Change::ShardsLoading { .. } => "ShardsLoading",
            Change::GrantStop { .. } => "GrantStop",
            Change::EndGrant { .. } => "EndGrant",
            Change::ReleaseVolume { .. } => "ReleaseVolume",
            Change::RaiseLevel { .. } => "RaiseLevel",
        }
    }
}

impl MetaEntry {
    /// The bytes of the entry.
    ///
    /// # Errors
    /// The encoder refused it. It never does for these types; the caller must not propose then.
    pub fn encode(&self) -> Result<Bytes, MetaStop> {
        write_tagged("a meta entry", ENTRY_FORMAT, self)
    }

    /// The inverse of [`MetaEntry::encode`].
    ///
    /// # Errors
    /// The bytes are no entry that this program knows (rule G3).
    pub fn decode(bytes: &[u8]) -> Result<MetaEntry, MetaStop> {
        read_tagged("a meta entry", ENTRY_FORMAT, bytes)
    }
}

/// Two bytes of format, little-endian, then the value in postcard.
pub(super) fn write_tagged<T: Serialize>(
    what: &'static str,
    format: u16,
    value: &T,
) -> Result<Bytes, MetaStop> {
    postcard::to_extend(value, format.to_le_bytes().to_vec())
        .map(Bytes::from)
        .map_err(|why| MetaStop::Malformed { what, why: why.to_string() })
}

/// The inverse of [`write_tagged`]. Refuses other formats, and bytes behind the end.
pub(super) fn read_tagged<T: for<'a> Deserialize<'a>>(
    what: &'static str,
    format: u16,
    bytes: &[u8],
) -> Result<T, MetaStop> {
    let malformed = |why: &str| MetaStop::Malformed { what, why: why.to_owned() };
    let (tag, body) = bytes.split_first_chunk::<2>().ok_or_else(|| malformed("it ends too early"))?;
    let found = u16::from_le_bytes(*tag);
    if found != format {
        return Err(MetaStop::Format { what, found, known: format });
    }
    let (value, rest) = postcard::take_from_bytes(body).map_err(|why| malformed(&why.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(malformed("there are bytes behind its end")) }
}
