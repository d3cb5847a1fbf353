//! Whole tablets in memory, with real memtables, blocks, index parts and merges, beside a model that a person can
//! check by eye. For tests only.

mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lamina_types::{BlockHandle, GroupId, KeyRange, Reign, TableId, TabletId, Version};

use crate::block::Block;
use crate::block::codec::Codec;
use crate::entry::Value;
use crate::filter::key_hash;
use crate::index_part::IndexPart;
use crate::memtable::Memtable;
use crate::merge::{
    Cutter, DropRules, HandleRequest, MemoryCursor, Merge, MergeInput, MergeStep, Need, ReadAhead,
};
use crate::scan::{Look, Scan, ScanSpec, Step, look};
use crate::table::{TableBuilder, TableSpec};
use crate::tree::{Refused, TableRecord, TableView, Tree};

/// One row: key, value, the version that wrote it.
pub(crate) type Row = (Bytes, Bytes, Version);

/// All tables that were ever written.
#[derive(Default)]
pub(crate) struct Shelf {
    tables: BTreeMap<TableId, (IndexPart, Bytes)>,
    pub(crate) records: BTreeMap<TableId, Arc<TableRecord>>,
    /// How small tables and blocks are.
    pub(crate) table_bytes: u64,
    pub(crate) block_bytes: usize,
}

impl Shelf {
    pub(crate) fn new(table_bytes: u64, block_bytes: usize) -> Shelf {
        Shelf { table_bytes, block_bytes, ..Shelf::default() }
    }

    pub(crate) fn handles(&self, request: &HandleRequest) -> (Vec<BlockHandle>, bool) {
        let (index, _) = &self.tables[&request.table];
        let handles = index.seek(&request.range, request.reverse, request.limit as usize);
        let exhausted = handles.len() < request.limit as usize;
        (handles, exhausted)
    }

    /// How many blocks all tables have.
    pub(crate) fn blocks(&self) -> usize {
        self.tables.values().map(|(index, _)| index.blocks() as usize).sum()
    }

    pub(crate) fn block(&self, handle: BlockHandle) -> Block {
        let (index, file) = &self.tables[&handle.table];
        let stored = file.slice(handle.offset as usize..handle.end() as usize);
        Block::decode(stored, index.origin(), handle.block).unwrap()
    }

    /// Runs a merge and writes what survives.
    pub(crate) fn write(&mut self, mut merge: Merge, level: u8) -> Vec<TableView> {
        let mut cutter = Cutter::new(self.table_bytes);
        let mut building: Option<(TableBuilder, Vec<Bytes>)> = None;
        let mut views = Vec::new();
        loop {
            match merge.step() {
                MergeStep::Entry(entry) => {
                    let bytes = building.as_ref().map_or(0, |(builder, _)| builder.data_bytes());
                    if cutter.cuts_before(&entry.key, bytes) {
                        views.extend(building.take().map(|building| self.keep(building)));
                    }
                    let id = TableId { group: GroupId(1), reign: Reign(1), n: self.tables.len() as u32 };
                    let (builder, data) = building.get_or_insert_with(|| {
                        let tablet = TabletId { group: GroupId(1), index: 1 };
                        let mut spec = TableSpec::new(id, tablet);
                        (spec.level, spec.block_bytes, spec.codec) = (level, self.block_bytes, Codec::None);
                        (TableBuilder::new(spec), Vec::new())
                    });
                    builder.add(&entry).unwrap();
                    data.extend(builder.take_data());
                }
                MergeStep::Need(needs) => {
                    assert!(!needs.is_empty());
                    for need in needs {
                        match need {
                            Need::Handles(request) => {
                                let (handles, exhausted) = self.handles(&request);
                                merge.feed_handles(&request, handles, exhausted);
                            }
                            Need::Blocks(handles) => {
                                for handle in handles.into_iter().rev() {
                                    merge.feed_block(handle, self.block(handle));
                                }
                            }
                        }
                    }
                }
                MergeStep::Done => break,
            }
        }
        views.extend(building.map(|building| self.keep(building)));
        views
    }

    fn keep(&mut self, (mut builder, mut data): (TableBuilder, Vec<Bytes>)) -> TableView {
        data.extend(builder.take_data());
        let built = builder.finish().unwrap();
        data.push(built.rest.clone());
        let index = IndexPart::parse(built.index_part.clone()).unwrap();
        let (table, record) = (index.table(), TableRecord::of(&built));
        let view = TableView::new(table, record.range());
        self.tables.insert(table, (index, data.concat().into()));
        self.records.insert(table, Arc::new(record));
        view
    }
}

/// A tablet as the group state has it.
#[derive(Clone)]
pub(crate) struct Tablet {
    pub(crate) range: KeyRange,
    /// The active one first; each with the range that counts.
    pub(crate) memory: Vec<(Arc<Memtable>, KeyRange)>,
    pub(crate) tree: Tree,
}

impl Tablet {
    pub(crate) fn new(range: KeyRange) -> Tablet {
        Tablet { memory: vec![(Arc::default(), range.clone())], range, tree: Tree::new() }
    }

    pub(crate) fn insert(&self, key: &Bytes, version: Version, value: Value) {
        self.memory[0].0.insert(key, version, value);
    }

    pub(crate) fn rotate(&mut self) {
        if !self.memory[0].0.is_empty() {
            self.memory.insert(0, (Arc::default(), self.range.clone()));
        }
    }

    /// Flushes the oldest immutable memtable.
    pub(crate) fn flush(&mut self, shelf: &mut Shelf, floor: Version) {
        if self.memory.len() < 2 {
            return;
        }
        let (memtable, range) = self.memory.pop().unwrap();
        let rules = DropRules { floor, bottom: false };
        let merge = Merge::new(vec![Box::new(memtable.cursor(range))], Vec::new(), rules, ReadAhead::MERGE);
        let views = shelf.write(merge, 0);
        self.tree.push_flush(views).unwrap();
    }

