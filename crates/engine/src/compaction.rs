//! Which tables are merged next: a pure function of the tree, what is known of its tables, and the jobs that run.
//!
//! **Lazy leveling** (Dostoevsky, doi 10.1145/3183713.3196927): the oldest view over a key is its *bottom*, the
//! others are stacked on it by level. A flush has level 0. When [`Policy::stack`] views of one level lie over the
//! same keys, they are merged, once, into views of the next level; if what lies directly under them is the bottom
//! and not larger than [`Policy::bottom_ratio`] times them (less for level 0), it joins in. So an entry is written about once per level
//! and a few times at the bottom, and a key has at most `stack` runs per level over it.
//!
//! All is judged *per key*, over the stack of views at a place, never by whole runs: a merge of a large level is cut
//! into rectangles (some runs high, some keys wide) of at most [`Policy::job_bytes_max`], and the places that are
//! done have a low stack while the others still have a high one. So a large merge needs no memory of itself: each
//! pick takes the highest stack that is left. Borders are those of the views of the run that receives the outputs;
//! wider views above are used in part (see [`crate::tree::edit`]).
//!
//! **A load in key order costs nothing here.** Its flushes do not overlap, so [`Tree::push_flush`] lays them side
//! by side into the oldest run that has room: no place has a stack, nothing is due, and every byte is written once.
//! (A table cannot be moved to another run without new ids, so it is laid down where it may stay.) Only if the
//! flushes are small are neighbours merged to full tables, [`Why::Small`].
//!
//! Tables full of tombstones or of what has expired are merged down to the bottom early, if that is worth it.
//!
//! Level 0 has job slots of its own: a long merge deep down never delays it. Two jobs never touch the same place of
//! the same runs. Pressure for the write path is the highest stack, [`Pressure`].

mod fit;
mod stack;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;

use lamina_types::{KeyRange, TableId, Version};
use serde::{Deserialize, Serialize};

use crate::compaction::fit::{Fit, Wish};
use crate::compaction::stack::{Due, dues};
use crate::tree::{TableRecord, TableView, Tree};

pub use whole::merge_whole;

/// The numbers of the policy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// Where outputs are cut, in bytes.
    pub table_bytes: u64,
    /// The most bytes of the input files of one job.
    pub job_bytes_max: u64,
    /// As many views of one level over one key, and they are merged; at least 2.
    pub stack: usize,
    /// A bottom that is at most this many times larger than what lies on it takes part.
    pub bottom_ratio: u64,
    /// The same for a stack of level 0, whose slot has to be free again soon.
    pub flush_bottom_ratio: u64,
    /// Runs over one key at which writes wait.
    pub runs_max: usize,
    /// Jobs of level 0 at a time.
    pub flush_slots: usize,
    /// Jobs of deeper levels at a time.
    pub deep_slots: usize,
    /// A table with this share of tombstones that no reader needs any more is merged early.
    pub tombstone_percent: u64,
    /// A table is merged early when its first expired entry is this much below the floor, in milliseconds.
    pub expired_ms: u64,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            table_bytes: 64 << 20,
            job_bytes_max: 2 << 30,
            stack: 6,
            bottom_ratio: 8,
            flush_bottom_ratio: 2,
            runs_max: 20,
            flush_slots: 1,
            deep_slots: 2,
            tombstone_percent: 50,
            expired_ms: 3_600_000,
        }
    }
}

/// What a pick looks at.
#[derive(Clone, Copy, Debug)]
pub struct TreeStats<'a> {
    /// The tablet's tree.
    pub tree: &'a Tree,
    /// Records of its tables. A table without one counts as empty.
    pub tables: &'a BTreeMap<TableId, Arc<TableRecord>>,
    /// Jobs of this tablet that were picked before and whose outcome is not known yet.
    pub running: &'a [Task],
    /// The read floor.
    pub floor: Version,
}

/// Which slots a job takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Lane {
    /// Flushed tables.
    Flushed,
    /// Everything else.
    Deep,
}

/// Why a job was picked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Why {
    /// Too many views of one level over the same keys.
    Stack,
    /// A table full of tombstones that no reader needs any more.
    Tombstones,
    /// A table with entries that have expired long ago.
    Expired,
    /// Neighbours in one run that together make one full table.
    Small,
}

/// A job. Its inputs are contiguous in the tree that it was picked from (protocols §7.3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Task {
    /// The slots it takes.
    pub lane: Lane,
    /// Why.
    pub why: Why,
    /// Views, or parts of views: newest run first, ascending within a run. What `Merge` reads, and in one list what
    /// the commit names.
    pub runs: Vec<Vec<TableView>>,
    /// The smallest range that contains all inputs.
    pub span: KeyRange,
    /// Nothing older overlaps the inputs.
    pub bottom: bool,
    /// The level of the outputs.
    pub level: u8,
    /// Bytes of the input files. A file of which only a part is read counts in full.
    pub input_bytes: u64,
}

impl Task {
    /// All inputs, newest first.
    pub fn inputs(&self) -> Vec<TableView> {
        self.runs.iter().flatten().cloned().collect()
    }
}

/// How near a tree is to the bound of its runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pressure {
    /// The most runs over any key.
    pub runs: usize,
    /// Where writes wait.
    pub runs_max: usize,
}

impl Pressure {
    /// The pressure on a tree. Walks through all views: asked once per change of the tree, not once per write.
    pub fn of(tree: &Tree, policy: &Policy) -> Pressure {
        Pressure { runs: tree.runs_over_max(), runs_max: policy.runs_max.max(1) }
    }

