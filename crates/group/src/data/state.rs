//! The state of a data group, and the way of an entry through it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lamina_engine::Memtable;
use lamina_engine::tree::{TableRecord, Tree};
use lamina_types::{
    GroupId, KeyRange, Level, LogIndex, NodeId, Reign, ShardId, SnapshotId, TableId, TabletId, Version,
};
use serde::{Deserialize, Serialize};

use super::config::GroupConfig;
use super::entry::{BeginReign, Entry, SetBan, SetConfig, SetLevel, Tick};
use super::outcome::{Outcome, Refusal};
use super::stop::StopReason;
use super::view::{Ban, GroupView, Pin, TabletState, TabletView};
use super::window::Window;

/// What a group is given when it is created: equal on all replicas, because it comes from the one entry of the meta
/// group that creates it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct InitialGroup {
    /// The configuration.
    pub config: GroupConfig,
    /// The first tablet, if the group begins with one; its id is (group, 0).
    pub tablet: Option<(KeyRange, ShardId)>,
    /// The bans in force, so that a group that is created late knows them.
    pub bans: BTreeMap<NodeId, Ban>,
}

/// The replicated state of a data group. Changed by [`DataGroup::apply`] alone.
#[derive(Debug)]
pub struct DataGroup {
    pub(super) group: GroupId,
    pub(super) applied: LogIndex,
    pub(super) level: Level,
    pub(super) reign: Reign,
    pub(super) last_version: Version,
    pub(super) read_floor: Version,
    pub(super) config: Arc<GroupConfig>,
    pub(super) pins: Arc<BTreeMap<SnapshotId, Pin>>,
    pub(super) bans: Arc<BTreeMap<NodeId, Ban>>,
    /// Ascending by range, disjoint.
    pub(super) tablets: Arc<Vec<Arc<TabletView>>>,
    /// One for each tablet. Apart from the tablet, because it changes with each write and no reader needs it.
    pub(super) windows: BTreeMap<TabletId, Arc<Window>>,
    /// Exactly the tables that views of tablets name.
    pub(super) tables: Arc<BTreeMap<TableId, Arc<TableRecord>>>,
}

impl DataGroup {
    /// The state before the first entry.
    pub fn new(group: GroupId, initial: InitialGroup) -> DataGroup {
        let id = TabletId { group, index: 0 };
        let first = initial.tablet.map(|(range, shard)| TabletView {
            id,
            range,
            generation: 0,
            state: TabletState::Active,
            shard,
            adopted_floor: Version::ZERO,
            last_flush: LogIndex::ZERO,
            active: Arc::new(Memtable::new()),
            memory: Arc::new([]),
            tree: Tree::new(),
        });
        DataGroup {
            group,
            applied: LogIndex::ZERO,
            level: Level::FIRST,
            reign: Reign::ZERO,
            last_version: Version::ZERO,
            read_floor: Version::ZERO,
            config: Arc::new(initial.config),
            pins: Arc::default(),
            bans: Arc::new(initial.bans),
            windows: first.iter().map(|tablet| (tablet.id, Arc::default())).collect(),
            tablets: Arc::new(first.into_iter().map(Arc::new).collect()),
            tables: Arc::default(),
        }
    }

    /// The group's id.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The index of the last entry that is in the state.
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// Applies the entry at `index`.
    ///
    /// # Errors
    /// The replica must stop: see [`StopReason`]. The state is as before the entry, or must not be used any more.
    pub fn apply(&mut self, index: LogIndex, entry: Bytes) -> Result<Outcome, StopReason> {
        let entry = Entry::decode(entry).map_err(|why| StopReason::Entry { index, why })?;
        self.apply_entry(index, entry)
    }