    /// Merges these inputs, newest run first, and commits.
    pub(crate) fn compact(
        &mut self,
        shelf: &mut Shelf,
        runs: &[Vec<TableView>],
        floor: Version,
        bottom: bool,
        level: u8,
    ) -> Result<(), Refused> {
        let inputs: Vec<TableView> = runs.iter().flatten().cloned().collect();
        self.tree.check_compaction(&inputs, &[], bottom)?;
        let read = |view: &TableView| {
            // As a data node does it: all handles at hand; and as an index would be asked, for every other table.
            let (index, _) = &shelf.tables[&view.table];
            let handles = index.seek(&view.range, false, usize::MAX);
            MergeInput { view: view.clone(), handles: view.table.n.is_multiple_of(2).then_some(handles) }
        };
        let runs: Vec<Vec<MergeInput>> = runs.iter().map(|views| views.iter().map(read).collect()).collect();
        let ahead = ReadAhead { first: 1, max: 3 };
        let outputs = shelf.write(Merge::new(Vec::new(), runs, DropRules { floor, bottom }, ahead), level);
        self.tree.apply_compaction(&inputs, &outputs, bottom)
    }

    pub(crate) fn split(&self, at: &Bytes) -> (Tablet, Tablet) {
        let (left, right) = self.range.split(at);
        let child = |range: KeyRange| {
            let clip = |(memtable, counts): &(Arc<Memtable>, KeyRange)| {
                let counts = counts.intersect(&range)?;
                (!memtable.is_empty()).then(|| (Arc::clone(memtable), counts))
            };
            let mut memory = vec![(Arc::default(), range.clone())];
            memory.extend(self.memory.iter().filter_map(clip));
            Tablet { memory, tree: self.tree.clip(&range), range }
        };
        (child(left), child(right))
    }

    pub(crate) fn join(&self, right: &Tablet) -> Tablet {
        let range = self.range.union(&right.range);
        let mut memory = vec![(Arc::default(), range.clone())];
        memory.extend(
            self.memory.iter().chain(&right.memory).filter(|(memtable, _)| !memtable.is_empty()).cloned(),
        );
        Tablet { memory, tree: Tree::join(&self.tree, &right.tree).unwrap(), range }
    }

    /// All rows of a range, and how often something had to be fetched.
    pub(crate) fn scan(
        &self,
        shelf: &Shelf,
        range: &KeyRange,
        at: Version,
        reverse: bool,
    ) -> (Vec<Row>, usize) {
        let range = self.range.intersect(range).unwrap_or(KeyRange::new("", Some(Bytes::new())));
        let memtables = self.memory.iter().filter_map(|(memtable, counts)| {
            Some(Box::new(memtable.cursor(counts.intersect(&range)?)) as MemoryCursor)
        });
        let spec =
            ScanSpec { range: range.clone(), at, reverse, rows_hint: at.0.is_multiple_of(2).then_some(3) };
        let mut scan = Scan::new(spec, memtables.collect(), &self.tree);
        let (mut rows, mut fetches) = (Vec::new(), 0);
        loop {
            match scan.step() {
                Step::Row { key, value, version } => rows.push((key, value, version)),
                Step::Done => return (rows, fetches),
                Step::Need(needs) => {
                    assert!(!needs.is_empty(), "a scan that is blocked says what it needs");
                    fetches += 1;
                    for need in needs {
                        match need {
                            Need::Handles(request) => {
                                let (handles, exhausted) = shelf.handles(&request);
                                scan.feed_handles(&request, handles, exhausted);
                            }
                            Need::Blocks(handles) => {
                                for handle in handles.into_iter().rev() {
                                    scan.feed_block(handle, shelf.block(handle));
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// A point read as a flow does it: memtables, then candidates.
    pub(crate) fn get(&self, shelf: &Shelf, key: &Bytes, at: Version) -> Option<(Bytes, Version)> {
        for (memtable, counts) in &self.memory {
            if counts.contains(key)
                && let Some(entry) = memtable.get(key, at)
            {
                return entry.value.visible_at(at).map(|bytes| (bytes.clone(), entry.version));
            }
        }
        for view in self.tree.candidates(key) {
            let (index, _) = &shelf.tables[&view.table];
            let mut next = match at.0 % 3 {
                0 => index.lookup(key),
                _ => index.lookup_at(key, key_hash(key), at),
            };
            while let Some(handle) = next {
                match look(&shelf.block(handle), key, at) {
                    Look::Found(version, value) => {
                        return value.visible_at(at).map(|bytes| (bytes.clone(), version));
                    }
                    Look::Onward => next = index.spill(handle),
                    Look::Absent => break,
                }
            }
        }
        None
    }
}

/// What a store that forgets nothing knows.
#[derive(Default)]
pub(crate) struct Model {
    keys: BTreeMap<Bytes, BTreeMap<Version, Value>>,
}

impl Model {
    pub(crate) fn insert(&mut self, key: &Bytes, version: Version, value: Value) {
        self.keys.entry(key.clone()).or_default().insert(version, value);
    }

    pub(crate) fn rows(&self, range: &KeyRange, at: Version, reverse: bool) -> Vec<Row> {
        let visible = |(key, versions): (&Bytes, &BTreeMap<Version, Value>)| {
            let (version, value) = versions.range(..=at).next_back()?;
            Some((key.clone(), value.visible_at(at)?.clone(), *version))
        };
        let mut rows: Vec<Row> =
            self.keys.iter().filter(|(key, _)| range.contains(key)).filter_map(visible).collect();
        if reverse {
            rows.reverse();
        }
        rows
    }
}
