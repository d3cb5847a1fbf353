//! What a reader at one version sees, in key order, forward or reverse.
//!
//! [`Scan`] walks memtables and runs together ([`crate::merge::sources`]) and keeps of each key only the newest
//! version at or below the version of the read, unless that is a tombstone or has expired by then. It never
//! fetches: [`Scan::step`] returns a row, or says what it needs.
//!
//! ```text
//! loop { match scan.step() {
//!     Row { .. }   => give it to the caller
//!     Need(needs)  => fetch all of them in parallel; feed_handles / feed_block
//!     Done         => end
//! } }
//! ```
//!
//! A table that cannot be had is the caller's matter: other copies, then a new view and a new scan (G6). A scan that
//! was not fed stays blocked; it never goes on without a table.
//!
//! In reverse the versions of a key come oldest first. So a row is known only when the walk has left its key in
//! every source, also in those that still wait for the block in which the key may go on.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use lamina_types::{BlockHandle, KeyRange, Version};

use crate::block::Block;
use crate::entry::{Entry, Value};
use crate::merge::{HandleRequest, MemoryCursor, MergeInput, Need, ReadAhead, RunSource, Sources, State};
use crate::tree::Tree;

/// What is to be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanSpec {
    /// The keys.
    pub range: KeyRange,
    /// The version of the read; not below the floor of the tree, which the caller has checked.
    pub at: Version,
    /// From the highest key down.
    pub reverse: bool,
    /// How many rows the caller wants, if it knows: a hint for the read-ahead. Ending the scan is up to the caller.
    pub rows_hint: Option<usize>,
}

/// What [`Scan::step`] answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// The next row.
    Row {
        /// The key, keyspace first.
        key: Bytes,
        /// The user's bytes: a slice of block or memtable where that is possible.
        value: Bytes,
        /// The version that wrote them.
        version: Version,
    },
    /// Feed all of these, then step again. Never empty.
    Need(Vec<Need>),
    /// There are no more rows.
    Done,
}

/// A read of a key range at one version.
pub struct Scan {
    sources: Sources,
    at: Version,
    reverse: bool,
    /// The key that the walk is in.
    key: Vec<u8>,
    /// Forward: the newest version of `key` at or below `at` has been seen.
    settled: bool,
    /// Reverse: the newest version of `key` at or below `at` so far.
    candidate: Option<Entry>,
}

/// Rows for which one block at first is likely to be enough.
const FEW_ROWS: usize = 32;

impl Scan {
    /// A scan of memtable cursors, newest first and limited to the range, above the runs of a tree.
    pub fn new(spec: ScanSpec, memtables: Vec<MemoryCursor>, tree: &Tree) -> Scan {
        let first = if spec.rows_hint.is_some_and(|rows| rows <= FEW_ROWS) { 1 } else { 2 };
        let ahead = ReadAhead { first, ..ReadAhead::SCAN };
        let runs = tree.overlapping(&spec.range).map(|views| {
            let clipped = views.iter().filter_map(|view| view.clip(&spec.range));
            let mut inputs: Vec<_> = clipped.map(|view| MergeInput { view, handles: None }).collect();
            if spec.reverse {
                inputs.reverse();
            }
            RunSource::new(inputs, spec.reverse, ahead)
        });
        Scan {
            sources: Sources::new(memtables, runs.collect(), spec.reverse),
            at: spec.at,
            reverse: spec.reverse,
            key: Vec::new(),
            settled: false,
            candidate: None,
        }
    }

    /// The next row, or what is needed to find it.
    pub fn step(&mut self) -> Step {
        if self.reverse { self.step_reverse() } else { self.step_forward() }
    }

    /// Answers a [`Need::Handles`]. `exhausted`: the table has no further block for the range.
    pub fn feed_handles(&mut self, request: &HandleRequest, handles: Vec<BlockHandle>, exhausted: bool) {
        self.sources.feed_handles(request, &handles, exhausted);
    }

    /// Answers one handle of a [`Need::Blocks`].
    pub fn feed_block(&mut self, handle: BlockHandle, block: Block) {
        self.sources.feed_block(handle, &block);
    }

    /// The key that the walk is in, whether its row was given or not; empty before the first key.
    pub fn position(&self) -> &[u8] {
        &self.key
    }

    fn step_forward(&mut self) -> Step {
        loop {
            match self.sources.state() {
                State::Ready => {}
                State::Blocked => return Step::Need(self.sources.needs()),
                State::End => return Step::Done,
            }
            let Some(entry) = self.sources.entry() else { return Step::Done };
            let same = entry.key == self.key.as_slice();
            let decides = entry.version <= self.at && !(same && self.settled);
            let shown = decides && entry.value.visible_at(self.at).is_some();
            if !same {
                self.key.clear();
                self.key.extend_from_slice(entry.key);
                self.settled = false;
            }
            self.settled |= decides;
            let row = if shown { self.sources.to_entry() } else { None };
            self.sources.advance();
            if let Some(row) = row.and_then(|entry| self.row(entry)) {
                return row;
            }
        }
    }

    fn step_reverse(&mut self) -> Step {
        loop {
            match self.sources.state() {
                State::Ready => {}
                State::Blocked => return Step::Need(self.sources.needs()),
                State::End => {
                    return self.candidate.take().and_then(|entry| self.row(entry)).unwrap_or(Step::Done);
                }
            }
            let Some(entry) = self.sources.entry() else { return Step::Done };
            if entry.key != self.key.as_slice() {
                self.key.clear();
                self.key.extend_from_slice(entry.key);
                if let Some(row) = self.candidate.take().and_then(|entry| self.row(entry)) {
                    return row;
                }
                continue;
            }
            if entry.version <= self.at {
                self.candidate = self.sources.to_entry();
            }
            self.sources.advance();
        }
    }

    fn row(&self, entry: Entry) -> Option<Step> {
        let value = entry.value.visible_at(self.at)?.clone();
        Some(Step::Row { key: entry.key, value, version: entry.version })
    }
}

/// What one block says of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Look {
    /// The newest version at or below the asked one. It decides, whatever it is: [`Value::visible_at`].
    Found(Version, Value),
    /// Only newer versions, and the key is the last of the block: it may go on in the next block of the table.
    Onward,
    /// This table has no such version; the next candidate decides.
    Absent,
}

/// Looks for the newest version of `key` at or below `at` in a block of a candidate. A point read asks the
/// memtables first, then the candidates, newest first, and stops at the first that is found.
pub fn look(block: &Block, key: &[u8], at: Version) -> Look {
    if let Some((version, value)) = block.find(key, at) {
        return Look::Found(version, value);
    }
    if block.may_continue(key) { Look::Onward } else { Look::Absent }
}
