//! Walks through a memtable while it is written to.

use std::sync::Arc;

use lamina_types::{KeyRange, Version};

use crate::cursor::{Cursor, EntryRef};
use crate::entry::Entry;
use crate::memtable::slot::Slot;
use crate::memtable::{Memtable, Slots};

/// A cursor over the entries of a memtable with keys in a range.
///
/// It keeps the leaf that it stands in as that was when the cursor came there, and goes on from the entry it stands
/// on, so that inserts and splits of leaves neither move it nor hide anything older from it.
#[derive(Clone, Debug)]
pub struct MemCursor {
    memtable: Arc<Memtable>,
    range: KeyRange,
    slots: Arc<Slots>,
    place: Standing,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Before,
    On(usize),
    Behind,
}

impl MemCursor {
    pub(super) fn new(memtable: Arc<Memtable>, range: KeyRange) -> MemCursor {
        MemCursor { memtable, range, slots: Arc::default(), place: Standing::Before }
    }

    fn slot(&self) -> Option<&Slot> {
        match self.place {
            Standing::On(at) => self.slots.get(at),
            _ => None,
        }
    }

    /// Stands on what was found going forward, if it lies before the end of the range.
    fn stand_forward(&mut self, found: Option<(Arc<Slots>, usize)>) {
        self.place = Standing::Behind;
        if let Some((slots, at)) = found {
            self.slots = slots;
            self.stay_before_end(at);
        }
    }

    fn stay_before_end(&mut self, at: usize) {
        let end = self.range.end.as_deref();
        let inside = self.slots.get(at).is_some_and(|slot| end.is_none_or(|end| slot.key() < end));
        self.place = if inside { Standing::On(at) } else { Standing::Behind };
    }

    /// Stands on what was found going backward, if it does not lie before the start of the range.
    fn stand_backward(&mut self, found: Option<(Arc<Slots>, usize)>) {
        self.place = Standing::Before;
        if let Some((slots, at)) = found {
            self.slots = slots;
            self.stay_after_start(at);
        }
    }

    fn stay_after_start(&mut self, at: usize) {
        let inside = self.slots.get(at).is_some_and(|slot| slot.key() >= self.range.start.as_ref());
        self.place = if inside { Standing::On(at) } else { Standing::Before };
    }
}

impl Cursor for MemCursor {
    fn seek(&mut self, key: &[u8], version: Version) {
        if key < self.range.start.as_ref() {
            return self.seek_first();
        }
        let found = self.memtable.first_from(key, version, false);
        self.stand_forward(found);
    }

    fn seek_first(&mut self) {
        let found = self.memtable.first_from(&self.range.start, Version::MAX, false);
        self.stand_forward(found);
    }

    fn seek_last(&mut self) {
        let found = match &self.range.end {
            Some(end) => self.memtable.last_before(end, Version::MAX),
            None => self.memtable.last(),
        };
        self.stand_backward(found);
    }

    fn next(&mut self) {
        match self.place {
            Standing::Before => self.seek_first(),
            Standing::On(at) if at + 1 < self.slots.len() => self.stay_before_end(at + 1),
            Standing::On(_) => {
                let found =
                    self.slot().and_then(|slot| self.memtable.first_from(slot.key(), slot.version, true));
                self.stand_forward(found);
            }
            Standing::Behind => {}
        }
    }

    fn prev(&mut self) {
        match self.place {
            Standing::Before => {}
            Standing::On(at) if at > 0 => self.stay_after_start(at - 1),
            Standing::On(_) => {
                let found = self.slot().and_then(|slot| self.memtable.last_before(slot.key(), slot.version));
                self.stand_backward(found);
            }
            Standing::Behind => self.seek_last(),
        }
    }

    fn entry(&self) -> Option<EntryRef<'_>> {
        self.slot().map(Slot::as_ref)
    }

    fn to_entry(&self) -> Option<Entry> {
        self.slot().map(Slot::to_entry)
    }
}
