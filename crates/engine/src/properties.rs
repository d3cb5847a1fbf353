//! What is known of a table without reading its blocks.

use bytes::{BufMut, Bytes};
use lamina_types::wire::{Reader, WireError, put_bytes, put_varint};
use lamina_types::{GroupId, KeyRange, TableId, TabletId, Version};
use serde::{Deserialize, Serialize};

/// Counts and bounds of one table; they travel in its index part and from there into the table record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Properties {
    /// The id under which the bytes were first written: the seed of every block's checksum.
    pub origin: TableId,
    /// The tablet that it was written for.
    pub tablet: TabletId,
    /// Where in the tree it was meant to stand, 0 for a flush. Only for rebuilding a store from its tables.
    pub level: u8,
    /// All versions of all keys.
    pub entries: u64,
    /// Those of them that are tombstones.
    pub tombstones: u64,
    /// Those of them that expire.
    pub expiring: u64,
    /// Distinct keys.
    pub keys: u64,
    /// Bytes of the keys of all entries, before any compression.
    pub key_bytes: u64,
    /// Bytes of the values of all entries, before any compression.
    pub value_bytes: u64,
    /// Bytes of the data part as stored.
    pub data_bytes: u64,
    /// Data blocks.
    pub blocks: u32,
    /// The smallest key.
    pub smallest: Bytes,
    /// The largest key.
    pub largest: Bytes,
    /// The lowest version of any entry.
    pub lowest: Version,
    /// The highest version of any entry.
    pub highest: Version,
    /// The earliest millisecond at which some entry expires.
    pub oldest_expiry_ms: Option<u64>,
}

impl Properties {
    /// The keys of the table as a range. Its end is the largest key followed by a zero byte.
    pub fn range(&self) -> KeyRange {
        let mut end = Vec::with_capacity(self.largest.len() + 1);
        end.extend_from_slice(&self.largest);
        end.push(0);
        KeyRange::new(self.smallest.clone(), Some(Bytes::from(end)))
    }

    /// Whether `key` lies between the smallest and the largest key.
    pub fn spans(&self, key: &[u8]) -> bool {
        self.smallest.as_ref() <= key && key <= self.largest.as_ref()
    }

    /// The bytes of keys and values before compression.
    pub fn raw_bytes(&self) -> u64 {
        self.key_bytes + self.value_bytes
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_slice(&self.origin.to_bytes());
        out.put_u32_le(self.tablet.group.0);
        out.put_u64_le(self.tablet.index);
        out.put_u8(self.level);
        for count in [self.entries, self.tombstones, self.expiring, self.keys] {
            put_varint(out, count);
        }
        for bytes in [self.key_bytes, self.value_bytes, self.data_bytes] {
            put_varint(out, bytes);
        }
        out.put_u32_le(self.blocks);
        put_bytes(out, &self.smallest);
        put_bytes(out, &self.largest);
        out.put_u64_le(self.lowest.0);
        out.put_u64_le(self.highest.0);
        out.put_u8(u8::from(self.oldest_expiry_ms.is_some()));
        put_varint(out, self.oldest_expiry_ms.unwrap_or(0));
    }

    /// The two keys are copied: a table record must not pin a whole index part.
    pub(crate) fn decode(bytes: Bytes) -> Result<Properties, WireError> {
        let mut reader = Reader::new(bytes);
        let origin = reader.take(TableId::BYTES)?;
        let origin = origin.first_chunk().copied().ok_or(WireError::Truncated)?;
        let properties = Properties {
            origin: TableId::from_bytes(origin),
            tablet: TabletId { group: GroupId(reader.u32()?), index: reader.u64()? },
            level: reader.u8()?,
            entries: reader.varint()?,
            tombstones: reader.varint()?,
            expiring: reader.varint()?,
            keys: reader.varint()?,
            key_bytes: reader.varint()?,
            value_bytes: reader.varint()?,
            data_bytes: reader.varint()?,
            blocks: reader.u32()?,
            smallest: Bytes::copy_from_slice(&reader.bytes()?),
            largest: Bytes::copy_from_slice(&reader.bytes()?),
            lowest: Version(reader.u64()?),
            highest: Version(reader.u64()?),
            oldest_expiry_ms: match (reader.u8()?, reader.varint()?) {
                (0, 0) => None,
                (1, ms) => Some(ms),
                _ => return Err(WireError::Tag),
            },
        };
        reader.end()?;
        Ok(properties)
    }
}
