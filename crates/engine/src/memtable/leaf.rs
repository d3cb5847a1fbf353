//! What the leaves of a memtable are made of.

use std::borrow::Borrow;
use std::cmp::Ordering;

use bytes::{BufMut, Bytes, BytesMut};
use lamina_types::Version;

use crate::cursor::{EntryRef, ValueRef};
use crate::entry::{Entry, Value, cmp_entries};

/// A leaf is split when it would have more. Larger leaves cost moves, smaller ones a deeper index.
pub(super) const LEAF_SLOTS: usize = 64;

/// The slots of one leaf, in order.
pub(super) type Slots = Vec<Slot>;

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

    /// Whether it comes before (`key`, `version`).
    #[inline]
    pub(super) fn is_before(&self, key: &[u8], version: Version) -> bool {
        cmp_entries((self.key(), self.version), (key, version)) == Ordering::Less
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

/// Where a leaf starts: every entry in it is at or after this one.
#[derive(Clone, Debug)]
pub(super) struct LeafStart {
    key: Bytes,
    version: Version,
}

impl LeafStart {
    /// Before every entry.
    pub(super) fn first() -> LeafStart {
        LeafStart { key: Bytes::new(), version: Version::MAX }
    }

    /// At this slot.
    pub(super) fn of(slot: &Slot) -> LeafStart {
        LeafStart { key: slot.record.slice(..slot.key_bytes as usize), version: slot.version }
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn key_bytes(&self) -> Bytes {
        self.key.clone()
    }
}

/// A place in the order of entries, so that the index is searched with borrowed keys.
pub(super) trait Place {
    fn place(&self) -> (&[u8], Version);
}

impl Place for LeafStart {
    fn place(&self) -> (&[u8], Version) {
        (&self.key, self.version)
    }
}

impl Place for (&[u8], Version) {
    fn place(&self) -> (&[u8], Version) {
        *self
    }
}

impl<'a> Borrow<dyn Place + 'a> for LeafStart {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        cmp_entries(self.place(), other.place())
    }
}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for dyn Place + '_ {}

impl Ord for LeafStart {
    fn cmp(&self, other: &Self) -> Ordering {
        cmp_entries(self.place(), other.place())
    }
}

impl PartialOrd for LeafStart {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for LeafStart {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for LeafStart {}

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
