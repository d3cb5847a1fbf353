//! A group with the least of a leader and of data nodes around it: proposals go straight into the log, tables are
//! lists of entries.

use std::collections::BTreeMap;

use bytes::Bytes;
use lamina_engine::{Cursor, Entry as Stored, Value, cmp_entries};
use lamina_types::{
    ClientToken, CopyStamp, GroupId, Incarnation, KeyRange, LogIndex, NodeId, Reign, RequestId, ShardId,
    TableId, TabletId, Version,
};

use super::super::entry::*;
use super::super::*;
use lamina_engine::tree::{TableRecord, TableView};

pub const GROUP: GroupId = GroupId(3);
pub const FIRST: TabletId = TabletId { group: GROUP, index: 0 };

/// A key in the default keyspace.
pub fn key(name: &str) -> Bytes {
    [&[0, 0, 0, 1], name.as_bytes()].concat().into()
}

pub fn ms(ms: u64) -> Version {
    Version::from_ms(ms)
}

pub fn node(n: u128) -> NodeId {
    NodeId(n)
}

pub fn copies(nodes: &[u128]) -> BTreeMap<NodeId, CopyStamp> {
    nodes.iter().map(|n| (node(*n), CopyStamp { reign: Reign(1), n: 1 })).collect()
}

pub fn request(id: u128, base: Version, seq: u64, done_below: u64) -> Option<RequestId> {
    Some(RequestId { token: ClientToken { id, base }, seq, done_below })
}

pub fn put(name: &str, value: &str) -> ClientWrite {
    ClientWrite::new(vec![Operation::put(key(name), value.to_owned())])
}

/// What a reader finds: the version and the value, if the key has one.
pub type Found = Option<(Version, Bytes)>;

pub struct Rig {
    pub group: DataGroup,
    pub index: u64,
    /// What is in the tables, live and left. Kept apart from the state, as data nodes do.
    pub tables: BTreeMap<TableId, Vec<Stored>>,
    pub n: u32,
}

impl Rig {
    /// A group that has the default keyspace from `b` on, in its first reign.
    pub fn new(config: GroupConfig) -> Rig {
        let tablet = Some((KeyRange::new(key("b"), Some(Bytes::from_static(&[0, 0, 0, 2]))), ShardId(5)));
        let group = DataGroup::new(GROUP, InitialGroup { config, tablet, bans: BTreeMap::new() });
        let mut rig = Rig { group, index: 0, tables: BTreeMap::new(), n: 0 };
        rig.begin_reign();
        rig
    }

    pub fn begin_reign(&mut self) -> Reign {
        match self.apply(BeginReign { node: node(1), incarnation: Incarnation(1) }) {
            Outcome::ReignBegun { reign } => reign,
            other => panic!("{other:?}"),
        }
    }

    pub fn apply(&mut self, entry: impl Into<Entry>) -> Outcome {
        self.index += 1;
        let bytes = entry.into().encode().unwrap();
        self.group.apply(LogIndex(self.index), bytes).unwrap()
    }

    pub fn refusal(&mut self, entry: impl Into<Entry>) -> Refusal {
        let before = self.group.digest();
        let refusal = self.apply(entry).accepted().expect_err("it was accepted");
        assert_eq!(self.group.digest(), before, "a refused entry changed the state");
        refusal
    }

    pub fn write_at(&mut self, hint: Version, write: ClientWrite) -> WriteOutcome {
        match self.apply(Writes { hint, writes: vec![write] }) {
            Outcome::Writes(outcomes) => outcomes[0],
            other => panic!("{other:?}"),
        }
    }

    pub fn write(&mut self, write: ClientWrite) -> WriteOutcome {
        self.write_at(Version::ZERO, write)
    }

    pub fn view(&self) -> std::sync::Arc<GroupView> {
        self.group.view()
    }

    pub fn reign(&self) -> Reign {
        self.view().reign
    }

    pub fn rotate(&mut self, tablet: TabletId) -> Outcome {
        let reign = self.reign();
        self.apply(RotateMemtable { reign, tablet })
    }

    pub fn raise_floor(&mut self, to: Version) -> Version {
        let reign = self.reign();
        self.apply(RaiseFloor { reign, to });
        self.view().read_floor
    }

    pub fn split(&mut self, tablet: TabletId, at: &Bytes) -> Outcome {
        let reign = self.reign();
        let generation = self.view().tablet(tablet).unwrap().generation;
        self.apply(SplitTablet { reign, tablet, generation, at: at.clone() })
    }

    pub fn flush(&mut self, tablet: TabletId) -> Outcome {
        let entry = self.flush_entry(tablet).expect("nothing to flush");
        self.apply(entry)
    }

    /// What a leader proposes when it has written the oldest memory view of `tablet` to data nodes.
    pub fn flush_entry(&mut self, tablet: TabletId) -> Option<CommitFlush> {
        let view = self.view();
        let oldest = view.tablet(tablet)?.oldest_memory()?.clone();
        let entries = drop_versions(entries_of(&oldest), view.read_floor, false);
        let tables = self.build(entries);
        Some(CommitFlush {
            reign: view.reign,
            tablet,
            rotated_at: oldest.rotated_at,
            range: oldest.range,
            floor: view.read_floor,
            tables,
        })
    }

