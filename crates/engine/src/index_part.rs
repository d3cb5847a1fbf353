//! The index part of a table: where its blocks lie, which keys they may hold, a filter, and properties.
//! Byte format: `docs/formats/index-part.md`.
//!
//! It is one run of bytes with one checksum, sent to index nodes and copied into the tail of the table's file. It
//! is read where it lies: [`IndexPart::parse`] checks everything once, after that lookups cannot fail and allocate
//! nothing.
//!
//! There is one index entry per data block. Its **bound** is a pair (key, version) that separates the block from
//! the one before: every entry of earlier blocks lies before the bound, every entry of this and later blocks at or
//! behind it, in the order of [`crate::entry::cmp_entries`]. Usually it is the shortest prefix of the block's first
//! key that does so, with the highest version. If one key's versions **spill** over into the block, it is that key
//! with the last version of the block before, minus one. So [`IndexPart::find_at`] names exactly one block, the
//! only one that can hold the newest version at or below `at`, however many versions a key has.

pub(crate) mod builder;
mod entries;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use lamina_types::{BlockHandle, KeyRange, TableId, Version};

use crate::corruption::Corruption;
use crate::filter::{Filter, key_hash};
use crate::index_part::entries::{Entries, Located};
use crate::properties::Properties;

pub(crate) const MAGIC: &[u8; 8] = b"LAMINDEX";
pub(crate) const FORMAT: u16 = 1;
pub(crate) const SECTION_PROPERTIES: u16 = 1;
pub(crate) const SECTION_ENTRIES: u16 = 2;
pub(crate) const SECTION_FILTER: u16 = 3;
pub(crate) const FLAG_REQUIRED: u16 = 1;

/// The index part of one table. A clone shares everything.
#[derive(Clone, Debug)]
pub struct IndexPart {
    bytes: Bytes,
    entries: Entries,
    filter: Filter,
    properties: Arc<Properties>,
    table: TableId,
    crc: u32,
}

/// What the index knows of one data block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockInfo {
    /// Where it lies.
    pub handle: BlockHandle,
    /// All versions of all keys in it.
    pub entries: u32,
    /// Those of them that are tombstones.
    pub tombstones: u32,
    /// The millisecond of the highest version in it.
    pub newest_ms: u64,
    /// Whether its first key is the last key of the block before.
    pub spilled: bool,
}

impl IndexPart {
    /// Reads an index part without copying it; whoever keeps it long gives bytes that pin nothing else.
    ///
    /// Checks the checksum and the whole structure. Refuses a part with a section that is required and unknown.
    pub fn parse(bytes: Bytes) -> Result<IndexPart, Corruption> {
        let (covered, crc) =
            bytes.split_last_chunk::<4>().ok_or(Corruption::new("the index part is too short"))?;
        let crc = u32::from_le_bytes(*crc);
        if crc32fast::hash(covered) != crc {
            return Err(Corruption::new("the checksum of the index part does not match"));
        }
        let sections = Sections::parse(bytes.slice(..covered.len())).map_err(Corruption::new)?;
        let properties = Properties::decode(sections.properties)
            .map_err(|_| Corruption::new("the properties of the index part are malformed"))?;
        let origin = properties.origin;
        let bad = |what| Corruption::in_table(what, origin);
        let filter = Filter::parse(sections.filter).map_err(bad)?;
        let entries = Entries::parse(sections.entries, &properties).map_err(bad)?;
        Ok(IndexPart { bytes, entries, filter, properties: Arc::new(properties), table: origin, crc })
    }

    /// The same part of the same bytes under another name of the table (protocols §9.3): its handles carry `table`.
    #[must_use]
    pub fn renamed(&self, table: TableId) -> IndexPart {
        IndexPart { table, ..self.clone() }
    }

    /// The table that the handles name: the origin, unless [`IndexPart::renamed`].
    pub fn table(&self) -> TableId {
        self.table
    }

    /// The id under which the table was first written, which seeds the checksums of its blocks.
    pub fn origin(&self) -> TableId {
        self.properties.origin
    }

