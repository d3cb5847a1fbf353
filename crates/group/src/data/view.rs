//! What readers see: one state, for ever. Taking a view costs a few counters.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamina_engine::tree::{TableRecord, Tree};
use lamina_engine::{Entry, Memtable};
use lamina_types::{
    Epoch, Error, GroupId, KeyRange, Level, LogIndex, NodeId, Reason, Reign, ShardId, SnapshotId, TableId,
    TabletId, Version,
};
use serde::{Deserialize, Serialize};

use super::config::GroupConfig;

/// One state of the group. A memtable or table that it names is neither freed nor deleted by this process.
///
/// Memtables go on being written; a reader sees its state because it reads at or below [`GroupView::last_version`].
#[derive(Clone, Debug)]
pub struct GroupView {
    /// The group.
    pub group: GroupId,
    /// Every entry up to here is in the state.
    pub applied: LogIndex,
    /// The last version that was given. Newest reads read at it.
    pub last_version: Version,
    /// Below it nothing is kept.
    pub read_floor: Version,
    /// The reign.
    pub reign: Reign,
    /// The level.
    pub level: Level,
    /// The tablets, ascending by range. Where there is none, another group owns the keys.
    pub tablets: Arc<Vec<Arc<TabletView>>>,
    /// The live tables.
    pub tables: Arc<BTreeMap<TableId, Arc<TableRecord>>>,
    /// The pinned snapshots.
    pub pins: Arc<BTreeMap<SnapshotId, Pin>>,
    /// The last word on each data node that was ever banned.
    pub bans: Arc<BTreeMap<NodeId, Ban>>,
    /// The configuration.
    pub config: Arc<GroupConfig>,
}

/// One tablet.
#[derive(Clone, Debug)]
pub struct TabletView {
    /// Its name.
    pub id: TabletId,
    /// Its keys.
    pub range: KeyRange,
    /// Raised whenever the range changes.
    pub generation: u64,
    /// What may be done with it.
    pub state: TabletState,
    /// The index shard that its tables belong to.
    pub shard: ShardId,
    /// Below it nothing is kept of this tablet, whatever the group's floor: it was adopted with this floor.
    pub adopted_floor: Version,
    /// The index of the last entry that moved something from memory to tables.
    pub last_flush: LogIndex,
    /// Is written to.
    pub active: Arc<Memtable>,
    /// Wait to be flushed, newest first.
    pub memory: Arc<[MemoryView]>,
    /// The tables.
    pub tree: Tree,
}

/// What may be done with a tablet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum TabletState {
    /// Reads, writes, flushes, compactions, splits.
    #[default]
    Active,
}

/// An immutable memtable, and the range for which it counts.
#[derive(Clone, Debug)]
pub struct MemoryView {
    /// The index of the entry that made it immutable: its name within the tablet.
    pub rotated_at: LogIndex,
    /// What the memtable holds outside of this range does not exist; another tablet may view it.
    pub range: KeyRange,
    /// The entries.
    pub memtable: Arc<Memtable>,
}

/// A version that is kept readable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pin {
    /// The version.
    pub at: Version,
    /// It may be given up when the group's clock has reached this millisecond.
    pub expires_ms: u64,
}

/// The last word on a data node (§10.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ban {
    /// The drain epoch of the word.
    pub epoch: Epoch,
    /// Whether new copies on the node are forbidden.
    pub banned: bool,
}

/// Why a version cannot be read (§6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VersionRefused {
    /// It is not kept any more.
    #[error("the version lies below {floor}, what is older is not kept; start again with a newer one")]
    Expired {
        /// The lowest version that is.
        floor: Version,
    },
    /// It was not given yet.
    #[error("the version lies ahead of the group's clock {last}")]
    Ahead {
        /// The last version that was given.
        last: Version,
    },
}

impl From<VersionRefused> for Error {
    fn from(refused: VersionRefused) -> Error {
        let reason = match refused {
            VersionRefused::Expired { .. } => Reason::SnapshotExpired,
            VersionRefused::Ahead { .. } => Reason::VersionInFuture,
        };
        Error::new(reason, refused.to_string())
    }
}

impl GroupView {
    /// The tablet that has `key`; `None`: another group owns it.
    pub fn tablet_of(&self, key: &[u8]) -> Option<&Arc<TabletView>> {
        tablet_of(&self.tablets, key)
    }

    /// The tablet of this name.
    pub fn tablet(&self, id: TabletId) -> Option<&Arc<TabletView>> {
        self.tablets.iter().find(|tablet| tablet.id == id)
    }

    /// The tablets that overlap `range`, ascending.
    pub fn tablets_over(&self, range: &KeyRange) -> impl Iterator<Item = &Arc<TabletView>> {
        self.tablets.iter().filter(move |tablet| tablet.range.overlaps(range))
    }

