//! Sorted arrays that are searched without touching the keys.
//!
//! A comparison that follows a pointer to a key costs a cache miss, and a search in a large memtable consists of
//! little else. So beside each array of items lies a dense one of **heads**: eight bytes of each key, taken behind
//! the prefix that all keys of the array share. Only items with equal heads are compared by their keys (Graefe and
//! Larson, "B-Tree Indexes and CPU Caches", 2001, call it a poor man's normalized key).

use std::cmp::Ordering;

use lamina_types::Version;
use smallvec::SmallVec;

use crate::entry::cmp_entries;
use crate::varint::common_prefix;

/// Something with a place in the order of entries.
pub(super) trait Keyed {
    /// Its key and version.
    fn place(&self) -> (&[u8], Version);
}

/// Items in the order of their places, no two alike.
#[derive(Clone, Debug)]
pub(super) struct Sorted<T> {
    /// What all keys begin with: a copy, so that a search need not visit the first key for it.
    shared: SmallVec<[u8; 16]>,
    heads: Vec<u64>,
    items: Vec<T>,
}

impl<T> Default for Sorted<T> {
    fn default() -> Sorted<T> {
        Sorted { shared: SmallVec::new(), heads: Vec::new(), items: Vec::new() }
    }
}

/// Heads are taken anew when they would otherwise lose this many of their eight bytes to the shared prefix.
const WORN_BYTES: usize = 4;

impl<T: Keyed> Sorted<T> {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.items.get(at)
    }

    pub(super) fn first(&self) -> Option<&T> {
        self.items.first()
    }

    /// How many items lie before (`key`, `version`).
    pub(super) fn before(&self, key: &[u8], version: Version) -> usize {
        self.count(key, |place| cmp_entries(place, (key, version)) == Ordering::Less)
    }

    /// How many items lie at or before (`key`, `version`).
    pub(super) fn at_or_before(&self, key: &[u8], version: Version) -> usize {
        self.count(key, |place| cmp_entries(place, (key, version)) != Ordering::Greater)
    }

    /// How many items fulfil `is_before`, which holds for those with lower keys and not for those with higher ones.
    #[inline]
    fn count(&self, key: &[u8], is_before: impl Fn((&[u8], Version)) -> bool) -> usize {
        let skip = self.shared.len();
        match key.get(..skip).unwrap_or(key).cmp(&self.shared) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.items.len(),
            Ordering::Equal => {}
        }
        let head = head(key, skip);
        let low = self.heads.partition_point(|other| *other < head);
        let same = self.items.get(low..).unwrap_or_default();
        let heads = self.heads.get(low..).unwrap_or_default();
        // Most heads differ: the run of equal ones is short, unless one key has many versions.
        let equal = match heads.get(1) {
            Some(second) if *second == head => heads.partition_point(|other| *other == head),
            _ => usize::from(heads.first() == Some(&head)),
        };
        low + same.get(..equal).unwrap_or_default().partition_point(|item| is_before(item.place()))
    }

    /// Puts an item at `at`, the number of items before it.
    pub(super) fn insert(&mut self, at: usize, item: T) {
        let key = item.place().0;
        if self.items.is_empty() {
            self.take_heads(key);
        } else {
            let shared = common_prefix(&self.shared, key);
            if shared < self.shared.len() {
                self.take_heads(key.get(..shared).unwrap_or_default());
            }
        }
        self.heads.insert(at, head(key, self.shared.len()));
        self.items.insert(at, item);
    }

    /// Puts an item in the place of an equal one.
    pub(super) fn replace(&mut self, at: usize, item: T) {
        if let Some(old) = self.items.get_mut(at) {
            *old = item;
        }
    }

    /// Takes the items from `at` on away.
    pub(super) fn split_off(&mut self, at: usize) -> Sorted<T> {
        let mut upper = Sorted {
            shared: self.shared.clone(),
            heads: self.heads.split_off(at),
            items: self.items.split_off(at),
        };
        self.refresh();
        upper.refresh();
        upper
    }

    /// Takes the last item away.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.heads.pop();
        self.items.pop()
    }

    /// Takes the heads anew if the keys share much more than they did.
    fn refresh(&mut self) {
        let (Some(first), Some(last)) = (self.items.first(), self.items.last()) else { return };
        let key = first.place().0;
        let shared = common_prefix(key, last.place().0);
        if shared >= self.shared.len() + WORN_BYTES {
            let shared = SmallVec::<[u8; 16]>::from_slice(key.get(..shared).unwrap_or_default());
            self.take_heads(&shared);
        }
    }

    /// All keys begin with `shared`.
    fn take_heads(&mut self, shared: &[u8]) {
        self.shared = SmallVec::from_slice(shared);
        self.heads.clear();
        self.heads.extend(self.items.iter().map(|item| head(item.place().0, shared.len())));
    }
}

impl<T> Sorted<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }
}

/// Eight bytes of a key as a number that orders as they do. What a key is too short for counts as zero, so equal
/// heads say nothing and a smaller one says all.
#[inline]
fn head(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    if let Some(whole) = rest.first_chunk::<8>() {
        return u64::from_be_bytes(*whole);
    }
    rest.iter().fold(0, |head, byte| head << 8 | u64::from(*byte)) << (8 * (8 - rest.len()) as u32 % 64)
}

/// Children in order; between each two of them lies the first place of the second.
#[derive(Debug)]
pub(super) struct Node<S, C> {
    pub starts: Sorted<S>,
    pub children: Vec<C>,
}

impl<S: Keyed, C> Node<S, C> {
    pub(super) fn of(child: C) -> Node<S, C> {
        Node { starts: Sorted::default(), children: vec![child] }
    }

    /// Puts `child`, which starts at `start`, behind the child number `at`.
    pub(super) fn insert_behind(&mut self, at: usize, start: S, child: C) {
        self.starts.insert(at, start);
        self.children.insert(at + 1, child);
    }

    /// Takes the children from number `at` on away, and the place where they start. `at` is not 0.
    pub(super) fn split_off(&mut self, at: usize) -> Option<(S, Node<S, C>)> {
        let upper = Node { starts: self.starts.split_off(at), children: self.children.split_off(at) };
        self.starts.pop().map(|start| (start, upper))
    }
}