    /// Applies an entry that was decoded already.
    ///
    /// # Errors
    /// As [`DataGroup::apply`].
    pub fn apply_entry(&mut self, index: LogIndex, entry: Entry) -> Result<Outcome, StopReason> {
        if index <= self.applied {
            return Err(StopReason::Order { index, applied: self.applied });
        }
        let outcome = match entry {
            Entry::Writes(writes) => Ok(Outcome::Writes(self.apply_writes(index, writes)?)),
            Entry::BeginReign(entry) => Ok(self.begin_reign(index, entry)),
            Entry::Tick(entry) => Ok(self.tick(index, entry)?),
            Entry::PinSnapshot(entry) => self.pin(index, entry)?,
            Entry::UnpinSnapshots(entry) => Ok(self.unpin(&entry)),
            Entry::RaiseFloor(entry) => self.raise_floor(entry),
            Entry::RotateMemtable(entry) => self.rotate(index, entry),
            Entry::CommitFlush(entry) => self.commit_flush(index, entry),
            Entry::CommitCompaction(entry) => self.commit_compaction(entry),
            Entry::SetCopies(entry) => self.set_copies(entry),
            Entry::SplitTablet(entry) => self.split(index, entry),
            Entry::SetBan(entry) => self.set_ban(entry),
            Entry::SetShard(entry) => self.set_shard(entry),
            Entry::SetConfig(entry) => Ok(self.set_config(entry)),
            Entry::SetLevel(entry) => self.set_level(index, entry)?,
        };
        self.applied = index;
        Ok(outcome.unwrap_or_else(Outcome::Refused))
    }

    /// Says that everything up to `index` was applied, entries that hold nothing for a group included.
    pub fn advance(&mut self, index: LogIndex) {
        self.applied = self.applied.max(index);
    }

    /// The present state for readers. Cheap: counters only, whatever the size of the state.
    pub fn view(&self) -> Arc<GroupView> {
        Arc::new(GroupView {
            group: self.group,
            applied: self.applied,
            last_version: self.last_version,
            read_floor: self.read_floor,
            reign: self.reign,
            level: self.level,
            tablets: Arc::clone(&self.tablets),
            tables: Arc::clone(&self.tables),
            pins: Arc::clone(&self.pins),
            bans: Arc::clone(&self.bans),
            config: Arc::clone(&self.config),
        })
    }

    /// Rule G2: an entry of another reign has no effect.
    pub(super) fn check_reign(&self, reign: Reign) -> Result<(), Refusal> {
        if reign == self.reign { Ok(()) } else { Err(Refusal::StaleReign { current: self.reign }) }
    }

    /// The last version moves to `to`, never back.
    pub(super) fn move_clock(&mut self, index: LogIndex, to: Version) -> Result<(), StopReason> {
        if to == Version::MAX {
            return Err(StopReason::Versions { index });
        }
        self.last_version = self.last_version.max(to);
        Ok(())
    }

    fn begin_reign(&mut self, index: LogIndex, _: BeginReign) -> Outcome {
        self.reign = Reign::from(index);
        Outcome::ReignBegun { reign: self.reign }
    }

    fn tick(&mut self, index: LogIndex, tick: Tick) -> Result<Outcome, StopReason> {
        self.move_clock(index, tick.hint)?;
        Ok(Outcome::Ticked { last_version: self.last_version })
    }

    fn set_ban(&mut self, SetBan { node, epoch, banned }: SetBan) -> Result<Outcome, Refusal> {
        if self.bans.get(&node).is_some_and(|ban| ban.epoch >= epoch) {
            return Err(Refusal::BanNotNewer { node });
        }
        Arc::make_mut(&mut self.bans).insert(node, Ban { epoch, banned });
        Ok(Outcome::BanSet)
    }

    pub(super) fn is_banned(&self, node: NodeId) -> bool {
        self.bans.get(&node).is_some_and(|ban| ban.banned)
    }

    fn set_config(&mut self, entry: SetConfig) -> Outcome {
        self.config = Arc::new(entry.config);
        Outcome::ConfigSet
    }

    fn set_level(
        &mut self,
        index: LogIndex,
        entry: SetLevel,
    ) -> Result<Result<Outcome, Refusal>, StopReason> {
        if Some(entry.level.0) != self.level.0.checked_add(1) {
            return Ok(Err(Refusal::LevelNotNext { current: self.level }));
        }
        if entry.level > Level::HIGHEST {
            return Err(StopReason::Level { index, level: entry.level });
        }
        self.level = entry.level;
        Ok(Ok(Outcome::LevelSet { level: self.level }))
    }
}
