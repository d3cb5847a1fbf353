//! Data blocks: the unit that is stored, checked, read and cached. Byte format: `docs/formats/block.md`.
//!
//! A block is verified and walked through once, in [`Block::decode`]; after that no read of it can fail, and
//! [`Block::find`] and the cursor allocate nothing per step. [`builder`] makes blocks, [`codec`] compresses them,
//! [`cursor`] walks them.

pub mod builder;
pub mod codec;
pub mod cursor;
pub(crate) mod layout;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use bytes::Bytes;
use lamina_types::{TableId, Version};

use crate::block::cursor::BlockCursor;
use crate::block::layout::{EntryHead, STORED_OVERHEAD, TRAILER_BYTES, read_head};
use crate::corruption::Corruption;
use crate::entry::{Entry, Value, cmp_entries};
use crate::varint::{common_prefix, u32_at};

/// The most bytes that a block may have before compression. Decoders refuse a larger claim before they allocate.
pub const BLOCK_BYTES_MAX: usize = 4 << 20;

/// One decoded data block. A clone shares the bytes.
#[derive(Clone, Debug)]
pub struct Block {
    /// Entries and restart array, not compressed.
    raw: Bytes,
    entries_end: usize,
    restarts: usize,
    entries: u32,
}

impl Block {
    /// Whether `stored` is what was written as block number `block` of the table with this origin.
    ///
    /// Checks the checksum only, which also covers the place: a block of another table, or another block of this
    /// one, does not pass.
    pub fn verify(stored: &[u8], origin: TableId, block: u32) -> Result<(), Corruption> {
        layout::open(stored, origin, block).map(|_| ())
    }

    /// Verifies, decompresses and checks the structure of a stored block.
    ///
    /// An uncompressed block stays a slice of `stored`; whoever keeps it long gives bytes that pin nothing else.
    pub fn decode(stored: Bytes, origin: TableId, block: u32) -> Result<Block, Corruption> {
        let bad = |what| Corruption::in_block(what, origin, block);
        let opened = layout::open(&stored, origin, block)?;
        let raw = if opened.codec == codec::Codec::None {
            stored.slice(..stored.len().saturating_sub(STORED_OVERHEAD))
        } else {
            codec::decompress(opened.codec, opened.payload, opened.raw_bytes).map_err(bad)?
        };
        if raw.len() != opened.raw_bytes {
            return Err(bad("the length before compression is wrong"));
        }
        let parsed = Block::from_raw(raw).map_err(bad)?;
        parsed.check().map_err(bad)?;
        Ok(parsed)
    }

