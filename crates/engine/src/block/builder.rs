//! Makes data blocks.

use bytes::{BufMut, Bytes};
use lamina_types::{TableId, Version};

use crate::block::codec::{Codec, Compressor};
use crate::block::layout::{RESTART_INTERVAL, STORED_OVERHEAD, TRAILER_BYTES, seal, write_entry};
use crate::cursor::EntryRef;
use crate::varint::common_prefix;

/// Collects the entries of one block after the other. The caller keeps them in order.
pub struct BlockBuilder {
    raw: Vec<u8>,
    restarts: Vec<u32>,
    entries: u32,
    key: Vec<u8>,
    version: Version,
    began: bool,
    compressor: Compressor,
}

impl BlockBuilder {
    /// Begins the first block.
    pub fn new(codec: Codec) -> BlockBuilder {
        BlockBuilder {
            raw: Vec::new(),
            restarts: Vec::new(),
            entries: 0,
            key: Vec::new(),
            version: Version::MAX,
            began: false,
            compressor: Compressor::new(codec),
        }
    }

    /// Appends an entry, which must come after the one before in the order of [`crate::entry::cmp_entries`].
    pub fn add(&mut self, entry: EntryRef<'_>) {
        let shared = if self.entries.is_multiple_of(RESTART_INTERVAL) {
            self.restarts.push(self.raw.len() as u32);
            0
        } else {
            common_prefix(&self.key, entry.key)
        };
        write_entry(&mut self.raw, shared, entry);
        self.key.truncate(shared);
        self.key.extend_from_slice(entry.key.get(shared..).unwrap_or_default());
        self.version = entry.version;
        self.began = true;
        self.entries += 1;
    }

    /// The bytes of the block so far, before compression.
    pub fn raw_bytes(&self) -> usize {
        self.raw.len() + 4 * self.restarts.len() + TRAILER_BYTES
    }

    /// The entries of the block so far.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// The last entry that was added, to this block or to the one before.
    pub fn last(&self) -> Option<(&[u8], Version)> {
        self.began.then_some((self.key.as_slice(), self.version))
    }

    /// The stored form of the block; begins the next one.
    pub fn finish(&mut self, origin: TableId, block: u32) -> Bytes {
        for restart in &self.restarts {
            self.raw.put_u32_le(*restart);
        }
        self.raw.put_u32_le(self.entries);
        self.raw.put_u32_le(self.restarts.len() as u32);
        let (mut stored, codec) = self.compressor.compress(&self.raw, STORED_OVERHEAD);
        seal(&mut stored, codec, self.raw.len(), origin, block);
        self.raw.clear();
        self.restarts.clear();
        self.entries = 0;
        Bytes::from(stored)
    }
}
