//! Turns a wish (these runs, around this key) into a job that is contiguous, bounded, and alone where it works.

use bytes::Bytes;
use lamina_types::KeyRange;

use super::{Lane, Policy, Task, TreeStats, Why};
use crate::tree::edit::{Rectangle, hull};
use crate::tree::{Run, TableView};

/// What a job should be.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub lane: Lane,
    pub why: Why,
    /// The runs that take part; outputs go to the oldest.
    pub newest: usize,
    pub oldest: usize,
    /// A key that the job contains.
    pub at: Bytes,
    /// The job may not grow beyond the places that overlap this.
    pub within: KeyRange,
    /// The job grows only over places with at least `depth` of the runs from `newest` to here.
    pub group_oldest: usize,
    pub depth: usize,
    /// Outputs have at least this level.
    pub level: u8,
}

pub(super) struct Fit<'a> {
    stats: &'a TreeStats<'a>,
    policy: &'a Policy,
    /// Where jobs are at work, and whether each takes itself for the bottom.
    busy: Vec<(Rectangle, bool)>,
}

impl<'a> Fit<'a> {
    pub(super) fn new(stats: &'a TreeStats<'a>, policy: &'a Policy) -> Fit<'a> {
        let busy =
            stats.running.iter().filter_map(|task| Some((at_work(stats, task)?, task.bottom))).collect();
        Fit { stats, policy, busy }
    }

    /// Bytes of the files of these views.
    pub(super) fn bytes(&self, views: &[TableView]) -> u64 {
        views
            .iter()
            .filter_map(|view| self.stats.tables.get(&view.table))
            .map(|record| record.file_bytes)
            .sum()
    }

    /// The job around `wish.at`, as wide as the bound allows.
    ///
    /// Borders are those of the views of the oldest run, so that none of them is cut. If one of them is too wide,
    /// all borders of the runs serve; if the stack itself is too large, its newest runs are left for later.
    pub(super) fn task(&self, wish: &Wish) -> Option<Task> {
        let runs = self.stats.tree.runs();
        let here = KeyRange::new(wish.at.clone(), Some(successor(&wish.at)));
        // A stack never shrinks to one run, which would be rewritten for nothing.
        let last = if wish.why == Why::Stack { wish.oldest.checked_sub(1)? } else { wish.newest };
        for newest in wish.newest..=last {
            let wish = Wish { newest, group_oldest: wish.group_oldest.max(newest), ..wish.clone() };
            if !self.free(&wish, &here) {
                return None;
            }
            let taking = runs.get(newest..=wish.oldest)?;
            let receiving = runs.get(wish.oldest)?;
            let coarse = borders(std::slice::from_ref(receiving), false);
            let span = self.grow(&coarse, &wish).or_else(|| self.grow(&borders(taking, true), &wish));
            if let Some(span) = span {
                return self.finish(&wish, &span);
            }
        }
        None
    }

    /// A job that rewrites neighbours of one run.
    pub(super) fn neighbours(&self, run: usize, views: &[&TableView]) -> Option<Task> {
        let span = views.iter().map(|view| view.range.clone()).reduce(|all, range| all.union(&range))?;
        let wish = Wish {
            lane: Lane::Deep,
            why: Why::Small,
            newest: run,
            oldest: run,
            at: span.start.clone(),
            within: span.clone(),
            group_oldest: run,
            depth: 1,
            level: 0,
        };
        if self.free(&wish, &span) { self.finish(&wish, &span) } else { None }
    }

    /// The widest span between borders that contains the wish's key and keeps the rules; `None` if not even the
    /// narrowest does.
    fn grow(&self, borders: &[Bytes], wish: &Wish) -> Option<KeyRange> {
        let mut high = borders.partition_point(|border| *border <= wish.at);
        let mut low = high;
        let span = |low: usize, high: usize| KeyRange {
            start: low.checked_sub(1).and_then(|low| borders.get(low)).cloned().unwrap_or_default(),
            end: borders.get(high).cloned(),
        };
        if !self.keeps(wish, &span(low, high)) {
            return None;
        }
        while high < borders.len() && self.joins(wish, &span(high + 1, high + 1), &span(low, high + 1)) {
            high += 1;
        }
        while low > 0 && self.joins(wish, &span(low - 1, low - 1), &span(low - 1, high)) {
            low -= 1;
        }
        Some(span(low, high))
    }

    /// Whether one more place may join, so that the job spans `all`.
    fn joins(&self, wish: &Wish, place: &KeyRange, all: &KeyRange) -> bool {
        let group = self.stats.tree.runs().get(wish.newest..=wish.group_oldest).unwrap_or_default();
        let depth = group.iter().filter(|run| !run.overlapping(place).is_empty()).count();
        depth >= wish.depth && place.overlaps(&wish.within) && self.keeps(wish, all)
    }

    fn keeps(&self, wish: &Wish, span: &KeyRange) -> bool {
        let taking = self.stats.tree.runs().get(wish.newest..=wish.oldest).unwrap_or_default();
        let bytes: u64 = taking.iter().map(|run| self.bytes(run.overlapping(span))).sum();
        // A single table, or a pair, is never refused for its size: nothing else would ever take it.
        let few = wish.oldest - wish.newest <= 1 && taking.iter().all(|run| run.overlapping(span).len() <= 1);
        (bytes <= self.policy.job_bytes_max || few) && self.free(wish, span)
    }

    /// Whether no running job would be disturbed, or disturb. Jobs in disjoint spans, or strictly above and below
    /// each other, do not; but nothing may arrive under a job that takes itself for the bottom.
    fn free(&self, wish: &Wish, span: &KeyRange) -> bool {
        self.busy.iter().all(|(other, bottom)| {
            let above = wish.oldest < other.newest;
            let below = wish.newest > other.oldest && !bottom;
            !other.span.overlaps(span) || above || below
        })
    }

    fn finish(&self, wish: &Wish, span: &KeyRange) -> Option<Task> {
        let taking = self.stats.tree.runs().get(wish.newest..=wish.oldest)?;
        let clipped = |run: &Run| -> Vec<TableView> {
            run.overlapping(span).iter().filter_map(|view| view.clip(span)).collect()
        };
        let runs: Vec<Vec<TableView>> =
            taking.iter().map(clipped).filter(|views| !views.is_empty()).collect();
        let inputs: Vec<TableView> = runs.iter().flatten().cloned().collect();
        // The runs at the edges of the wish may have nothing in the span.
        let rectangle = self.stats.tree.rectangle(&inputs).ok()?;
        let received = taking.last().map(|run| run.overlapping(span)).unwrap_or_default();
        let levels =
            received.iter().filter_map(|view| self.stats.tables.get(&view.table)).map(|record| record.level);
        let bottom = self.stats.tree.below(&rectangle).is_none();
        let arrives_below =
            |other: &Rectangle| other.newest > rectangle.oldest && other.span.overlaps(&rectangle.span);
        if bottom && self.busy.iter().any(|(other, _)| arrives_below(other)) {
            return None;
        }
        Some(Task {
            lane: wish.lane,
            why: wish.why,
            span: hull(&inputs)?,
            bottom,
            level: levels.max().unwrap_or(0).max(wish.level),
            input_bytes: taking.iter().map(|run| self.bytes(run.overlapping(span))).sum(),
            runs,
        })
    }
}

/// Where a running job works. A job whose inputs were cut or have left meanwhile will be refused; until then it
/// keeps its place.
fn at_work(stats: &TreeStats<'_>, task: &Task) -> Option<Rectangle> {
    let inputs = task.inputs();
    if let Ok(rectangle) = stats.tree.rectangle(&inputs) {
        return Some(rectangle);
    }
    let left = |run: &&Run| {
        inputs.iter().any(|input| run.overlapping(&input.range).iter().any(|view| view.table == input.table))
    };
    let newest = stats.tree.runs().iter().position(|run| left(&run))?;
    let oldest = stats.tree.runs().iter().rposition(|run| left(&run))?;
    Some(Rectangle { newest, oldest, span: task.span.clone() })
}

/// Sorted keys at which a job may begin or end. Coarse: the ends of the views but the last, for behind it there is
/// nothing of the run. Fine: all starts and ends.
fn borders(runs: &[Run], fine: bool) -> Vec<Bytes> {
    let ends = |views: &[TableView]| -> Vec<Bytes> {
        views.iter().filter_map(|view| view.range.end.clone()).collect()
    };
    let mut borders: Vec<Bytes> = Vec::new();
    for views in runs.iter().map(Run::views) {
        if fine {
            borders.extend(views.iter().map(|view| view.range.start.clone()));
            borders.extend(ends(views));
        } else if let Some((_, others)) = views.split_last() {
            borders.extend(ends(others));
        }
    }
    borders.sort_unstable();
    borders.dedup();
    borders
}

fn successor(key: &Bytes) -> Bytes {
    key.iter().copied().chain([0]).collect::<Vec<u8>>().into()
}
