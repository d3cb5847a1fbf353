//! What a tree stores, and its order.
//!
//! Inside a store a key always begins with the four big-endian bytes of its keyspace; the doors of the frontend
//! add and take them off. So everything here, ranges of tablets included, compares plain bytes.

use std::cmp::Ordering;

use bytes::Bytes;
use lamina_types::Version;

/// One version of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The key, keyspace first.
    pub key: Bytes,
    /// Given by apply; higher is newer.
    pub version: Version,
    /// Put or tombstone.
    pub value: Value,
}

/// What an entry says about its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// The key has these bytes from this version on.
    Put {
        /// The user's bytes.
        bytes: Bytes,
        /// The entry reads as a tombstone at versions whose millisecond is at or after this one (protocols §4).
        expires_ms: Option<u64>,
    },
    /// The key is absent from this version on.
    Tombstone,
}

impl Entry {
    /// A put without an expiry.
    pub fn put(key: impl Into<Bytes>, version: Version, value: impl Into<Bytes>) -> Entry {
        Entry { key: key.into(), version, value: Value::Put { bytes: value.into(), expires_ms: None } }
    }

    /// A tombstone.
    pub fn tombstone(key: impl Into<Bytes>, version: Version) -> Entry {
        Entry { key: key.into(), version, value: Value::Tombstone }
    }

    /// The user's bytes of key and value.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

impl Value {
    /// The bytes of the value; 0 for a tombstone.
    pub fn len(&self) -> usize {
        match self {
            Value::Put { bytes, .. } => bytes.len(),
            Value::Tombstone => 0,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a reader at version `at` sees: the bytes, or `None` for a tombstone and for what has expired by then.
    pub fn visible_at(&self, at: Version) -> Option<&Bytes> {
        match self {
            Value::Put { bytes, expires_ms } if expires_ms.is_none_or(|ms| ms > at.ms()) => Some(bytes),
            _ => None,
        }
    }
}

/// The order of every memtable, block and merge: keys ascending, versions of one key descending (newest first).
pub fn cmp_entries(a: (&[u8], Version), b: (&[u8], Version)) -> Ordering {
    a.0.cmp(b.0).then_with(|| b.1.cmp(&a.1))
}
