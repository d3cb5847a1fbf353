//! Index nodes and the meta leader → the leader of a group. Every answer comes after a leadership round.

use lamina_types::{Epoch, GroupId, KeyRange, NodeId, Reign, ShardId, TableId, TabletId, Version};
use serde::{Deserialize, Serialize};

crate::port::port! {
    /// A frontend that leads groups.
    GroupPeer: GroupRequest => GroupAnswer {
        ListShard => ShardListed,
        GroupStat => GroupStats,
        ProbeGroup => GroupProbed,
        GroupVersion => GroupVersionIs,
        PinVersion => VersionPinned,
        UnpinVersion => VersionUnpinned,
        CompactGroup => GroupCompacted,
    }
}

/// The live and open tables of an index shard in one group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListShard {
    /// The group.
    pub group: GroupId,
    /// The shard.
    pub shard: ShardId,
}

/// What an index node must have of a shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShardListed {
    /// The tables.
    pub tables: Vec<ShardTable>,
    /// The list is whole for ids below this mark: a resident part of this group below it that is not listed is dead.
    pub mark: (Reign, u32),
    /// The map epoch of the leader: it installs new parts by this map or a newer one.
    pub epoch: Epoch,
}

/// One table of a shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShardTable {
    /// The table.
    pub table: TableId,
    /// The bytes of its index part.
    pub index_bytes: u64,
    /// The crc32 of its index part.
    pub index_crc: u32,
    /// Who has its file.
    pub copies: Vec<NodeId>,
}

/// Asks a group how it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupStat {
    /// The group.
    pub group: GroupId,
    /// Also count what names these nodes.
    pub nodes: Vec<NodeId>,
}

/// How a group is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GroupStats {
    /// The leader.
    pub leader: NodeId,
    /// Its reign.
    pub reign: Reign,
    /// The last version given.
    pub last_version: Version,
    /// The last log index applied.
    pub applied: u64,
    /// Voters that are within one second of the commit index.
    pub caught_up: Vec<NodeId>,
    /// All voters.
    pub voters: Vec<NodeId>,
    /// The tablets.
    pub tablets: Vec<TabletStat>,
    /// Live tables.
    pub tables: u64,
    /// Bytes of live tables, counted once.
    pub table_bytes: u64,
    /// Live tables with fewer sealed copies than the replication factor.
    pub under_replicated: u64,
    /// Of the tables that the named nodes hold: how many would have no other copy.
    pub only_on_named: u64,
    /// How many live tables name one of the named nodes.
    pub naming: u64,
    /// Of the live tables that name one of the named nodes: how many have a copy elsewhere that was read and verified
    /// since each of these nodes was declared dead. None, where a named node is not known to be dead.
    pub verified: u64,
    /// Bytes of memtables.
    pub memtable_bytes: u64,
    /// Their budget.
    pub memtable_bytes_max: u64,
    /// Writes per second, lately.
    pub writes_per_second: f64,
    /// The 99th percentile of the time to an acknowledged write, lately, in microseconds.
    pub write_p99_us: u64,
}

/// One tablet.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TabletStat {
    /// The tablet.
    pub tablet: TabletId,
    /// Its keys.
    pub range: KeyRange,
    /// Its index shard.
    pub shard: ShardId,
    /// Sorted runs.
    pub runs: u32,
    /// Views of tables.
    pub tables: u32,
    /// Bytes of its tables.
    pub table_bytes: u64,
    /// Bytes of its memtables.
    pub memtable_bytes: u64,
}

/// Proves that a group works: a committed `Tick`, a leadership round, and one lookup and block read if it has tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProbeGroup {
    /// The group.
    pub group: GroupId,
}

/// The group works.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupProbed {
    /// The index of the committed entry.
    pub index: u64,
    /// A block of a table was read and verified.
    pub table_read: bool,
}

/// Asks for the last version of a group after a leadership round: the first step of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupVersion {
    /// The group.
    pub group: GroupId,
}

/// The last version of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupVersionIs {
    /// The version.
    pub version: Version,
}

/// Pins a version in one group: the second step of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PinVersion {
    /// The group.
    pub group: GroupId,
    /// The snapshot.
    pub snapshot: lamina_types::SnapshotId,
    /// What it reads.
    pub at: Version,
    /// How long it stands.
    pub ttl_ms: u64,
}

/// The version is pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VersionPinned {
    /// What the snapshot reads: the stored answer if it stood already.
    pub at: Version,
    /// It ends at this millisecond of the group's clock.
    pub expires_ms: u64,
}

/// Takes a pin back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnpinVersion {
    /// The group.
    pub group: GroupId,
    /// The snapshot.
    pub snapshot: lamina_types::SnapshotId,
}

/// The pin is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VersionUnpinned {}

/// Flushes the memtables of a group, and on request compacts everything into the last run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CompactGroup {
    /// The group.
    pub group: GroupId,
    /// Also compact.
    pub compact: bool,
}

/// Flushed, and compacted if asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupCompacted {
    /// Live tables now.
    pub tables: u64,
    /// Their bytes.
    pub table_bytes: u64,
}
