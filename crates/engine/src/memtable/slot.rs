//! What the leaves of a memtable hold: entries, side by side in arena chunks.

use bytes::{BufMut, Bytes, BytesMut};
use lamina_types::Version;

use crate::cursor::{EntryRef, ValueRef};
use crate::entry::{Entry, Value};
use crate::memtable::sorted::Keyed;

/// One entry. Key and value lie side by side in an arena chunk.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    record: Bytes,
    pub version: Version,
    key_bytes: u32,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Tombstone,
    Put,
    /// The record ends with the eight bytes of the expiry.
    PutExpiring,
}

impl Slot {
    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        self.record.get(..self.key_bytes as usize).unwrap_or_default()
    }

    pub(super) fn record_bytes(&self) -> usize {
        self.record.len()
    }

    pub(super) fn as_ref(&self) -> EntryRef<'_> {
        let (key, tail) = self.record.split_at_checked(self.key_bytes as usize).unwrap_or_default();
        let value = match (self.kind, tail.split_last_chunk::<8>()) {
            (Kind::Tombstone, _) => ValueRef::Tombstone,
            (Kind::PutExpiring, Some((bytes, ms))) => {
                ValueRef::Put { bytes, expires_ms: Some(u64::from_le_bytes(*ms)) }
            }
            _ => ValueRef::Put { bytes: tail, expires_ms: None },
        };
        EntryRef { key, version: self.version, value }
    }

    /// Shares the record.
    pub(super) fn to_entry(&self) -> Entry {
        let entry = self.as_ref();
        let value = match entry.value {
            ValueRef::Tombstone => Value::Tombstone,
            ValueRef::Put { bytes, expires_ms } => {
                let start = self.key_bytes as usize;
                Value::Put { bytes: self.record.slice(start..start + bytes.len()), expires_ms }
            }
        };
        Entry { key: self.record.slice(..self.key_bytes as usize), version: self.version, value }
    }
}

/// The first entry of a leaf or of a node: where it is cut off from the one before.
#[derive(Clone, Debug)]
pub(super) struct Start {
    key: Bytes,
    version: Version,
}

impl Start {
    pub(super) fn key_bytes(&self) -> Bytes {
        self.key.clone()
    }
}

impl From<&Slot> for Start {
    fn from(slot: &Slot) -> Start {
        Start { key: slot.record.slice(..slot.key_bytes as usize), version: slot.version }
    }
}

impl Keyed for Start {
    #[inline]
    fn place(&self) -> (&[u8], Version) {
        (&self.key, self.version)
    }
}

impl Keyed for Slot {
    #[inline]
    fn place(&self) -> (&[u8], Version) {
        (self.key(), self.version)
    }
}

const CHUNK_BYTES_MIN: usize = 4 << 10;
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// Where records are copied to. Small at first, so that a store may have many nearly empty memtables.
#[derive(Default)]
pub(super) struct Arena {
    chunk: BytesMut,
    chunk_bytes: usize,
}

impl Arena {
    /// Copies an entry.
    pub(super) fn slot(&mut self, key: &[u8], version: Version, value: &Value) -> Slot {
        let (kind, expires_ms) = match value {
            Value::Tombstone => (Kind::Tombstone, None),
            Value::Put { expires_ms: None, .. } => (Kind::Put, None),
            Value::Put { expires_ms: Some(ms), .. } => (Kind::PutExpiring, Some(*ms)),
        };
        let bytes: &[u8] = match value {
            Value::Put { bytes, .. } => bytes,
            Value::Tombstone => &[],
        };
        let length = key.len() + bytes.len() + if expires_ms.is_some() { 8 } else { 0 };
        let mut own;
        let out = if length > CHUNK_BYTES_MAX / 4 {
            own = BytesMut::with_capacity(length);
            &mut own
        } else {
            self.reserve(length);
            &mut self.chunk
        };
        out.put_slice(key);
        out.put_slice(bytes);
        if let Some(ms) = expires_ms {
            out.put_u64_le(ms);
        }
        Slot { record: out.split().freeze(), version, key_bytes: key.len() as u32, kind }
    }

    fn reserve(&mut self, length: usize) {
        if self.chunk.capacity() - self.chunk.len() < length {
            self.chunk_bytes = (self.chunk_bytes * 2).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
            self.chunk = BytesMut::with_capacity(self.chunk_bytes.max(length));
        }
    }
}