    /// From 0 (nothing to do) to 1 (writes wait), and above.
    pub fn share(&self) -> f64 {
        self.runs as f64 / self.runs_max as f64
    }

    /// Whether another flush has to wait for a compaction.
    pub fn is_full(&self) -> bool {
        self.runs >= self.runs_max
    }
}

/// The next job for which there is a slot; `None`: nothing is due, or nothing that could run beside what runs.
pub fn pick(stats: &TreeStats<'_>, policy: &Policy) -> Option<Task> {
    let taken = |lane| stats.running.iter().filter(|task| task.lane == lane).count();
    let open = |lane| match lane {
        Lane::Flushed => taken(lane) < policy.flush_slots,
        Lane::Deep => taken(lane) < policy.deep_slots,
    };
    let fit = Fit::new(stats, policy);
    let mut dues = dues(stats, policy);
    dues.retain(|due| open(due.lane()));
    // The highest stack first; the first place among equals.
    dues.sort_by(|a, b| b.runs.cmp(&a.runs).then_with(|| a.at.cmp(&b.at)));
    let due = dues.iter().find_map(|due| pick_stack(stats, policy, &fit, due));
    due.or_else(|| if open(Lane::Deep) { pick_garbage(stats, policy, &fit) } else { None })
        .or_else(|| if open(Lane::Deep) { pick_small(stats, policy, &fit) } else { None })
}

/// A merge of a stack, together with the bottom under it if that is small enough and free.
fn pick_stack(stats: &TreeStats<'_>, policy: &Policy, fit: &Fit<'_>, due: &Due) -> Option<Task> {
    let depth = policy.stack.div_ceil(2).max(2);
    let wish = Wish {
        lane: due.lane(),
        why: Why::Stack,
        newest: due.newest,
        oldest: due.oldest,
        at: due.at.clone(),
        within: KeyRange::all(),
        group_oldest: due.oldest,
        depth,
        level: due.level.saturating_add(1),
    };
    let ratio = match due.lane() {
        Lane::Flushed => policy.flush_bottom_ratio,
        Lane::Deep => policy.bottom_ratio,
    };
    let with_bottom = due.bottom.filter(|bottom| {
        let run = stats.tree.runs().get(*bottom);
        let under = run.map_or(0, |run| fit.bytes(run.overlapping(&due.width)));
        under <= due.bytes.saturating_mul(ratio)
    });
    let with_bottom = with_bottom.and_then(|bottom| fit.task(&Wish { oldest: bottom, ..wish.clone() }));
    with_bottom.or_else(|| fit.task(&wish))
}

/// A table that mostly holds what nobody can read, merged down to the bottom.
fn pick_garbage(stats: &TreeStats<'_>, policy: &Policy, fit: &Fit<'_>) -> Option<Task> {
    for (newest, run) in stats.tree.runs().iter().enumerate() {
        for view in run.views() {
            let Some(why) =
                stats.tables.get(&view.table).and_then(|record| garbage(record, stats.floor, policy))
            else {
                continue;
            };
            let older = stats.tree.runs().iter().enumerate().skip(newest + 1);
            let under: Vec<_> = older.filter(|(_, run)| !run.overlapping(&view.range).is_empty()).collect();
            let own = fit.bytes(std::slice::from_ref(view));
            let below: u64 = under.iter().map(|(_, run)| fit.bytes(run.overlapping(&view.range))).sum();
            if below > own.saturating_mul(policy.bottom_ratio) {
                continue;
            }
            let oldest = under.last().map_or(newest, |(index, _)| *index);
            let wish = Wish {
                lane: Lane::Deep,
                why,
                newest,
                oldest,
                at: view.range.start.clone(),
                within: view.range.clone(),
                group_oldest: newest,
                depth: 1,
                level: stats.tables.get(&view.table).map_or(0, |record| record.level).max(1),
            };
            if let Some(task) = fit.task(&wish) {
                return Some(task);
            }
        }
    }
    None
}

fn garbage(record: &TableRecord, floor: Version, policy: &Policy) -> Option<Why> {
    let tombstones = record.tombstones.saturating_mul(100);
    let heavy =
        record.tombstones > 0 && tombstones >= record.entries.saturating_mul(policy.tombstone_percent);
    if heavy && record.highest <= floor {
        return Some(Why::Tombstones);
    }
    let expired =
        record.oldest_expiry_ms.is_some_and(|ms| ms.saturating_add(policy.expired_ms) <= floor.ms());
    // Between the version of an entry and the floor: what is above the floor has to stay.
    (expired && record.lowest <= floor).then_some(Why::Expired)
}

/// Small neighbours in one run.
fn pick_small(stats: &TreeStats<'_>, policy: &Policy, fit: &Fit<'_>) -> Option<Task> {
    let small = |view: &TableView| fit.bytes(std::slice::from_ref(view)) < policy.table_bytes / 4;
    for (index, run) in stats.tree.runs().iter().enumerate() {
        let mut group: Vec<&TableView> = Vec::new();
        let mut bytes = 0u64;
        // The end of the run ends a group as a large view does.
        for view in run.views().iter().map(Some).chain([None]) {
            let grows = view.filter(|view| small(view) && bytes < policy.table_bytes);
            if let Some(view) = grows {
                bytes = bytes.saturating_add(fit.bytes(std::slice::from_ref(view)));
                group.push(view);
                continue;
            }
            let task = (group.len() >= policy.stack.max(2)).then(|| fit.neighbours(index, &group)).flatten();
            if task.is_some() {
                return task;
            }
            group = view.filter(|view| small(view)).into_iter().collect();
            bytes = group.iter().map(|view| fit.bytes(std::slice::from_ref(*view))).sum();
        }
    }
    None
}