    /// What a leader proposes when a data node has merged the views of these runs.
    pub fn compact_entry(
        &mut self,
        tablet: TabletId,
        newest: usize,
        oldest: usize,
    ) -> Option<CommitCompaction> {
        let view = self.view();
        let seen = view.tablet(tablet)?;
        let runs = seen.tree.runs().get(newest..=oldest)?;
        let inputs: Vec<TableView> = runs.iter().flat_map(|run| run.views()).cloned().collect();
        let rectangle = seen.tree.rectangle(&inputs).ok()?;
        let bottom = seen.tree.below(&rectangle).is_none();
        let mut entries: Vec<Stored> = inputs.iter().flat_map(|input| self.entries_in(input)).collect();
        entries.sort_by(|a, b| cmp_entries((&a.key, a.version), (&b.key, b.version)));
        let outputs = self.build(drop_versions(entries, view.read_floor, bottom));
        Some(CommitCompaction { reign: view.reign, tablet, inputs, outputs, floor: view.read_floor, bottom })
    }

    /// What counts of a table in a view.
    pub fn entries_in(&self, view: &TableView) -> Vec<Stored> {
        let stored = self.tables.get(&view.table).expect("a view names a table that was never written");
        stored.iter().filter(|entry| view.range.contains(&entry.key)).cloned().collect()
    }

    /// One table, or two if there are many keys.
    pub fn build(&mut self, entries: Vec<Stored>) -> Vec<NewTable> {
        let middle = entries.get(entries.len() / 2).map(|entry| entry.key.clone());
        let cut = match middle {
            Some(key) if entries.len() > 6 => entries.partition_point(|entry| entry.key < key),
            _ => entries.len(),
        };
        let (low, high) = entries.split_at(cut);
        let parts = [low.to_vec(), high.to_vec()];
        parts.into_iter().filter(|part| !part.is_empty()).map(|part| self.table(part, &[1, 2, 3])).collect()
    }

    /// A sealed table of these entries, of the present reign.
    pub fn table(&mut self, entries: Vec<Stored>, nodes: &[u128]) -> NewTable {
        self.n += 1;
        let table = TableId { group: GROUP, reign: self.reign(), n: self.n };
        let record = TableRecord { copies: copies(nodes), ..record(table, &entries) };
        self.tables.insert(table, entries);
        NewTable { table, record }
    }

    /// Reads as a leader does: memory, then views of tables, newest first.
    pub fn get(&self, view: &GroupView, key: &[u8], at: Version) -> Found {
        let entry = self.newest(view, key, at)?;
        entry.value.visible_at(at).map(|bytes| (entry.version, bytes.clone()))
    }

    fn newest(&self, view: &GroupView, key: &[u8], at: Version) -> Option<Stored> {
        let tablet = view.tablet_of(key)?;
        tablet.memory_get(key, at).or_else(|| {
            tablet.tree.candidates(key).find_map(|candidate| {
                self.tables[&candidate.table].iter().find(|e| e.key == key && e.version <= at).cloned()
            })
        })
    }

    /// A condition as a leader makes it that looks at `view`.
    pub fn condition(&self, view: &GroupView, key: &Bytes, expected: Expected) -> Condition {
        let seen = self.newest(view, key, view.last_version).and_then(|entry| match entry.value {
            Value::Tombstone => None,
            Value::Put { expires_ms, .. } => Some(Seen { version: entry.version, expires_ms }),
        });
        Condition { key: key.clone(), expected, seen }
    }

    /// The group as a process finds it that starts again: checkpoint only.
    pub fn restart(&mut self) {
        let mut chunks = self.group.freeze().chunks();
        self.group = DataGroup::restore(GROUP, &mut chunks).unwrap();
        self.group.advance(LogIndex(self.index));
    }
}

/// What counts of a memtable in a view.
pub fn entries_of(view: &MemoryView) -> Vec<Stored> {
    let mut cursor = view.memtable.cursor(view.range.clone());
    std::iter::from_fn(|| {
        cursor.next();
        cursor.to_entry()
    })
    .collect()
}

/// The rule of §7.3, written down once more.
pub fn drop_versions(entries: Vec<Stored>, floor: Version, bottom: bool) -> Vec<Stored> {
    let mut kept: Vec<Stored> = Vec::new();
    let mut decided: Option<Bytes> = None;
    for mut entry in entries {
        if entry.version > floor {
            kept.push(entry);
            continue;
        }
        if decided.as_ref() == Some(&entry.key) {
            continue;
        }
        decided = Some(entry.key.clone());
        if entry.value.visible_at(floor).is_none() {
            if bottom {
                continue;
            }
            entry.value = Value::Tombstone;
        }
        kept.push(entry);
    }
    kept
}

fn record(table: TableId, entries: &[Stored]) -> TableRecord {
    let versions = entries.iter().map(|entry| entry.version);
    TableRecord {
        origin: table,
        file_bytes: 4096,
        index_bytes: 128,
        smallest: entries.first().unwrap().key.clone(),
        largest: entries.last().unwrap().key.clone(),
        entries: entries.len() as u64,
        tombstones: 0,
        expiring: 0,
        lowest: versions.clone().min().unwrap(),
        highest: versions.max().unwrap(),
        oldest_expiry_ms: None,
        level: 0,
        footer_crc: 7,
        index_crc: 8,
        copies: BTreeMap::new(),
        copies_rev: 0,
    }
}
