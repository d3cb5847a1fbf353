//! How tables become live and leave: flush, compaction, copies (§7).
//!
//! A table is live exactly if it has a record here, and it has one exactly if some view of some tablet names it.

use std::sync::Arc;

use lamina_engine::tree::{TableRecord, TableView};
use lamina_types::{KeyRange, LogIndex, TableId};

use super::entry::{CommitCompaction, CommitFlush, NewTable, RotateMemtable, SetCopies};
use super::outcome::{Inadmissible, Outcome, Refusal};
use super::state::DataGroup;
use super::view::MemoryView;

/// Tables that may become live.
struct Admitted {
    /// The first view of each: its own bounds.
    views: Vec<TableView>,
    records: Vec<(TableId, TableRecord)>,
}

impl DataGroup {
    pub(super) fn rotate(&mut self, index: LogIndex, entry: RotateMemtable) -> Result<Outcome, Refusal> {
        self.check_reign(entry.reign)?;
        let limit = self.config.immutables_max;
        self.edit_tablet(entry.tablet, |tablet| {
            if tablet.active.is_empty() {
                return Err(Refusal::MemtableEmpty { tablet: tablet.id });
            }
            if tablet.memory.len() >= limit as usize {
                return Err(Refusal::TooManyImmutables { tablet: tablet.id, limit });
            }
            let memtable = std::mem::take(&mut tablet.active);
            let newest = MemoryView { rotated_at: index, range: tablet.range.clone(), memtable };
            tablet.memory = std::iter::once(newest).chain(tablet.memory.iter().cloned()).collect();
            Ok(())
        })?;
        Ok(Outcome::Rotated { rotated_at: index })
    }

    pub(super) fn commit_flush(&mut self, index: LogIndex, entry: CommitFlush) -> Result<Outcome, Refusal> {
        self.check_reign(entry.reign)?;
        let tablet = self.tablet(entry.tablet)?;
        let rotated_at = entry.rotated_at;
        let named = |view: &MemoryView| view.rotated_at == rotated_at && view.range == entry.range;
        let at = tablet
            .memory
            .iter()
            .position(named)
            .ok_or(Refusal::MemoryViewGone { tablet: tablet.id, rotated_at })?;
        if tablet.memory.iter().skip(at + 1).any(|older| older.range.overlaps(&entry.range)) {
            return Err(Refusal::MemoryViewNotOldest { tablet: tablet.id, rotated_at });
        }
        if entry.floor > self.read_floor {
            return Err(Refusal::FloorNotReached { floor: self.read_floor });
        }
        let Admitted { views, records } = self.admit(entry.tables, &entry.range)?;
        self.edit_tablet(entry.tablet, |tablet| {
            tablet.tree.push_flush(views).map_err(|why| Refusal::Tree { tablet: tablet.id, why })?;
            tablet.memory = tablet.memory.iter().filter(|view| !named(view)).cloned().collect();
            tablet.last_flush = index;
            Ok(())
        })?;
        self.add_records(records);
        Ok(Outcome::Flushed)
    }

    pub(super) fn commit_compaction(&mut self, entry: CommitCompaction) -> Result<Outcome, Refusal> {
        self.check_reign(entry.reign)?;
        let tablet = self.tablet(entry.tablet)?;
        if entry.floor > self.read_floor {
            return Err(Refusal::FloorNotReached { floor: self.read_floor });
        }
        let Admitted { views, records } = self.admit(entry.outputs, &tablet.range)?;
        self.edit_tablet(entry.tablet, |tablet| {
            let edit = tablet.tree.apply_compaction(&entry.inputs, &views, entry.bottom);
            edit.map_err(|why| Refusal::Tree { tablet: tablet.id, why })
        })?;
        self.add_records(records);
        let mut left: Vec<TableId> = entry.inputs.iter().map(|input| input.table).collect();
        left.sort_unstable();
        left.dedup();
        left.retain(|table| !self.tablets.iter().any(|tablet| tablet.tree.names(*table)));
        if !left.is_empty() {
            let tables = Arc::make_mut(&mut self.tables);
            left.iter().for_each(|table| drop(tables.remove(table)));
        }
        Ok(Outcome::Compacted { left })
    }

    pub(super) fn set_copies(&mut self, entry: SetCopies) -> Result<Outcome, Refusal> {
        self.check_reign(entry.reign)?;
        let table = entry.table;
        let record = self.tables.get(&table).ok_or(Refusal::TableNotLive { table })?;
        if record.copies_rev != entry.rev {
            return Err(Refusal::RevisionDiffers { table, current: record.copies_rev });
        }
        let mut added = entry.copies.keys().filter(|node| !record.copies.contains_key(node));
        if let Some(node) = added.find(|node| self.is_banned(**node)) {
            return Err(Refusal::NodeBanned { node: *node });
        }
        if entry.copies.is_empty() {
            return Err(Refusal::NoCopies { table });
        }
        let mut next = TableRecord::clone(record);
        next.copies = entry.copies;
        next.copies_rev = next.copies_rev.saturating_add(1);
        let rev = next.copies_rev;
        Arc::make_mut(&mut self.tables).insert(table, Arc::new(next));
        Ok(Outcome::CopiesSet { rev })
    }

    /// The tables, if all are admissible (§3) and inside `range`. Copies on banned nodes are struck.
    fn admit(&self, tables: Vec<NewTable>, range: &KeyRange) -> Result<Admitted, Refusal> {
        let mut views = Vec::with_capacity(tables.len());
        let mut records: Vec<(TableId, TableRecord)> = Vec::with_capacity(tables.len());
        for NewTable { table, mut record } in tables {
            record.copies.retain(|node, _| !self.is_banned(*node));
            record.copies_rev = 0;
            let view = TableView::new(table, record.range());
            let twice = records.iter().any(|(other, _)| *other == table);
            if let Some(why) = self.inadmissible(table, &record, twice) {
                return Err(Refusal::Inadmissible { table, why });
            }
            if !range.covers(&view.range) {
                return Err(Refusal::Inadmissible { table, why: Inadmissible::OutsideRange });
            }
            views.push(view);
            records.push((table, record));
        }
        Ok(Admitted { views, records })
    }

    fn inadmissible(&self, table: TableId, record: &TableRecord, twice: bool) -> Option<Inadmissible> {
        if table.group != self.group {
            return Some(Inadmissible::OtherGroup);
        }
        if table.reign != self.reign {
            return Some(Inadmissible::OtherReign);
        }
        if twice || self.tables.contains_key(&table) {
            return Some(Inadmissible::Live);
        }
        let (left, needed) = (record.copies.len() as u32, self.config.write_quorum());
        (left < needed).then_some(Inadmissible::TooFewCopies { left, needed })
    }

    fn add_records(&mut self, records: Vec<(TableId, TableRecord)>) {
        if !records.is_empty() {
            let records = records.into_iter().map(|(table, record)| (table, Arc::new(record)));
            Arc::make_mut(&mut self.tables).extend(records);
        }
    }
}
