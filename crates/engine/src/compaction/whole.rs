//! A merge of everything, in jobs that are bounded like all others: one stretch of keys after the other.

use bytes::Bytes;
use lamina_types::KeyRange;

use super::{Lane, Task, TreeStats, Why};
use crate::tree::edit::hull;
use crate::tree::{Run, TableView};

/// The next job of a merge of everything, over the keys from `from` on; `None`: nothing is left to merge there. Go on
/// with the end of its span. Stretches of keys that only one run has are left as they are.
///
/// A job reads as much as `job_bytes_max` allows, and at least the narrowest stretch between two borders of views. It
/// ends, if it can, where a view of the oldest run does, so that no table there is rewritten twice.
pub fn merge_whole(stats: &TreeStats<'_>, from: &Bytes, job_bytes_max: u64) -> Option<Task> {
    let runs = stats.tree.runs();
    let (borders, is_open) = borders(runs, from);
    let coarse: Vec<&Bytes> =
        runs.last().into_iter().flat_map(Run::views).filter_map(|view| view.range.end.as_ref()).collect();
    let mut at = 0;
    while let Some(start) = borders.get(at) {
        // Behind the last border there is something only if a view has no end.
        let ends = (at + 1..borders.len()).chain(is_open.then_some(borders.len()));
        let span = |end: usize| KeyRange::new(start.clone(), borders.get(end).cloned());
        let mut fitting = ends.clone().take_while(|end| bytes(stats, &span(*end)) <= job_bytes_max);
        let widest = fitting.by_ref().last();
        let is_coarse = |end: &usize| borders.get(*end).is_none_or(|border| coarse.contains(&border));
        let end = match widest {
            Some(widest) => (at + 1..=widest).rev().find(is_coarse).unwrap_or(widest),
            None => ends.clone().next()?,
        };
        if let Some(task) = task(stats, &span(end)) {
            return Some(task);
        }
        at = end;
    }
    None
}

/// Every start and end of a view from `from` on, `from` included; and whether some view has no end.
fn borders(runs: &[Run], from: &Bytes) -> (Vec<Bytes>, bool) {
    let views = || runs.iter().flat_map(Run::views);
    let starts = views().map(|view| view.range.start.clone());
    let ends = views().filter_map(|view| view.range.end.clone());
    let mut borders: Vec<Bytes> =
        starts.chain(ends).filter(|border| border > from).chain([from.clone()]).collect();
    borders.sort_unstable();
    borders.dedup();
    (borders, views().any(|view| view.range.end.is_none()))
}

fn bytes(stats: &TreeStats<'_>, span: &KeyRange) -> u64 {
    let views = stats.tree.runs().iter().flat_map(|run| run.overlapping(span));
    views.filter_map(|view| stats.tables.get(&view.table)).map(|record| record.file_bytes).sum()
}

fn task(stats: &TreeStats<'_>, span: &KeyRange) -> Option<Task> {
    let clipped = |run: &Run| -> Vec<TableView> {
        run.overlapping(span).iter().filter_map(|view| view.clip(span)).collect()
    };
    let runs: Vec<Vec<TableView>> =
        stats.tree.runs().iter().map(clipped).filter(|views| !views.is_empty()).collect();
    if runs.len() < 2 {
        return None;
    }
    let inputs: Vec<TableView> = runs.iter().flatten().cloned().collect();
    Some(Task {
        lane: Lane::Deep,
        why: Why::Stack,
        span: hull(&inputs)?,
        bottom: true,
        level: u8::MAX,
        input_bytes: bytes(stats, span),
        runs,
    })
}
