//! The tables of one tablet: which stand where, what may replace what.
//!
//! A [`Tree`] is a list of runs, newest first; a [`Run`] is a list of views, ascending and disjoint; a [`TableView`]
//! is a table and the keys for which it counts. For each key, a newer run holds newer versions than an older one.
//! Everything here keeps that, and nothing else matters for a reader (invariants F1 and C1).
//!
//! - [`Tree::push_flush`] adds what a memtable became. The views go to the newest run, or, if nothing there
//!   overlaps them, further down for as long as nothing overlaps: no key can tell the difference, and a load in key
//!   order becomes one run that never has to be compacted.
//! - [`Tree::apply_compaction`] (in [`edit`]) replaces views, or parts of views, by others.
//! - [`Tree::clip`] and [`Tree::join`] are split and merge of tablets (protocols §9.1, §9.2). Ranges only shrink:
//!   a table that one child has compacted away cannot come back through the other.
//!
//! A clone costs one counter. Runs and views are shared between the trees of successive log entries.

pub mod edit;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use lamina_types::{CopyStamp, KeyRange, NodeId, TableId, Version};
use serde::{Deserialize, Serialize};

pub use edit::Refused;

use crate::properties::Properties;
use crate::table::BuiltTable;

/// A table, and the range of keys for which it counts; what it holds outside of the range does not exist.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TableView {
    /// The table.
    pub table: TableId,
    /// At first the table's own bounds; clipped by splits of the tablet and by compactions of a part.
    pub range: KeyRange,
}

/// What the group knows of a table (protocols §2). Everything but the copies is fixed when the table is sealed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableRecord {
    /// The id under which the bytes were first written: seed of the blocks' checksums, key of the block cache.
    pub origin: TableId,
    /// Bytes of the whole file, tail and footer included.
    pub file_bytes: u64,
    /// Bytes of the index part.
    pub index_bytes: u64,
    /// The smallest key.
    pub smallest: Bytes,
    /// The largest key.
    pub largest: Bytes,
    /// All versions of all keys.
    pub entries: u64,
    /// Those of them that are tombstones.
    pub tombstones: u64,
    /// Those of them that expire.
    pub expiring: u64,
    /// The lowest version of any entry.
    pub lowest: Version,
    /// The highest version of any entry.
    pub highest: Version,
    /// The earliest millisecond at which some entry expires.
    pub oldest_expiry_ms: Option<u64>,
    /// 0 for a flush; the outputs of a compaction carry [`crate::compaction::Task::level`].
    pub level: u8,
    /// Checksum of the footer.
    pub footer_crc: u32,
    /// Checksum of the index part.
    pub index_crc: u32,
    /// The data nodes that hold a sealed copy, and the order that made each.
    pub copies: BTreeMap<NodeId, CopyStamp>,
    /// Raised by each `SetCopies`.
    pub copies_rev: u64,
}

impl TableRecord {
    /// The record of a table that has just been built, without copies yet.
    pub fn new(
        properties: &Properties,
        file_bytes: u64,
        index_bytes: u64,
        footer_crc: u32,
        index_crc: u32,
    ) -> Self {
        TableRecord {
            origin: properties.origin,
            file_bytes,
            index_bytes,
            smallest: properties.smallest.clone(),
            largest: properties.largest.clone(),
            entries: properties.entries,
            tombstones: properties.tombstones,
            expiring: properties.expiring,
            lowest: properties.lowest,
            highest: properties.highest,
            oldest_expiry_ms: properties.oldest_expiry_ms,
            level: properties.level,
            footer_crc,
            index_crc,
            copies: BTreeMap::new(),
            copies_rev: 0,
        }
    }

    /// The record of a table that this process has built itself, without copies yet.
    pub fn of(built: &BuiltTable) -> TableRecord {
        let index_bytes = built.index_part.len() as u64;
        TableRecord::new(&built.properties, built.file_bytes, index_bytes, built.footer_crc, built.index_crc)
    }

