//! How high the views of each level are stacked, at every place of the key space.

use bytes::Bytes;
use lamina_types::KeyRange;

use super::{Lane, Policy, TreeStats};
use crate::tree::{Run, TableView};

/// Views of one level that lie over the same keys, at least as many as the policy allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Due {
    /// A key over which they lie.
    pub at: Bytes,
    /// Their level.
    pub level: u8,
    /// How many they are.
    pub runs: usize,
    /// The run of the newest.
    pub newest: usize,
    /// The run of the oldest.
    pub oldest: usize,
    /// Their bytes, whole files.
    pub bytes: u64,
    /// The range of the newest: about as wide as each of them.
    pub width: KeyRange,
    /// The run of the view directly under them, if it is the oldest of all.
    pub bottom: Option<usize>,
}

impl Due {
    pub(super) fn lane(&self) -> Lane {
        if self.level == 0 { Lane::Flushed } else { Lane::Deep }
    }
}

/// One view in the stack over a place.
struct Layer<'a> {
    run: usize,
    view: &'a TableView,
    level: u8,
    bytes: u64,
}

/// All that is due, by place.
pub(super) fn dues(stats: &TreeStats<'_>, policy: &Policy) -> Vec<Due> {
    let runs = stats.tree.runs();
    let mut places: Vec<&Bytes> = stats.tree.views().map(|view| &view.range.start).collect();
    places.extend(stats.tree.views().filter_map(|view| view.range.end.as_ref()));
    places.sort_unstable();
    places.dedup();
    // Per run, the first view that does not end before the place.
    let mut next = vec![0usize; runs.len()];
    let mut dues = Vec::new();
    for place in places {
        let mut stack: Vec<Layer<'_>> = Vec::new();
        for ((run, views), next) in runs.iter().map(Run::views).enumerate().zip(&mut next) {
            let ends_before = |view: &TableView| view.range.end.as_ref().is_some_and(|end| end <= place);
            while views.get(*next).is_some_and(ends_before) {
                *next += 1;
            }
            if let Some(view) = views.get(*next).filter(|view| view.range.start <= *place) {
                // Older is never less deep, whatever the record says.
                let above = stack.last().map_or(0, |layer| layer.level);
                let record = stats.tables.get(&view.table);
                let (level, bytes) = record.map_or((0, 0), |record| (record.level, record.file_bytes));
                stack.push(Layer { run, view, level: level.max(above), bytes });
            }
        }
        due_at(place, &stack, policy, &mut dues);
    }
    dues
}

fn due_at(place: &Bytes, stack: &[Layer<'_>], policy: &Policy, dues: &mut Vec<Due>) {
    let Some((bottom, upper)) = stack.split_last() else { return };
    let mut seen = 0;
    for group in upper.chunk_by(|a, b| a.level == b.level) {
        seen += group.len();
        let (Some(newest), Some(oldest)) = (group.first(), group.last()) else { continue };
        if group.len() < policy.stack.max(2) {
            continue;
        }
        dues.push(Due {
            at: place.clone(),
            level: newest.level,
            runs: group.len(),
            newest: newest.run,
            oldest: oldest.run,
            bytes: group.iter().map(|layer| layer.bytes).sum(),
            width: newest.view.range.clone(),
            bottom: (seen == upper.len()).then_some(bottom.run),
        });
    }
}
