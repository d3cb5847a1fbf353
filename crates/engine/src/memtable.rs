//! Memtables: what was written since the last flush, in order, all versions.
//!
//! One writer (apply) inserts, any number of readers get and walk at the same time; nothing is ever removed.
//!
//! The structure is a B+ tree of two storeys, made for that use: sorted **leaves** of up to 64 slots, each behind a
//! lock of its own, and an index from the first entry of each leaf to the leaf, behind a lock that is taken for
//! writing only when a leaf is split (once in some forty inserts). A cursor takes a snapshot of a leaf by counting
//! a reference; the writer copies a leaf only if a cursor holds it. Keys and values are copied once, into arena
//! chunks that many records share.
//!
//! Chosen by `benches/memtable.rs`, which says what it was compared with and by how much it won.

mod cursor;
mod leaf;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use lamina_types::{KeyRange, Version};
use parking_lot::{Mutex, RwLock};

pub use cursor::MemCursor;

use crate::cursor::Cursor;
use crate::entry::{Entry, Value};
use crate::memtable::leaf::{Arena, LEAF_SLOTS, LeafStart, Place, Slot, Slots};

/// What an entry takes beside the bytes of its key and value: its slot, the unused part of its leaf and of its
/// arena chunk, its share of the index.
const ENTRY_OVERHEAD: usize = 96;

/// The entries written to a tablet since the last rotation.
pub struct Memtable {
    /// Never empty: the first leaf starts before every entry, and each other leaf at its own first slot.
    leaves: RwLock<BTreeMap<LeafStart, RwLock<Arc<Slots>>>>,
    arena: Mutex<Arena>,
    bytes: AtomicUsize,
    entries: AtomicUsize,
}

impl Default for Memtable {
    fn default() -> Memtable {
        Memtable::new()
    }
}

impl Memtable {
    /// A memtable without entries.
    pub fn new() -> Memtable {
        let first = (LeafStart::first(), RwLock::new(Arc::new(Slots::new())));
        Memtable {
            leaves: RwLock::new(BTreeMap::from([first])),
            arena: Mutex::new(Arena::default()),
            bytes: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
        }
    }

    /// Inserts one version of a key. The bytes of key and value are copied, so that no received frame stays pinned.
    ///
    /// If the version of the key is there already, the new value takes its place (the last operation on a key wins
    /// within one client write).
    pub fn insert(&self, key: &[u8], version: Version, value: Value) {
        let slot = self.arena.lock().slot(key, version, &value);
        self.bytes.fetch_add(slot.record_bytes() + ENTRY_OVERHEAD, Ordering::Relaxed);
        while !self.try_insert(key, version, &slot) {
            self.split(key, version);
        }
    }

    /// The newest version of `key` at or below `at`, whatever it is: tombstones and expired values too.
    pub fn get(&self, key: &[u8], at: Version) -> Option<Entry> {
        let leaves = self.leaves.read();
        let start: &dyn Place = &(key, at);
        let (_, leaf) = leaves.range::<dyn Place + '_, _>((Unbounded, Included(start))).next_back()?;
        let slots = leaf.read();
        if let Some(slot) = slots.get(slots.partition_point(|slot| slot.is_before(key, at))) {
            return (slot.key() == key).then(|| slot.to_entry());
        }
        drop(slots);
        let (start, leaf) = leaves.range::<dyn Place + '_, _>((Excluded(start), Unbounded)).next()?;
        if start.key() != key {
            return None;
        }
        leaf.read().first().map(Slot::to_entry)
    }

    /// The newest version of `key`, whatever it is.
    pub fn newest(&self, key: &[u8]) -> Option<Entry> {
        self.get(key, Version::MAX)
    }

    /// The memory that the entries take, overhead included; depends only on what was inserted.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The number of entries: all versions of all keys.
    pub fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Whether nothing was inserted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A cursor over the entries with keys in `range`, before the first.
    ///
    /// It sees every entry that was inserted before it was moved to that place, and may or may not see later ones.
    pub fn cursor(self: &Arc<Self>, range: KeyRange) -> MemCursor {
        MemCursor::new(Arc::clone(self), range)
    }

