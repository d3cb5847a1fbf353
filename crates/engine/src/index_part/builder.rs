//! Makes index parts.

use bytes::{BufMut, Bytes};
use lamina_types::Version;
use lamina_types::wire::put_varint;

use crate::index_part::entries::{RESTART_INTERVAL, zigzag};
use crate::index_part::{FLAG_REQUIRED, FORMAT, MAGIC, SECTION_ENTRIES, SECTION_FILTER, SECTION_PROPERTIES};
use crate::properties::Properties;
use crate::varint::common_prefix;

/// Collects one entry per data block.
#[derive(Default)]
pub(crate) struct IndexBuilder {
    section: Vec<u8>,
    restarts: Vec<u32>,
    count: u32,
    offset: u64,
    newest_ms: u64,
    /// The key of the bound of the entry before.
    key: Vec<u8>,
    /// The bound of the block that is being filled.
    bound: Bound,
}

#[derive(Default)]
struct Bound {
    key: Vec<u8>,
    spilled: Option<Version>,
}

/// What is known of a block when it is complete.
pub(crate) struct BlockCounts {
    pub length: u32,
    pub entries: u32,
    pub tombstones: u32,
    pub newest: Version,
}

impl IndexBuilder {
    /// A block begins with an entry of the key `first`; `last` is the last entry of the block before.
    pub(crate) fn begin_block(&mut self, last: Option<(&[u8], Version)>, first: &[u8]) {
        self.bound.key.clear();
        self.bound.spilled = None;
        match last {
            // Nothing lies before the first block.
            None => {}
            Some((last, version)) if last == first => {
                self.bound.key.extend_from_slice(first);
                self.bound.spilled = Some(Version(version.0.saturating_sub(1)));
            }
            Some((last, _)) => {
                let length = common_prefix(last, first) + 1;
                self.bound.key.extend_from_slice(first.get(..length).unwrap_or(first));
            }
        }
    }

    /// The block that began last is complete and follows the one before in the file.
    pub(crate) fn end_block(&mut self, block: &BlockCounts) {
        let restart = self.count.is_multiple_of(RESTART_INTERVAL);
        let shared = if restart { 0 } else { common_prefix(&self.key, &self.bound.key) };
        let suffix = self.bound.key.get(shared..).unwrap_or_default();
        if restart {
            self.restarts.push(self.section.len() as u32);
            self.newest_ms = 0;
        }
        let out = &mut self.section;
        put_varint(out, shared as u64);
        put_varint(out, (suffix.len() as u64) << 1 | u64::from(self.bound.spilled.is_some()));
        if restart {
            put_varint(out, self.offset);
        }
        for count in [block.length, block.entries, block.tombstones] {
            put_varint(out, count.into());
        }
        put_varint(out, zigzag(block.newest.ms().wrapping_sub(self.newest_ms) as i64));
        if let Some(version) = self.bound.spilled {
            out.put_u64_le(version.0);
        }
        out.extend_from_slice(suffix);
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
        self.newest_ms = block.newest.ms();
        self.offset += u64::from(block.length);
        self.count += 1;
    }

    /// Blocks so far.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The bytes of the index entries so far.
    pub(crate) fn bytes(&self) -> usize {
        self.section.len()
    }

    /// The whole index part, and its checksum.
    pub(crate) fn finish(mut self, properties: &Properties, filter: &[u8]) -> (Bytes, u32) {
        for restart in &self.restarts {
            self.section.put_u32_le(*restart);
        }
        self.section.put_u32_le(self.count);
        self.section.put_u32_le(self.restarts.len() as u32);
        let mut encoded = Vec::new();
        properties.encode(&mut encoded);
        let sections: [(u16, &[u8]); 3] =
            [(SECTION_PROPERTIES, &encoded), (SECTION_ENTRIES, &self.section), (SECTION_FILTER, filter)];
        let length = encoded.len() + self.section.len() + filter.len();
        let mut out = Vec::with_capacity(MAGIC.len() + 4 + 8 * sections.len() + length + 4);
        out.extend_from_slice(MAGIC);
        out.put_u16_le(FORMAT);
        out.put_u16_le(sections.len() as u16);
        for (kind, body) in sections {
            out.put_u16_le(kind);
            out.put_u16_le(FLAG_REQUIRED);
            out.put_u32_le(body.len() as u32);
        }
        for (_, body) in sections {
            out.extend_from_slice(body);
        }
        let crc = crc32fast::hash(&out);
        out.put_u32_le(crc);
        (Bytes::from(out), crc)
    }
}
