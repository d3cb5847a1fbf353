//! Many sorted sources read as one, and what of them survives a flush or a compaction.
//!
//! ```text
//! memtable cursors ─┐
//! run (views → handles → blocks) ─┤─ Sources: one order ─┬─ Merge: the drop rules  → tables   (here)
//! run ─┘                                                 └─ Scan: what a reader sees → rows    (crate::scan)
//! ```
//!
//! Blocks are elsewhere, so nothing here fetches: [`Merge::step`] says what it needs and goes on when it was fed.
//!
//! Drop rules (protocols §7.3), per key, with the floor f: every version above f stays; of those at or below f only
//! the newest; if that one is a tombstone or has expired at f it becomes a tombstone, or is dropped iff the merge
//! is at the bottom. An expired entry may not simply vanish elsewhere: it hides what is older.

pub mod cut;
pub mod need;
pub mod run;
pub mod sources;
#[cfg(test)]
mod tests;

use lamina_types::{BlockHandle, Version};

pub use cut::Cutter;
pub use need::{HandleRequest, Need};
pub use run::{MergeInput, ReadAhead, RunSource};
pub use sources::{Sources, State};

use crate::block::Block;
use crate::cursor::Cursor;
use crate::entry::{Entry, Value};

/// A cursor over a memtable, limited to the range that is read.
pub type MemoryCursor = Box<dyn Cursor + Send>;

/// What a merge may drop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DropRules {
    /// No reader ever reads below this version again.
    pub floor: Version,
    /// Nothing older than the inputs holds any of their keys.
    pub bottom: bool,
}

/// What [`Merge::step`] answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MergeStep {
    /// The next entry to write: keys ascending, versions of a key descending.
    Entry(Entry),
    /// Feed all of these, then step again. Never empty.
    Need(Vec<Need>),
    /// There are no more entries.
    Done,
}

/// How many entries went in and came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MergeCounts {
    /// Read from the inputs.
    pub read: u64,
    /// Returned by [`Merge::step`].
    pub kept: u64,
}

/// The merge of a flush or a compaction: inputs in, surviving entries out.
pub struct Merge {
    sources: Sources,
    rules: DropRules,
    key: Vec<u8>,
    /// Whether a version of `key` at or below the floor has been seen.
    settled: bool,
    counts: MergeCounts,
}

impl Merge {
    /// A merge of memtable cursors, newest first, above runs, newest first. Each run is a list of inputs in
    /// ascending order; only the keys in an input's range are read.
    pub fn new(
        memtables: Vec<MemoryCursor>,
        runs: Vec<Vec<MergeInput>>,
        rules: DropRules,
        ahead: ReadAhead,
    ) -> Merge {
        let runs = runs.into_iter().map(|inputs| RunSource::new(inputs, false, ahead)).collect();
        Merge {
            sources: Sources::new(memtables, runs, false),
            rules,
            key: Vec::new(),
            settled: false,
            counts: MergeCounts::default(),
        }
    }

    /// The next surviving entry, or what is needed to find it.
    pub fn step(&mut self) -> MergeStep {
        loop {
            match self.sources.state() {
                State::Ready => {}
                State::Blocked => return MergeStep::Need(self.sources.needs()),
                State::End => return MergeStep::Done,
            }
            let kept = self.judge();
            self.sources.advance();
            self.counts.read += 1;
            if let Some(entry) = kept {
                self.counts.kept += 1;
                return MergeStep::Entry(entry);
            }
        }
    }

    /// Answers a [`Need::Handles`]. `exhausted`: the table has no further block for the range.
    pub fn feed_handles(&mut self, request: &HandleRequest, handles: Vec<BlockHandle>, exhausted: bool) {
        self.sources.feed_handles(request, &handles, exhausted);
    }

    /// Answers one handle of a [`Need::Blocks`].
    pub fn feed_block(&mut self, handle: BlockHandle, block: Block) {
        self.sources.feed_block(handle, &block);
    }

    /// Entries read and kept so far.
    pub fn counts(&self) -> MergeCounts {
        self.counts
    }

    /// What becomes of the entry that the sources stand on.
    fn judge(&mut self) -> Option<Entry> {
        let (version, same) = {
            let entry = self.sources.entry()?;
            (entry.version, entry.key == self.key.as_slice())
        };
        if !same {
            self.key.clear();
            self.key.extend_from_slice(self.sources.entry()?.key);
            self.settled = false;
        }
        if version > self.rules.floor {
            return self.sources.to_entry();
        }
        if std::mem::replace(&mut self.settled, true) {
            return None;
        }
        let mut entry = self.sources.to_entry()?;
        if entry.value.visible_at(self.rules.floor).is_none() {
            if self.rules.bottom {
                return None;
            }
            entry.value = Value::Tombstone;
        }
        Some(entry)
    }
}
