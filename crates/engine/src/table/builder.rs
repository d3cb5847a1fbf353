//! Makes tables.

use std::cmp::Ordering;
use std::mem;

use bytes::Bytes;
use lamina_types::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use lamina_types::{Error, Reason, Version};

use crate::block::builder::BlockBuilder;
use crate::cursor::{EntryRef, ValueRef};
use crate::entry::cmp_entries;
use crate::filter::{Filter, key_hash};
use crate::index_part::builder::{BlockCounts, IndexBuilder};
use crate::properties::Properties;
use crate::table::TableSpec;
use crate::table::footer::{FOOTER_BYTES, Footer, Section};

/// A stored key is a user's key with its keyspace before it.
const STORED_KEY_BYTES_MAX: usize = KEY_BYTES_MAX + 4;
/// So many entries keep every section far below 4 GiB, whose length is written in 32 bits.
const ENTRIES_MAX: u64 = 1 << 28;
/// What an entry takes beside key and value, at most: kind, two lengths, version, expiry, length of the value.
const ENTRY_OVERHEAD: usize = 1 + 2 * 3 + 8 + 10 + 4;

/// Why an entry, or a table, could not be built. All of them are defects of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    /// The entry does not come after the one before (keys ascending, versions of one key descending).
    #[error("an entry was added to a table out of order")]
    OutOfOrder,
    /// The key is longer than a key with its keyspace may be.
    #[error("a key of {0} bytes was added to a table")]
    KeyTooLarge(usize),
    /// The value is longer than a value may be.
    #[error("a value of {0} bytes was added to a table")]
    ValueTooLarge(usize),
    /// The table has as many entries as its format allows.
    #[error("a table has too many entries")]
    TooManyEntries,
    /// A table has at least one entry.
    #[error("a table was finished without entries")]
    Empty,
}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Error {
        Error::new(Reason::Bug, error.to_string())
    }
}

/// Builds one table as a stream.
pub struct TableBuilder {
    spec: TableSpec,
    block: BlockBuilder,
    block_tombstones: u32,
    block_newest: Version,
    index: IndexBuilder,
    finished: Vec<Bytes>,
    hashes: Vec<u64>,
    data_crc: crc32fast::Hasher,
    properties: Properties,
}

/// What a finished table consists of, beside the blocks that were taken before.
#[derive(Clone, Debug)]
pub struct BuiltTable {
    /// The rest of the file: blocks that had not been taken, index part, footer.
    pub rest: Bytes,
    /// The index part by itself, for the index nodes.
    pub index_part: Bytes,
    /// Counts and bounds.
    pub properties: Properties,
    /// The checksum of the footer, which stands for the whole file.
    pub footer_crc: u32,
    /// The checksum of the index part.
    pub index_crc: u32,
    /// The bytes of the file.
    pub file_bytes: u64,
}

impl TableBuilder {
    /// Begins a table.
    pub fn new(spec: TableSpec) -> TableBuilder {
        let properties = Properties {
            origin: spec.id,
            tablet: spec.tablet,
            level: spec.level,
            entries: 0,
            tombstones: 0,
            expiring: 0,
            keys: 0,
            key_bytes: 0,
            value_bytes: 0,
            data_bytes: 0,
            blocks: 0,
            smallest: Bytes::new(),
            largest: Bytes::new(),
            lowest: Version::MAX,
            highest: Version::ZERO,
            oldest_expiry_ms: None,
        };
        TableBuilder {
            block: BlockBuilder::new(spec.codec),
            block_tombstones: 0,
            block_newest: Version::ZERO,
            index: IndexBuilder::default(),
            finished: Vec::new(),
            hashes: Vec::new(),
            data_crc: crc32fast::Hasher::new(),
            properties,
            spec,
        }
    }

