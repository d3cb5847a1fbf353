//! Walks through one block.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;
use lamina_types::Version;

use crate::block::Block;
use crate::cursor::{Cursor, EntryRef, ValueRef};
use crate::entry::{Entry, Value, cmp_entries};

/// A cursor over all entries of a block.
#[derive(Clone, Debug)]
pub struct BlockCursor {
    block: Block,
    place: Place,
    /// The current entry, if the cursor stands on one. The key keeps its memory over moves.
    key: Vec<u8>,
    version: Version,
    tombstone: bool,
    expires_ms: Option<u64>,
    value: Range<usize>,
    start: usize,
    end: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Before,
    On,
    Behind,
}

impl BlockCursor {
    pub(super) fn new(block: Block) -> BlockCursor {
        BlockCursor {
            block,
            place: Place::Before,
            key: Vec::new(),
            version: Version::ZERO,
            tombstone: false,
            expires_ms: None,
            value: 0..0,
            start: 0,
            end: 0,
        }
    }

    /// The block that the cursor walks through.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// Reads the entry at `offset`, which follows the current one or is a restart point.
    fn read(&mut self, offset: usize) {
        let Some(head) = self.block.head(offset) else {
            self.place = Place::Behind;
            return;
        };
        self.key.truncate(head.shared);
        self.key.extend_from_slice(head.suffix);
        self.version = head.version;
        self.tombstone = head.tombstone;
        self.expires_ms = head.expires_ms;
        self.value = head.value;
        self.start = offset;
        self.end = head.end;
        self.place = Place::On;
    }

    /// Goes to the last entry that begins before `offset`, which is not 0.
    fn read_last_before(&mut self, offset: usize) {
        let restart = self.block.restarts_before(offset).saturating_sub(1);
        self.read(self.block.restart(restart).unwrap_or(0));
        while self.place == Place::On && self.end < offset {
            self.read(self.end);
        }
    }
}

impl Cursor for BlockCursor {
    fn seek(&mut self, key: &[u8], version: Version) {
        let restart = self.block.restarts_below(key, version).saturating_sub(1);
        self.read(self.block.restart(restart).unwrap_or(0));
        while self.place == Place::On
            && cmp_entries((&self.key, self.version), (key, version)) == Ordering::Less
        {
            self.read(self.end);
        }
    }

    fn seek_first(&mut self) {
        self.read(0);
    }

    fn seek_last(&mut self) {
        self.read_last_before(self.block.entries_end);
    }

    fn next(&mut self) {
        match self.place {
            Place::Before => self.read(0),
            Place::On => self.read(self.end),
            Place::Behind => {}
        }
    }

    fn prev(&mut self) {
        match self.place {
            Place::Before => {}
            Place::On if self.start == 0 => self.place = Place::Before,
            Place::On => self.read_last_before(self.start),
            Place::Behind => self.seek_last(),
        }
    }

    fn entry(&self) -> Option<EntryRef<'_>> {
        if self.place != Place::On {
            return None;
        }
        let value = if self.tombstone {
            ValueRef::Tombstone
        } else {
            ValueRef::Put { bytes: self.block.raw.get(self.value.clone())?, expires_ms: self.expires_ms }
        };
        Some(EntryRef { key: &self.key, version: self.version, value })
    }

    fn to_entry(&self) -> Option<Entry> {
        let entry = self.entry()?;
        let value = match entry.value {
            ValueRef::Tombstone => Value::Tombstone,
            ValueRef::Put { expires_ms, .. } => {
                Value::Put { bytes: self.block.raw.slice(self.value.clone()), expires_ms }
            }
        };
        Some(Entry { key: Bytes::copy_from_slice(entry.key), version: entry.version, value })
    }
}
