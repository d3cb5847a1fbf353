//! The one shape of everything that is walked in order: memtables, blocks, tables, merges.

use bytes::Bytes;
use lamina_types::Version;

use crate::entry::{Entry, Value};

/// A place in an ordered set of entries (the order of [`crate::entry::cmp_entries`]).
///
/// A cursor stands on an entry, before the first or behind the last. A new one stands before the first. From
/// before the first, `next` goes to the first and `prev` stays; from behind the last, `prev` goes to the last and
/// `next` stays. A cursor over a range behaves as if nothing existed outside of it.
pub trait Cursor {
    /// Goes to the first entry at or after (`key`, `version`): the newest entry of `key` that is not above
    /// `version`, else the newest one of the next key. `(key, Version::MAX)` is the first entry of `key`.
    fn seek(&mut self, key: &[u8], version: Version);

    /// Goes to the first entry.
    fn seek_first(&mut self);

    /// Goes to the last entry.
    fn seek_last(&mut self);

    /// Goes to the next entry: an older version of the key, or the newest of the next key.
    fn next(&mut self);

    /// Goes to the entry before.
    fn prev(&mut self);

    /// The entry that the cursor stands on; `None` before the first and behind the last.
    fn entry(&self) -> Option<EntryRef<'_>>;

    /// An owned form of [`Cursor::entry`], which shares the bytes of block or memtable where that is possible.
    fn to_entry(&self) -> Option<Entry> {
        self.entry().map(|entry| entry.to_entry())
    }
}

/// One version of one key, borrowed from where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryRef<'a> {
    /// The key, keyspace first.
    pub key: &'a [u8],
    /// Given by apply; higher is newer.
    pub version: Version,
    /// Put or tombstone.
    pub value: ValueRef<'a>,
}

/// What an entry says about its key, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueRef<'a> {
    /// The key has these bytes from this version on.
    Put {
        /// The user's bytes.
        bytes: &'a [u8],
        /// As in [`Value::Put`].
        expires_ms: Option<u64>,
    },
    /// The key is absent from this version on.
    Tombstone,
}

impl EntryRef<'_> {
    /// An owned copy.
    pub fn to_entry(&self) -> Entry {
        Entry { key: Bytes::copy_from_slice(self.key), version: self.version, value: self.value.to_value() }
    }

    /// The user's bytes of key and value.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

impl<'a> ValueRef<'a> {
    /// An owned copy.
    pub fn to_value(&self) -> Value {
        match *self {
            ValueRef::Put { bytes, expires_ms } => {
                Value::Put { bytes: Bytes::copy_from_slice(bytes), expires_ms }
            }
            ValueRef::Tombstone => Value::Tombstone,
        }
    }

    /// The bytes of the value; 0 for a tombstone.
    pub fn len(&self) -> usize {
        match self {
            ValueRef::Put { bytes, .. } => bytes.len(),
            ValueRef::Tombstone => 0,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the entry begins to read as a tombstone, if ever.
    pub fn expires_ms(&self) -> Option<u64> {
        match self {
            ValueRef::Put { expires_ms, .. } => *expires_ms,
            ValueRef::Tombstone => None,
        }
    }

    /// What a reader at version `at` sees: the bytes, or `None` for a tombstone and for what has expired by then.
    pub fn visible_at(&self, at: Version) -> Option<&'a [u8]> {
        match *self {
            ValueRef::Put { bytes, expires_ms } if expires_ms.is_none_or(|ms| ms > at.ms()) => Some(bytes),
            _ => None,
        }
    }
}

impl<'a> From<&'a Entry> for EntryRef<'a> {
    fn from(entry: &'a Entry) -> EntryRef<'a> {
        EntryRef { key: &entry.key, version: entry.version, value: ValueRef::from(&entry.value) }
    }
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> ValueRef<'a> {
        match value {
            Value::Put { bytes, expires_ms } => ValueRef::Put { bytes, expires_ms: *expires_ms },
            Value::Tombstone => ValueRef::Tombstone,
        }
    }
}