    /// Counts and bounds of the table.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// The bytes that the part was read from.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The checksum of the part, as the table record has it.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// The name of the filter that was built, for reports.
    pub fn filter_name(&self) -> &'static str {
        self.filter.name()
    }

    /// The memory that the part takes.
    pub fn memory_bytes(&self) -> usize {
        let bounds = self.properties.smallest.len() + self.properties.largest.len();
        size_of::<IndexPart>() + size_of::<Properties>() + bounds + self.bytes.len()
    }

    /// The number of data blocks; never 0.
    pub fn blocks(&self) -> u32 {
        self.entries.count()
    }

    /// Whether the table may hold some version of `key`; `false` is certain.
    pub fn may_contain(&self, key: &[u8]) -> bool {
        self.properties.spans(key) && self.filter.may_contain(key_hash(key))
    }

    /// The block that holds the newest version of `key` if the table holds the key; `None`: it does not.
    pub fn lookup(&self, key: &[u8]) -> Option<BlockHandle> {
        self.lookup_at(key, key_hash(key), Version::MAX)
    }

    /// The block that holds the newest version of `key` at or below `at` if the table holds one; `None`: it does
    /// not. `hash` is the [`key_hash`] of `key`, made once for all candidate tables.
    pub fn lookup_at(&self, key: &[u8], hash: u64, at: Version) -> Option<BlockHandle> {
        if !self.filter.may_contain(hash) {
            return None;
        }
        self.find_at(key, at)
    }

    /// As [`IndexPart::lookup`], without asking the filter.
    pub fn find(&self, key: &[u8]) -> Option<BlockHandle> {
        self.find_at(key, Version::MAX)
    }

    /// As [`IndexPart::lookup_at`], without asking the filter: the block with the first entry at or after
    /// (`key`, `at`). `None` if `key` lies outside of the table's keys.
    pub fn find_at(&self, key: &[u8], at: Version) -> Option<BlockHandle> {
        if !self.properties.spans(key) {
            return None;
        }
        self.entries.last_at_or_before(key, at).map(|located| self.handle(&located))
    }

    /// The block after this one; `None` for the last.
    pub fn next(&self, handle: BlockHandle) -> Option<BlockHandle> {
        let block = handle.block.checked_add(1)?;
        self.entries.starting_at(block).next().map(|located| self.handle(&located))
    }

    /// The block after this one if the versions of one key spill over into it.
    ///
    /// Whoever got a block from [`IndexPart::lookup`], without a version, and finds no version of the key in it that
    /// is old enough, reads on there.
    pub fn spill(&self, handle: BlockHandle) -> Option<BlockHandle> {
        let block = handle.block.checked_add(1)?;
        self.entries
            .starting_at(block)
            .next()
            .filter(|next| next.spilled)
            .map(|located| self.handle(&located))
    }

    /// At most `limit` consecutive blocks that may hold keys of `range`, in the order of a scan: ascending, or
    /// descending from the end of the range if `reverse`.
    pub fn seek(&self, range: &KeyRange, reverse: bool, limit: usize) -> Vec<BlockHandle> {
        let properties = &self.properties;
        let end = range.end.as_deref();
        let outside =
            range.start > properties.largest || end.is_some_and(|end| end <= properties.smallest.as_ref());
        if outside || range.is_empty() {
            return Vec::new();
        }
        let first =
            self.entries.last_at_or_before(&range.start, Version::MAX).map_or(0, |located| located.block);
        let last = match end {
            Some(end) => self.entries.last_before(end, Version::MAX).map_or(0, |located| located.block),
            None => self.blocks().saturating_sub(1),
        };
        let wanted = limit.min((last.saturating_sub(first) as usize).saturating_add(1));
        let from = if reverse { last.saturating_add(1).saturating_sub(wanted as u32) } else { first };
        let mut handles: Vec<BlockHandle> =
            self.entries.starting_at(from).take(wanted).map(|located| self.handle(&located)).collect();
        if reverse {
            handles.reverse();
        }
        handles
    }

    /// All blocks in order, as when a file is scrubbed or merged.
    pub fn infos(&self) -> impl Iterator<Item = BlockInfo> {
        self.entries.starting_at(0).map(|located| BlockInfo {
            handle: self.handle(&located),
            entries: located.entries,
            tombstones: located.tombstones,
            newest_ms: located.newest_ms,
            spilled: located.spilled,
        })
    }

    /// A key near the middle, by stored bytes, of what the table holds in `range`: where a tablet may be split.
    ///
    /// Both sides of the key have blocks; `None` if the range has too few for that.
    pub fn split_key(&self, range: &KeyRange) -> Option<Bytes> {
        let handles = self.seek(range, false, usize::MAX);
        let (first, last) = (handles.first()?, handles.last()?);
        let middle = first.offset + (last.end() - first.offset) / 2;
        let block = handles.iter().skip(1).find(|handle| handle.end() > middle)?.block;
        let key = self.entries.key(block)?;
        (key > range.start && range.contains(&key)).then_some(key)
    }

    fn handle(&self, located: &Located) -> BlockHandle {
        BlockHandle {
            table: self.table,
            offset: located.offset,
            length: located.length,
            block: located.block,
        }
    }
}

/// The bytes of the sections that this level knows.
struct Sections {
    properties: Bytes,
    entries: Bytes,
    filter: Bytes,
}

impl Sections {
    fn parse(bytes: Bytes) -> Result<Sections, &'static str> {
        use lamina_types::wire::{Reader, WireError};
        let short = |_: WireError| "the index part ends too early";
        let mut head = Reader::new(bytes);
        if head.take(MAGIC.len()).map_err(short)?.as_ref() != MAGIC {
            return Err("this is no index part");
        }
        if head.u16().map_err(short)? != FORMAT {
            return Err("the format of the index part is unknown");
        }
        let count = head.u16().map_err(short)?;
        let mut list = Reader::new(head.take(8 * usize::from(count)).map_err(short)?);
        let (mut properties, mut entries, mut filter) = (None, None, None);
        for _ in 0..count {
            let (kind, flags) = (list.u16().map_err(short)?, list.u16().map_err(short)?);
            let body = head.take(list.u32().map_err(short)? as usize).map_err(short)?;
            let slot = match kind {
                SECTION_PROPERTIES => &mut properties,
                SECTION_ENTRIES => &mut entries,
                SECTION_FILTER => &mut filter,
                _ if flags & FLAG_REQUIRED != 0 => {
                    return Err("a required section of the index part is unknown");
                }
                _ => continue,
            };
            if slot.replace(body).is_some() {
                return Err("a section of the index part stands twice");
            }
        }
        head.end().map_err(|_| "there are bytes behind the sections of the index part")?;
        match (properties, entries, filter) {
            (Some(properties), Some(entries), Some(filter)) => Ok(Sections { properties, entries, filter }),
            _ => Err("a section of the index part is missing"),
        }
    }
}