    /// The table's own bounds: its first view. The end is the largest key followed by a zero byte.
    pub fn range(&self) -> KeyRange {
        let mut end = Vec::with_capacity(self.largest.len() + 1);
        end.extend_from_slice(&self.largest);
        end.push(0);
        KeyRange::new(self.smallest.clone(), Some(Bytes::from(end)))
    }
}

impl TableView {
    /// The view of `table` over `range`.
    pub fn new(table: TableId, range: KeyRange) -> TableView {
        TableView { table, range }
    }

    /// The part of the view that lies in `range`; `None` if there is none.
    pub fn clip(&self, range: &KeyRange) -> Option<TableView> {
        Some(TableView { table: self.table, range: self.range.intersect(range)? })
    }
}

/// A sorted run: views in ascending order, none of which overlap.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    views: Arc<[TableView]>,
}

impl Run {
    /// A run of these views, if they are ascending, disjoint and not empty.
    pub fn new(views: Vec<TableView>) -> Result<Run, Refused> {
        check_order(&views)?;
        Ok(Run { views: views.into() })
    }

    /// All views, ascending.
    pub fn views(&self) -> &[TableView] {
        &self.views
    }

    /// The view whose range contains `key`.
    pub fn at(&self, key: &[u8]) -> Option<&TableView> {
        let behind = self.views.partition_point(|view| view.range.start.as_ref() <= key);
        self.views.get(behind.checked_sub(1)?).filter(|view| view.range.contains(key))
    }

    /// The views that overlap `range`, whole (not clipped), ascending.
    pub fn overlapping(&self, range: &KeyRange) -> &[TableView] {
        if range.is_empty() {
            return &[];
        }
        let first =
            self.views.partition_point(|view| view.range.end.as_ref().is_some_and(|end| *end <= range.start));
        let behind =
            self.views.partition_point(|view| range.end.as_ref().is_none_or(|end| view.range.start < *end));
        self.views.get(first..behind).unwrap_or(&[])
    }

    /// The smallest range that contains all views; `None` for an empty run.
    pub fn hull(&self) -> Option<KeyRange> {
        Some(self.views.first()?.range.union(&self.views.last()?.range))
    }

    fn from_sorted(views: Vec<TableView>) -> Run {
        Run { views: views.into() }
    }
}

/// The runs of one tablet, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tree {
    runs: Arc<[Run]>,
}

impl Tree {
    /// A tree without tables.
    pub fn new() -> Tree {
        Tree::default()
    }

    /// All runs, newest first. None is empty.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Whether there are no tables.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// All views, newest run first, ascending within a run.
    pub fn views(&self) -> impl Iterator<Item = &TableView> {
        self.runs.iter().flat_map(|run| run.views.iter())
    }

    /// The tables that some view names: the live tables of this tablet.
    pub fn tables(&self) -> BTreeSet<TableId> {
        self.views().map(|view| view.table).collect()
    }

    /// Whether some view names `table`.
    pub fn names(&self, table: TableId) -> bool {
        self.views().any(|view| view.table == table)
    }

    /// The views whose range contains `key`, newest first: at most one per run.
    pub fn candidates(&self, key: &[u8]) -> impl Iterator<Item = &TableView> {
        self.runs.iter().filter_map(move |run| run.at(key))
    }

    /// Per run, newest first, the views that overlap `range` (whole). Runs without any are left out.
    pub fn overlapping(&self, range: &KeyRange) -> impl Iterator<Item = &[TableView]> {
        self.runs.iter().map(move |run| run.overlapping(range)).filter(|views| !views.is_empty())
    }

    /// How many runs have a view over `key`.
    pub fn runs_over(&self, key: &[u8]) -> usize {
        self.candidates(key).count()
    }

    /// The highest [`Tree::runs_over`] of any key.
    pub fn runs_over_max(&self) -> usize {
        // Ends before starts at one key: touching views do not overlap.
        let mut steps: Vec<(&[u8], bool)> = Vec::new();
        for view in self.views() {
            steps.push((&view.range.start, true));
            if let Some(end) = &view.range.end {
                steps.push((end, false));
            }
        }
        steps.sort_unstable();
        let (mut open, mut most) = (0usize, 0);
        for (_, starts) in steps {
            open = if starts { open + 1 } else { open.saturating_sub(1) };
            most = most.max(open);
        }
        most
    }

