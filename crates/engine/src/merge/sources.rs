//! Sorted sources read as one, forward or reverse, while some of them wait for blocks.
//!
//! The sources are kept sorted by where they stand. Stepping moves only the first, and mostly it stays the first,
//! so a step costs one comparison; a source that waits sorts before every entry that it might still precede.

use std::cmp::Ordering;

use lamina_types::BlockHandle;

use super::MemoryCursor;
use super::need::{HandleRequest, Need};
use super::run::{Position, RunSource};
use crate::block::Block;
use crate::cursor::EntryRef;
use crate::entry::{Entry, cmp_entries};

/// Where the merged walk stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// On an entry.
    Ready,
    /// Some source has to be fed first.
    Blocked,
    /// Behind the last entry.
    End,
}

/// Memtable cursors and runs as one sorted walk over all versions of all keys: in the order of
/// [`cmp_entries`], or exactly against it.
pub struct Sources {
    memory: Vec<MemoryCursor>,
    runs: Vec<RunSource>,
    /// Sources that have not ended (memory first, then runs), by where they stand. Sorted unless `dirty`.
    order: Vec<usize>,
    dirty: bool,
    reverse: bool,
}

impl Sources {
    /// Newest sources first; each limited to the range that is read.
    pub fn new(mut memory: Vec<MemoryCursor>, runs: Vec<RunSource>, reverse: bool) -> Sources {
        for cursor in &mut memory {
            if reverse { cursor.seek_last() } else { cursor.seek_first() }
        }
        let order = (0..memory.len() + runs.len()).collect();
        Sources { memory, runs, order, dirty: true, reverse }
    }

    /// Where the walk stands.
    pub fn state(&mut self) -> State {
        if self.dirty {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|source| !matches!(self.position(*source), Position::End));
            order.sort_by(|a, b| self.compare(*a, *b));
            self.order = order;
            self.dirty = false;
        }
        match self.order.first().map(|first| self.position(*first)) {
            Some(Position::Entry(_)) => State::Ready,
            Some(Position::Blocked(_)) => State::Blocked,
            Some(Position::End) | None => State::End,
        }
    }

    /// The entry that the walk stands on, if [`Sources::state`] said `Ready`.
    pub fn entry(&self) -> Option<EntryRef<'_>> {
        match self.position(*self.order.first()?) {
            Position::Entry(entry) => Some(entry),
            Position::Blocked(_) | Position::End => None,
        }
    }

    /// An owned form of [`Sources::entry`], which shares the bytes of the value where that is possible.
    pub fn to_entry(&self) -> Option<Entry> {
        let first = *self.order.first()?;
        match self.memory.get(first) {
            Some(cursor) => cursor.to_entry(),
            None => self.runs.get(first - self.memory.len())?.to_entry(),
        }
    }

    /// Leaves the entry that the walk stands on.
    pub fn advance(&mut self) {
        let Some(&first) = self.order.first() else { return };
        match (self.memory.get_mut(first), self.reverse) {
            (Some(cursor), false) => cursor.next(),
            (Some(cursor), true) => cursor.prev(),
            (None, _) => {
                if let Some(run) = self.runs.get_mut(first - self.memory.len()) {
                    run.advance();
                }
            }
        }
        if matches!(self.position(first), Position::End) {
            self.order.remove(0);
            return;
        }
        let others = self.order.get(1..).unwrap_or_default();
        let passed =
            others.iter().take_while(|other| self.compare(first, **other) == Ordering::Greater).count();
        if passed > 0
            && let Some(moved) = self.order.get_mut(..=passed)
        {
            moved.rotate_left(1);
        }
    }

    /// What all blocked sources wait for that the walk will reach within the view that blocks it now, and what
    /// others may as well fetch along with it.
    pub fn needs(&self) -> Vec<Need> {
        let first = self.order.first().and_then(|first| self.run(*first));
        let Some(near) = first.and_then(RunSource::range) else { return Vec::new() };
        let reached = |bound: Option<&[u8]>| match (bound, self.reverse) {
            (Some(bound), false) => near.end.as_ref().is_none_or(|end| bound < end.as_ref()),
            (Some(bound), true) => bound >= near.start.as_ref(),
            (None, _) => true,
        };
        let mut needs = Vec::new();
        for run in self.order.iter().filter_map(|source| self.run(*source)) {
            match run.position() {
                Position::Blocked(bound) if reached(bound) => needs.extend(run.needs()),
                Position::Entry(_) => needs.extend(run.tops_up()),
                Position::Blocked(_) | Position::End => {}
            }
        }
        needs
    }

    /// Answers a [`Need::Handles`].
    pub fn feed_handles(&mut self, request: &HandleRequest, handles: &[BlockHandle], exhausted: bool) {
        for run in &mut self.runs {
            run.feed_handles(request, handles, exhausted);
        }
        self.dirty = true;
    }

    /// Answers one handle of a [`Need::Blocks`].
    pub fn feed_block(&mut self, handle: BlockHandle, block: &Block) {
        for run in &mut self.runs {
            run.feed_block(handle, block);
        }
        self.dirty = true;
    }

    fn run(&self, source: usize) -> Option<&RunSource> {
        self.runs.get(source.checked_sub(self.memory.len())?)
    }

    fn position(&self, source: usize) -> Position<'_> {
        match self.memory.get(source) {
            Some(cursor) => cursor.entry().map_or(Position::End, Position::Entry),
            None => self.run(source).map_or(Position::End, RunSource::position),
        }
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        let (left, right) = (self.position(a), self.position(b));
        let order = match (&left, &right) {
            (Position::Entry(a), Position::Entry(b)) => {
                let order = cmp_entries((a.key, a.version), (b.key, b.version));
                if self.reverse { order.reverse() } else { order }
            }
            (Position::Blocked(bound), Position::Entry(entry)) => self.waits(*bound, entry.key),
            (Position::Entry(entry), Position::Blocked(bound)) => self.waits(*bound, entry.key).reverse(),
            (Position::Blocked(a), Position::Blocked(b)) => match (a, b) {
                (Some(a), Some(b)) if self.reverse => b.cmp(a),
                _ => a.cmp(b),
            },
            (Position::End, Position::End) => Ordering::Equal,
            (Position::End, _) => Ordering::Greater,
            (_, Position::End) => Ordering::Less,
        };
        order.then(a.cmp(&b))
    }

    /// A source that waits at `bound` comes first if it may yet have an entry at or before `key`.
    fn waits(&self, bound: Option<&[u8]>, key: &[u8]) -> Ordering {
        let may_precede = bound.is_none_or(|bound| if self.reverse { bound >= key } else { bound <= key });
        if may_precede { Ordering::Less } else { Ordering::Greater }
    }
}