    /// Appends an entry, which must come after all before it in the order of [`cmp_entries`].
    ///
    /// After an error the table is as it was before.
    pub fn add<'a>(&mut self, entry: impl Into<EntryRef<'a>>) -> Result<(), BuildError> {
        let entry = entry.into();
        if entry.key.len() > STORED_KEY_BYTES_MAX {
            return Err(BuildError::KeyTooLarge(entry.key.len()));
        }
        if entry.value.len() > VALUE_BYTES_MAX {
            return Err(BuildError::ValueTooLarge(entry.value.len()));
        }
        if self.properties.entries >= ENTRIES_MAX {
            return Err(BuildError::TooManyEntries);
        }
        let last = self.block.last();
        if last.is_some_and(|last| cmp_entries(last, (entry.key, entry.version)) != Ordering::Less) {
            return Err(BuildError::OutOfOrder);
        }
        let first_of_key = last.is_none_or(|(key, _)| key != entry.key);
        let grown = self.block.raw_bytes() + entry.bytes() + ENTRY_OVERHEAD;
        if self.block.entries() > 0 && grown > self.spec.block_bytes {
            self.end_block();
        }
        if self.block.entries() == 0 {
            self.index.begin_block(self.block.last(), entry.key);
        }
        self.count(entry, first_of_key);
        self.block.add(entry);
        Ok(())
    }

    /// The blocks that are complete and have not been taken yet, in the order of the file.
    pub fn take_data(&mut self) -> Vec<Bytes> {
        mem::take(&mut self.finished)
    }

    /// The bytes of the data part so far; those of the block that is being filled count as they are before
    /// compression.
    pub fn data_bytes(&self) -> u64 {
        let open = if self.block.entries() > 0 { self.block.raw_bytes() as u64 } else { 0 };
        self.properties.data_bytes + open
    }

    /// The entries so far.
    pub fn entries(&self) -> u64 {
        self.properties.entries
    }

    /// The memory that the builder holds, for the budget of a job.
    pub fn memory_bytes(&self) -> usize {
        let finished: usize = self.finished.iter().map(Bytes::len).sum();
        finished + self.block.raw_bytes() + self.index.bytes() + 8 * self.hashes.len()
    }

    /// Completes the table.
    pub fn finish(mut self) -> Result<BuiltTable, BuildError> {
        if self.block.entries() > 0 {
            self.end_block();
        }
        let Some((largest, _)) = self.block.last() else { return Err(BuildError::Empty) };
        self.properties.largest = Bytes::copy_from_slice(largest);
        self.properties.blocks = self.index.count();
        let filter = Filter::build(self.spec.filter, &mut self.hashes);
        let (index_part, index_crc) = self.index.finish(&self.properties, &filter);
        let data_bytes = self.properties.data_bytes;
        let index_bytes = index_part.len() as u64;
        let file_bytes = data_bytes + index_bytes + FOOTER_BYTES as u64;
        let footer = Footer {
            origin: self.spec.id,
            tablet: self.spec.tablet,
            level: self.spec.level,
            lowest: self.properties.lowest,
            highest: self.properties.highest,
            file_bytes,
            data: Section { offset: 0, length: data_bytes, crc: self.data_crc.finalize() },
            index: Section { offset: data_bytes, length: index_bytes, crc: index_crc },
            crc: 0,
        }
        .encode();
        let footer_crc = footer.last_chunk().copied().map_or(0, u32::from_le_bytes);
        let left: usize = self.finished.iter().map(Bytes::len).sum();
        let mut rest = Vec::with_capacity(left + index_part.len() + FOOTER_BYTES);
        for block in &self.finished {
            rest.extend_from_slice(block);
        }
        rest.extend_from_slice(&index_part);
        rest.extend_from_slice(&footer);
        let properties = self.properties;
        Ok(BuiltTable { rest: Bytes::from(rest), index_part, properties, footer_crc, index_crc, file_bytes })
    }

    fn end_block(&mut self) {
        let entries = self.block.entries();
        let stored = self.block.finish(self.spec.id, self.index.count());
        self.index.end_block(&BlockCounts {
            length: stored.len() as u32,
            entries,
            tombstones: mem::take(&mut self.block_tombstones),
            newest: mem::replace(&mut self.block_newest, Version::ZERO),
        });
        self.data_crc.update(&stored);
        self.properties.data_bytes += stored.len() as u64;
        self.finished.push(stored);
    }

    fn count(&mut self, entry: EntryRef<'_>, first_of_key: bool) {
        let properties = &mut self.properties;
        if properties.entries == 0 {
            properties.smallest = Bytes::copy_from_slice(entry.key);
        }
        if first_of_key {
            properties.keys += 1;
            self.hashes.push(key_hash(entry.key));
        }
        properties.entries += 1;
        properties.key_bytes += entry.key.len() as u64;
        properties.value_bytes += entry.value.len() as u64;
        properties.lowest = properties.lowest.min(entry.version);
        properties.highest = properties.highest.max(entry.version);
        self.block_newest = self.block_newest.max(entry.version);
        match entry.value {
            ValueRef::Tombstone => {
                properties.tombstones += 1;
                self.block_tombstones += 1;
            }
            ValueRef::Put { expires_ms: Some(ms), .. } => {
                properties.expiring += 1;
                properties.oldest_expiry_ms =
                    Some(properties.oldest_expiry_ms.map_or(ms, |oldest| oldest.min(ms)));
            }
            ValueRef::Put { expires_ms: None, .. } => {}
        }
    }
}