    /// Adds the views that a flush made, ascending and disjoint; no view (nothing survived) changes nothing.
    ///
    /// They go to the oldest run that can be reached from the top without passing or meeting a view that overlaps
    /// one of them; if the newest run overlaps already, they become the newest run.
    pub fn push_flush(&mut self, views: Vec<TableView>) -> Result<(), Refused> {
        check_order(&views)?;
        if let Some(view) = views.iter().find(|view| self.names(view.table)) {
            return Err(Refused::AlreadyThere { table: view.table });
        }
        if views.is_empty() {
            return Ok(());
        }
        let free = |run: &Run| views.iter().all(|view| run.overlapping(&view.range).is_empty());
        let reached = self.runs.iter().take_while(|run| free(run)).count();
        let mut runs = self.runs.to_vec();
        match reached.checked_sub(1).and_then(|deepest| runs.get_mut(deepest)) {
            Some(run) => {
                let mut all = run.views.to_vec();
                all.extend(views);
                all.sort_by(by_start);
                *run = Run::from_sorted(all);
            }
            None => runs.insert(0, Run::from_sorted(views)),
        }
        self.runs = runs.into();
        Ok(())
    }

    /// The tree of a child that keeps only `range` (protocols §9.1). Runs left without a view vanish.
    #[must_use]
    pub fn clip(&self, range: &KeyRange) -> Tree {
        self.runs
            .iter()
            .map(|run| run.overlapping(range).iter().filter_map(|view| view.clip(range)).collect())
            .collect::<Vec<Vec<TableView>>>()
            .into()
    }

    /// The tree of two neighbours together (protocols §9.2): runs joined pairwise from the oldest, so that what was
    /// at the bottom stays there. Ranges stay as they are. Refused unless all of `left` lies before all of `right`.
    pub fn join(left: &Tree, right: &Tree) -> Result<Tree, Refused> {
        let depth = left.runs.len().max(right.runs.len());
        let at = |tree: &Tree, from_oldest: usize| {
            let index = tree.runs.len().checked_sub(from_oldest + 1)?;
            tree.runs.get(index).map(|run| run.views.to_vec())
        };
        let mut runs = Vec::with_capacity(depth);
        for from_oldest in (0..depth).rev() {
            let mut views = at(left, from_oldest).unwrap_or_default();
            views.extend(at(right, from_oldest).unwrap_or_default());
            check_order(&views)?;
            runs.push(views);
        }
        let ends_before =
            |a: &Run, b: &KeyRange| a.hull().is_none_or(|a| a.end.is_some_and(|end| end <= b.start));
        for run in right.runs.iter().filter_map(Run::hull) {
            if let Some(view) =
                left.runs.iter().find(|left| !ends_before(left, &run)).and_then(|run| run.views.last())
            {
                return Err(Refused::Disorder { table: view.table });
            }
        }
        Ok(runs.into())
    }
}

/// Takes lists of views that are known to be in order; empty ones are left out.
impl From<Vec<Vec<TableView>>> for Tree {
    fn from(runs: Vec<Vec<TableView>>) -> Tree {
        Tree { runs: runs.into_iter().filter(|views| !views.is_empty()).map(Run::from_sorted).collect() }
    }
}

fn by_start(a: &TableView, b: &TableView) -> Ordering {
    a.range.start.cmp(&b.range.start)
}

/// Refuses views that are empty, not ascending or overlapping.
fn check_order(views: &[TableView]) -> Result<(), Refused> {
    if let Some(view) = views.iter().find(|view| view.range.is_empty()) {
        return Err(Refused::EmptyRange { table: view.table });
    }
    let mut pairs = views.iter().zip(views.iter().skip(1));
    match pairs.find(|(a, b)| a.range.end.as_ref().is_none_or(|end| *end > b.range.start)) {
        Some((_, second)) => Err(Refused::Disorder { table: second.table }),
        None => Ok(()),
    }
}