    /// A key near the middle of the entries in `range`, where a tablet may be split; `None` if there are too few.
    /// It is above the start of the range.
    pub fn split_key(self: &Arc<Self>, range: &KeyRange) -> Option<Bytes> {
        let inner: Vec<Bytes> = {
            let leaves = self.leaves.read();
            let start: &dyn Place = &(range.start.as_ref(), Version::MAX);
            let behind = leaves.range::<dyn Place + '_, _>((Excluded(start), Unbounded));
            behind.map(|(start, _)| start.key_bytes()).take_while(|key| range.contains(key)).collect()
        };
        let mut keys = inner;
        if keys.len() < 4 {
            keys.clear();
            let mut cursor = self.cursor(range.clone());
            cursor.seek_first();
            while let Some(entry) = cursor.entry() {
                keys.push(Bytes::copy_from_slice(entry.key));
                cursor.next();
            }
        }
        let middle = keys.get(keys.len() / 2)?;
        (*middle > range.start).then(|| Bytes::copy_from_slice(middle))
    }

    /// Inserts into the leaf that the entry belongs to; `false`: the leaf is full.
    fn try_insert(&self, key: &[u8], version: Version, slot: &Slot) -> bool {
        let leaves = self.leaves.read();
        let target: &dyn Place = &(key, version);
        let Some((_, leaf)) = leaves.range::<dyn Place + '_, _>((Unbounded, Included(target))).next_back()
        else {
            return true; // The first leaf starts before everything.
        };
        let mut slots = leaf.write();
        let at = slots.partition_point(|slot| slot.is_before(key, version));
        if slots.get(at).is_some_and(|slot| slot.version == version && slot.key() == key) {
            if let Some(same) = Arc::make_mut(&mut slots).get_mut(at) {
                *same = slot.clone();
            }
            return true;
        }
        if slots.len() >= LEAF_SLOTS {
            return false;
        }
        Arc::make_mut(&mut slots).insert(at, slot.clone());
        self.entries.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Makes room in the leaf that (`key`, `version`) belongs to.
    fn split(&self, key: &[u8], version: Version) {
        let mut leaves = self.leaves.write();
        let target: &dyn Place = &(key, version);
        let Some((_, leaf)) =
            leaves.range_mut::<dyn Place + '_, _>((Unbounded, Included(target))).next_back()
        else {
            return;
        };
        let slots = leaf.get_mut();
        if slots.len() < LEAF_SLOTS {
            return;
        }
        // Keys that come in ascending order leave full leaves behind.
        let ascending = slots.last().is_some_and(|last| last.is_before(key, version));
        let at = if ascending { slots.len() - 1 } else { slots.len() / 2 };
        let upper = Arc::make_mut(slots).split_off(at);
        let Some(start) = upper.first().map(LeafStart::of) else { return };
        leaves.insert(start, RwLock::new(Arc::new(upper)));
    }

    /// The first entry at (unless `after`) or after (`key`, `version`): its leaf as it is now, and its slot there.
    fn first_from(&self, key: &[u8], version: Version, after: bool) -> Option<(Arc<Slots>, usize)> {
        let leaves = self.leaves.read();
        let target: &dyn Place = &(key, version);
        let (_, leaf) = leaves.range::<dyn Place + '_, _>((Unbounded, Included(target))).next_back()?;
        let slots = leaf.read();
        let mut at = slots.partition_point(|slot| slot.is_before(key, version));
        if after && slots.get(at).is_some_and(|slot| slot.version == version && slot.key() == key) {
            at += 1;
        }
        if at < slots.len() {
            return Some((Arc::clone(&slots), at));
        }
        drop(slots);
        let (_, leaf) = leaves.range::<dyn Place + '_, _>((Excluded(target), Unbounded)).next()?;
        Some((Arc::clone(&leaf.read()), 0))
    }

    /// The last entry before (`key`, `version`).
    fn last_before(&self, key: &[u8], version: Version) -> Option<(Arc<Slots>, usize)> {
        let leaves = self.leaves.read();
        let target: &dyn Place = &(key, version);
        let (_, leaf) = leaves.range::<dyn Place + '_, _>((Unbounded, Excluded(target))).next_back()?;
        let slots = leaf.read();
        let at = slots.partition_point(|slot| slot.is_before(key, version)).checked_sub(1)?;
        Some((Arc::clone(&slots), at))
    }

    /// The last of all entries.
    fn last(&self) -> Option<(Arc<Slots>, usize)> {
        let leaves = self.leaves.read();
        let (_, leaf) = leaves.last_key_value()?;
        let slots = leaf.read();
        let at = slots.len().checked_sub(1)?;
        Some((Arc::clone(&slots), at))
    }
}

impl std::fmt::Debug for Memtable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memtable").field("entries", &self.len()).field("bytes", &self.bytes()).finish()
    }
}
