//! Memtables: what was written since the last flush, in order, all versions.
//!
//! One writer (apply) inserts, any number of readers get and walk at the same time; nothing is ever removed.
//!
//! The structure is a B+ tree of three storeys, made for that use: sorted **leaves** of up to 64 slots, each behind a
//! lock of its own, and two storeys of index over them, behind a lock that is taken for writing only when a leaf is
//! split (once in some forty inserts). A cursor takes a snapshot of a leaf by counting a reference; the writer copies
//! a leaf only if a cursor holds it. Keys and values are copied once, into arena chunks that many records share.
//! [`sorted`] says how the arrays are searched with few cache misses.
//!
//! Chosen by `benches/memtable.rs`, which says what it was compared with and by how much it won.

mod cursor;
mod slot;
mod sorted;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use lamina_types::{KeyRange, Version};
use parking_lot::{Mutex, RwLock};

pub use cursor::MemCursor;

use crate::cursor::Cursor;
use crate::entry::{Entry, Value};
use crate::memtable::slot::{Arena, Slot, Start};
use crate::memtable::sorted::{Node, Sorted};

/// What an entry takes beside the bytes of its key and value: its slot, the unused part of its leaf and of its
/// arena chunk, its share of the index.
const ENTRY_OVERHEAD: usize = 96;

/// A leaf is split when it would have more. Larger leaves cost moves, smaller ones a larger index.
const LEAF_SLOTS: usize = 64;
/// A node is split when it has more leaves. The root may have any number of nodes: a million entries make about 400.
const NODE_LEAVES: usize = 128;

type Slots = Sorted<Slot>;
type Leaf = RwLock<Arc<Slots>>;
type Index = Node<Start, Node<Start, Leaf>>;

/// The entries written to a tablet since the last rotation.
pub struct Memtable {
    /// Every leaf but the first has entries, and starts with the first of them.
    index: RwLock<Index>,
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
        Memtable {
            index: RwLock::new(Node::of(Node::of(Leaf::default()))),
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
        let index = self.index.read();
        let place = index.place_of(key, at);
        let slots = index.leaf(place)?.read();
        if let Some(slot) = slots.get(slots.before(key, at)) {
            return (slot.key() == key).then(|| slot.to_entry());
        }
        drop(slots);
        let next = index.leaf(index.behind(place))?.read();
        next.first().filter(|slot| slot.key() == key).map(Slot::to_entry)
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
        let mut keys: Vec<Bytes> = Vec::new();
        for node in &self.index.read().children {
            let inside = |key: &Bytes| *key > range.start && range.contains(key);
            keys.extend(node.starts.iter().map(Start::key_bytes).filter(inside));
        }
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
        let index = self.index.read();
        let Some(leaf) = index.leaf(index.place_of(key, version)) else { return true };
        let mut slots = leaf.write();
        let at = slots.before(key, version);
        if slots.get(at).is_some_and(|slot| slot.version == version && slot.key() == key) {
            Arc::make_mut(&mut slots).replace(at, slot.clone());
            return true;
        }
        if slots.len() >= LEAF_SLOTS {
            return false;
        }
        Arc::make_mut(&mut slots).insert(at, slot.clone());
        self.entries.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Makes room in the leaf that (`key`, `version`) belongs to. Where entries come in ascending order, full leaves
    /// and nodes are left behind.
    fn split(&self, key: &[u8], version: Version) {
        let mut index = self.index.write();
        let (n, l) = index.place_of(key, version);
        let Some(node) = index.children.get_mut(n) else { return };
        let Some(slots) = node.children.get_mut(l).map(Leaf::get_mut) else { return };
        if slots.len() < LEAF_SLOTS {
            return;
        }
        let ascending = slots.before(key, version) == slots.len();
        let at = if ascending { slots.len() - 1 } else { slots.len() / 2 };
        let upper = Arc::make_mut(slots).split_off(at);
        let Some(start) = upper.first().map(Start::from) else { return };
        node.insert_behind(l, start, RwLock::new(Arc::new(upper)));
        let leaves = node.children.len();
        if leaves > NODE_LEAVES {
            let at = if l + 2 == leaves { leaves - 1 } else { leaves / 2 };
            if let Some((start, upper)) = node.split_off(at) {
                index.insert_behind(n, start, upper);
            }
        }
    }

    /// The first entry at (unless `after`) or after (`key`, `version`): its leaf as it is now, and its slot there.
    fn first_from(&self, key: &[u8], version: Version, after: bool) -> Option<(Arc<Slots>, usize)> {
        let index = self.index.read();
        let place = index.place_of(key, version);
        let slots = index.leaf(place)?.read();
        let at = if after { slots.at_or_before(key, version) } else { slots.before(key, version) };
        if at < slots.len() {
            return Some((Arc::clone(&slots), at));
        }
        drop(slots);
        Some((Arc::clone(&index.leaf(index.behind(place))?.read()), 0))
    }

    /// The last entry before (`key`, `version`).
    fn last_before(&self, key: &[u8], version: Version) -> Option<(Arc<Slots>, usize)> {
        let index = self.index.read();
        let n = index.starts.before(key, version);
        let node = index.children.get(n)?;
        let slots = node.children.get(node.starts.before(key, version))?.read();
        let at = slots.before(key, version).checked_sub(1)?;
        Some((Arc::clone(&slots), at))
    }

    /// The last of all entries.
    fn last(&self) -> Option<(Arc<Slots>, usize)> {
        let index = self.index.read();
        let slots = index.children.last()?.children.last()?.read();
        let at = slots.len().checked_sub(1)?;
        Some((Arc::clone(&slots), at))
    }
}

impl Index {
    /// The numbers of the node and of the leaf in it that (`key`, `version`) belongs to.
    #[inline]
    fn place_of(&self, key: &[u8], version: Version) -> (usize, usize) {
        let n = self.starts.at_or_before(key, version);
        let leaf = self.children.get(n).map_or(0, |node| node.starts.at_or_before(key, version));
        (n, leaf)
    }

    #[inline]
    fn leaf(&self, (node, leaf): (usize, usize)) -> Option<&Leaf> {
        self.children.get(node)?.children.get(leaf)
    }

    /// The leaf after this one.
    fn behind(&self, (node, leaf): (usize, usize)) -> (usize, usize) {
        match self.children.get(node) {
            Some(here) if leaf + 1 < here.children.len() => (node, leaf + 1),
            _ => (node + 1, 0),
        }
    }
}

impl std::fmt::Debug for Memtable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memtable").field("entries", &self.len()).field("bytes", &self.bytes()).finish()
    }
}