    /// Whether `at` may be read in `tablet` of this view.
    ///
    /// # Errors
    /// It lies below the floors or above the last version.
    pub fn check_version(&self, tablet: &TabletView, at: Version) -> Result<(), VersionRefused> {
        let floor = self.read_floor.max(tablet.adopted_floor);
        if at < floor {
            return Err(VersionRefused::Expired { floor });
        }
        if at > self.last_version {
            return Err(VersionRefused::Ahead { last: self.last_version });
        }
        Ok(())
    }

    /// What is known of a live table; `None`: it is not live.
    pub fn table(&self, table: TableId) -> Option<&Arc<TableRecord>> {
        self.tables.get(&table)
    }

    /// Whether some view of some tablet names the table.
    pub fn is_live(&self, table: TableId) -> bool {
        self.tables.contains_key(&table)
    }

    /// The live tables, ascending.
    pub fn live_tables(&self) -> impl Iterator<Item = (TableId, &Arc<TableRecord>)> {
        self.tables.iter().map(|(table, record)| (*table, record))
    }

    /// The live tables with a copy on `node`, ascending.
    pub fn tables_on(&self, node: NodeId) -> impl Iterator<Item = (TableId, &Arc<TableRecord>)> {
        self.live_tables().filter(move |(_, record)| record.copies.contains_key(&node))
    }

    /// The live tables that tablets of an index shard name, ascending, each once.
    pub fn tables_of_shard(&self, shard: ShardId) -> Vec<TableId> {
        let tablets = self.tablets.iter().filter(|tablet| tablet.shard == shard);
        let mut tables: Vec<TableId> = tablets.flat_map(|tablet| tablet.tree.tables()).collect();
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    /// Whether new copies on the data node are forbidden.
    pub fn is_banned(&self, node: NodeId) -> bool {
        self.bans.get(&node).is_some_and(|ban| ban.banned)
    }

    /// The lowest pinned version.
    pub fn lowest_pin(&self) -> Option<Version> {
        self.pins.values().map(|pin| pin.at).min()
    }

    /// The pins that have expired by the group's clock: for `UnpinSnapshots` by expiry.
    pub fn expired_pins(&self) -> Vec<SnapshotId> {
        let now = self.last_version.ms();
        self.pins.iter().filter(|(_, pin)| now >= pin.expires_ms).map(|(snapshot, _)| *snapshot).collect()
    }

    /// Where the leader should raise the floor to (§6.2): min(lowest pin, lowest open scan, last version − `keep_ms`);
    /// never below the floor that stands.
    pub fn floor_target(&self, lowest_open_scan: Option<Version>, keep_ms: u64) -> Version {
        let kept = self.last_version.minus_ms(keep_ms);
        let pinned = self.lowest_pin().unwrap_or(Version::MAX);
        kept.min(pinned).min(lowest_open_scan.unwrap_or(Version::MAX)).max(self.read_floor)
    }

    /// Bytes of all memtables, each counted once.
    pub fn memtable_bytes(&self) -> u64 {
        let mut seen: Vec<*const Memtable> = Vec::new();
        let mut bytes = 0;
        for memtable in self.tablets.iter().flat_map(|tablet| tablet.memtables()) {
            let at = Arc::as_ptr(memtable);
            if !seen.contains(&at) {
                seen.push(at);
                bytes += memtable.bytes() as u64;
            }
        }
        bytes
    }
}

impl TabletView {
    /// The newest entry of `key` in memory at or below `at`, tombstones and expired values included; `None`: the
    /// tables decide. The key must lie in the tablet.
    pub fn memory_get(&self, key: &[u8], at: Version) -> Option<Entry> {
        let older = self.memory.iter().filter(|view| view.range.contains(key));
        self.active.get(key, at).or_else(|| older.map(|view| &view.memtable).find_map(|m| m.get(key, at)))
    }

    /// The newest entry of `key` in memory.
    pub fn memory_newest(&self, key: &[u8]) -> Option<Entry> {
        self.memory_get(key, Version::MAX)
    }

    /// The memory view that must be flushed next: the oldest.
    pub fn oldest_memory(&self) -> Option<&MemoryView> {
        self.memory.last()
    }

    /// All memtables, newest first.
    pub fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        std::iter::once(&self.active).chain(self.memory.iter().map(|view| &view.memtable))
    }

    /// Bytes of its memtables. One that is shared with the other part of a split counts in both.
    pub fn memtable_bytes(&self) -> u64 {
        self.memtables().map(|memtable| memtable.bytes() as u64).sum()
    }
}

/// The tablet that has `key` among tablets ascending by range.
pub(super) fn tablet_of<'a>(tablets: &'a [Arc<TabletView>], key: &[u8]) -> Option<&'a Arc<TabletView>> {
    let behind = tablets.partition_point(|tablet| tablet.range.start.as_ref() <= key);
    tablets.get(behind.checked_sub(1)?).filter(|tablet| tablet.range.contains(key))
}
