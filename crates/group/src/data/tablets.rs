//! Changes of tablets: split and index shard (§9). Merge and moves between groups are not built yet.

use std::sync::Arc;

use lamina_engine::Memtable;
use lamina_types::{KeyRange, LogIndex, TabletId};

use super::entry::{SetShard, SplitTablet};
use super::outcome::{Outcome, Refusal};
use super::state::DataGroup;
use super::view::{MemoryView, TabletView};

impl DataGroup {
    pub(super) fn tablet(&self, id: TabletId) -> Result<&Arc<TabletView>, Refusal> {
        self.tablets.iter().find(|tablet| tablet.id == id).ok_or(Refusal::TabletUnknown { tablet: id })
    }

    /// Replaces a tablet by an edited copy, or leaves it if the edit is refused. Views that were taken keep the old.
    pub(super) fn edit_tablet(
        &mut self,
        id: TabletId,
        edit: impl FnOnce(&mut TabletView) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut next = TabletView::clone(self.tablet(id)?);
        edit(&mut next)?;
        if let Some(slot) = Arc::make_mut(&mut self.tablets).iter_mut().find(|tablet| tablet.id == id) {
            *slot = Arc::new(next);
        }
        Ok(())
    }

    /// The left part keeps the id, the right part is named by this entry (§9.1). Nothing is copied but the list of
    /// views: both parts name the same memtables and tables, each for its own keys.
    pub(super) fn split(&mut self, index: LogIndex, entry: SplitTablet) -> Result<Outcome, Refusal> {
        self.check_reign(entry.reign)?;
        let parent = Arc::clone(self.tablet(entry.tablet)?);
        check_generation(&parent, entry.generation)?;
        if entry.at <= parent.range.start || !parent.range.contains(&entry.at) {
            return Err(Refusal::SplitKeyOutside { tablet: parent.id });
        }
        let (left, right) = parent.range.split(&entry.at);
        let right_id = TabletId { group: self.group, index: index.0 };
        let mut memory = Vec::with_capacity(parent.memory.len() + 1);
        if !parent.active.is_empty() {
            let (range, memtable) = (parent.range.clone(), Arc::clone(&parent.active));
            memory.push(MemoryView { rotated_at: index, range, memtable });
        }
        memory.extend(parent.memory.iter().cloned());
        let left = child(&parent, parent.id, left, &memory);
        let right = child(&parent, right_id, right, &memory);
        let tablets = Arc::make_mut(&mut self.tablets);
        tablets.retain(|tablet| tablet.id != parent.id);
        tablets.extend([Arc::new(left), Arc::new(right)]);
        tablets.sort_by(|a, b| a.range.start.cmp(&b.range.start));
        // Either part may be asked for a retry of a batch that the parent has done (W2).
        if let Some(window) = self.windows.get(&parent.id).cloned() {
            self.windows.insert(right_id, window);
        }
        Ok(Outcome::Split { right: right_id })
    }

    pub(super) fn set_shard(&mut self, entry: SetShard) -> Result<Outcome, Refusal> {
        self.check_reign(entry.reign)?;
        self.edit_tablet(entry.tablet, |tablet| {
            check_generation(tablet, entry.generation)?;
            tablet.shard = entry.shard;
            Ok(())
        })?;
        Ok(Outcome::ShardSet)
    }
}

fn check_generation(tablet: &TabletView, generation: u64) -> Result<(), Refusal> {
    if tablet.generation == generation {
        return Ok(());
    }
    Err(Refusal::GenerationDiffers { tablet: tablet.id, current: tablet.generation })
}

fn child(parent: &TabletView, id: TabletId, range: KeyRange, memory: &[MemoryView]) -> TabletView {
    let clip = |view: &MemoryView| Some(MemoryView { range: view.range.intersect(&range)?, ..view.clone() });
    TabletView {
        id,
        generation: parent.generation + 1,
        active: Arc::new(Memtable::new()),
        memory: memory.iter().filter_map(clip).collect(),
        tree: parent.tree.clip(&range),
        range,
        ..parent.clone()
    }
}