    fn from_raw(raw: Bytes) -> Result<Block, &'static str> {
        let short = "the block is too short";
        let body = raw.len().checked_sub(TRAILER_BYTES).ok_or(short)?;
        let trailer = raw.get(body..).ok_or(short)?;
        let entries = u32_at(trailer, 0).ok_or(short)?;
        let restarts = u32_at(trailer, 1).ok_or(short)? as usize;
        let array = restarts.checked_mul(4).ok_or("the restart array is too long")?;
        let entries_end = body.checked_sub(array).ok_or("the restart array is too long")?;
        Ok(Block { raw, entries_end, restarts, entries })
    }

    /// Walks through all entries: whatever is read later was seen here.
    fn check(&self) -> Result<(), &'static str> {
        let mut key: Vec<u8> = Vec::new();
        let mut last = Version::MAX;
        let (mut at, mut count, mut restart) = (0, 0u32, 0);
        while at < self.entries_end {
            let head = self.head(at).ok_or("an entry is malformed")?;
            if self.restart(restart) == Some(at) {
                restart += 1;
                if head.shared != 0 {
                    return Err("a restart point shares bytes with the entry before");
                }
            } else if head.suffix.first().is_some_and(|first| key.get(head.shared) == Some(first)) {
                // The search relies on it.
                return Err("an entry shares less than it could");
            }
            let tail = key.get(head.shared..).ok_or("an entry shares more than the key before it has")?;
            let order = tail.cmp(head.suffix).then_with(|| head.version.cmp(&last));
            if count > 0 && order != Ordering::Less {
                return Err("entries are out of order");
            }
            key.truncate(head.shared);
            key.extend_from_slice(head.suffix);
            last = head.version;
            at = head.end;
            count = count.checked_add(1).ok_or("too many entries")?;
        }
        let complete = at == self.entries_end && count == self.entries && restart == self.restarts;
        if count == 0 || !complete || self.restart(0) != Some(0) {
            return Err("the counts do not match the entries");
        }
        Ok(())
    }

    /// All versions of all keys in the block; never 0.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// The memory that the block takes, for the budget of a cache.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Block>() + self.raw.len()
    }

    /// The newest version of `key` at or below `at`, whatever it is: tombstones and expired values too.
    ///
    /// Costs one allocation, for the key of the entry; [`Block::find`] costs none.
    pub fn get(&self, key: &[u8], at: Version) -> Option<Entry> {
        let (version, value) = self.find(key, at)?;
        Some(Entry { key: Bytes::copy_from_slice(key), version, value })
    }

    /// As [`Block::get`] for a caller who has the key already. The value is a slice of the block.
    pub fn find(&self, key: &[u8], at: Version) -> Option<(Version, Value)> {
        let next = self.restarts_below(key, at);
        if let Some(found) = next.checked_sub(1).and_then(|restart| self.find_in_run(restart, next, key, at))
        {
            return Some(found);
        }
        // No entry of the run before is at or after the target, so it can only be the head of the next run.
        let head = self.head(self.restart(next)?)?;
        (head.suffix == key && head.version <= at).then(|| (head.version, self.value(&head)))
    }

    /// Whether older versions of `key` may follow in the next block of the table: the last entry has this key.
    ///
    /// A reader that found nothing here goes on there (`IndexPart::spill`), unless it has asked the index with its
    /// version.
    pub fn may_continue(&self, key: &[u8]) -> bool {
        use crate::cursor::Cursor;
        let mut cursor = self.cursor();
        cursor.seek_last();
        cursor.entry().is_some_and(|entry| entry.key == key)
    }

    /// A cursor over all entries, before the first.
    pub fn cursor(&self) -> BlockCursor {
        BlockCursor::new(self.clone())
    }

    /// Searches the entries from one restart point up to the next without ever putting a key together: `matched`
    /// is the number of bytes that the target has in common with the entry before, which was smaller.
    fn find_in_run(&self, restart: usize, next: usize, key: &[u8], at: Version) -> Option<(Version, Value)> {
        let mut offset = self.restart(restart)?;
        let end = self.restart(next).unwrap_or(self.entries_end);
        let mut matched = 0;
        while offset < end {
            let head = self.head(offset)?;
            offset = head.end;
            match head.shared.cmp(&matched) {
                Ordering::Greater => continue,
                Ordering::Less => return None,
                Ordering::Equal => {}
            }
            let rest = key.get(matched..)?;
            let common = common_prefix(rest, head.suffix);
            match rest.get(common..)?.cmp(head.suffix.get(common..)?) {
                Ordering::Less => return None,
                Ordering::Equal if head.version <= at => return Some((head.version, self.value(&head))),
                Ordering::Equal | Ordering::Greater => matched += common,
            }
        }
        None
    }

    /// How many restart points stand before (`key`, `at`).
    fn restarts_below(&self, key: &[u8], at: Version) -> usize {
        let (mut low, mut high) = (0, self.restarts);
        while low < high {
            let middle = low + (high - low) / 2;
            let below = self
                .restart(middle)
                .and_then(|offset| self.head(offset))
                .is_some_and(|head| cmp_entries((head.suffix, head.version), (key, at)) == Ordering::Less);
            if below {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    #[inline]
    fn restart(&self, index: usize) -> Option<usize> {
        if index >= self.restarts {
            return None;
        }
        u32_at(self.raw.get(self.entries_end..)?, index).map(|offset| offset as usize)
    }

    /// How many restart points lie before the byte `offset`.
    fn restarts_before(&self, offset: usize) -> usize {
        let (mut low, mut high) = (0, self.restarts);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.restart(middle).is_some_and(|at| at < offset) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    #[inline]
    fn head(&self, at: usize) -> Option<EntryHead<'_>> {
        read_head(self.raw.get(..self.entries_end)?, at)
    }

    fn value(&self, head: &EntryHead<'_>) -> Value {
        if head.tombstone {
            return Value::Tombstone;
        }
        Value::Put { bytes: self.raw.slice(head.value.clone()), expires_ms: head.expires_ms }
    }
}
