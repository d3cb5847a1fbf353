//! Key ranges: start included, end excluded.

use std::cmp::Ordering;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The keys from `start` (included) to `end` (excluded); no `end` means up to the last key.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct KeyRange {
    /// The first key that may lie in the range.
    pub start: Bytes,
    /// The first key after the range; `None`: there is none.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> KeyRange {
        KeyRange { start: Bytes::new(), end: None }
    }

    /// From `start` (included) to `end` (excluded).
    pub fn new(start: impl Into<Bytes>, end: Option<Bytes>) -> KeyRange {
        KeyRange { start: start.into(), end }
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> KeyRange {
        let start: Bytes = prefix.into();
        let end = successor_of_prefix(&start);
        KeyRange { start, end }
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_ref() && self.end.as_ref().is_none_or(|end| key < end.as_ref())
    }

    /// Whether every key of `other` lies in this range. An empty range lies in every range.
    pub fn covers(&self, other: &KeyRange) -> bool {
        other.is_empty() || (other.start >= self.start && cmp_end(&other.end, &self.end) != Ordering::Greater)
    }

    /// Whether some key may lie in both.
    pub fn overlaps(&self, other: &KeyRange) -> bool {
        self.intersect(other).is_some()
    }

    /// The keys that lie in both; `None` if there are none.
    pub fn intersect(&self, other: &KeyRange) -> Option<KeyRange> {
        let start = (&self.start).max(&other.start).clone();
        let end = match cmp_end(&self.end, &other.end) {
            Ordering::Greater => other.end.clone(),
            _ => self.end.clone(),
        };
        let both = KeyRange { start, end };
        (!both.is_empty()).then_some(both)
    }

    /// The smallest range that covers both.
    #[must_use]
    pub fn union(&self, other: &KeyRange) -> KeyRange {
        let start = (&self.start).min(&other.start).clone();
        let end = match cmp_end(&self.end, &other.end) {
            Ordering::Less => other.end.clone(),
            _ => self.end.clone(),
        };
        KeyRange { start, end }
    }

    /// The part below `at` and the part from `at` on.
    pub fn split(&self, at: &Bytes) -> (KeyRange, KeyRange) {
        (
            KeyRange { start: self.start.clone(), end: Some(at.clone()) },
            KeyRange { start: at.clone(), end: self.end.clone() },
        )
    }

    /// Whether no key can lie in the range.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// Compares two ends, where `None` is after every key.
    pub fn cmp_ends(&self, other: &KeyRange) -> Ordering {
        cmp_end(&self.end, &other.end)
    }
}

fn cmp_end(a: &Option<Bytes>, b: &Option<Bytes>) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => a.cmp(b),
    }
}

/// The first key after all keys that begin with `prefix`; `None` if there is none (all bytes 0xff, or empty).
pub fn successor_of_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix.get(..=last)?.to_vec();
    if let Some(byte) = end.last_mut() {
        *byte += 1;
    }
    Some(Bytes::from(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &str, end: &str) -> KeyRange {
        KeyRange::new(start.to_owned(), (!end.is_empty()).then(|| Bytes::from(end.to_owned())))
    }

    #[test]
    fn a_prefix_range_ends_before_the_next_prefix() {
        let ab = KeyRange::prefix("ab");
        assert!(
            ab.contains(b"ab") && ab.contains(b"ab\xff\xff") && !ab.contains(b"ac") && !ab.contains(b"aa")
        );
        assert_eq!(KeyRange::prefix(vec![b'a', 0xff]).end.as_deref(), Some(&b"b"[..]));
        assert_eq!(KeyRange::prefix(vec![0xff, 0xff]).end, None);
        assert_eq!(KeyRange::prefix(""), KeyRange::all());
    }

    #[test]
    fn an_open_end_lies_behind_every_end() {
        assert!(KeyRange::all().covers(&range("a", "")) && !range("a", "z").covers(&range("b", "")));
        assert_eq!(range("a", "m").intersect(&range("g", "")), Some(range("g", "m")));
        assert_eq!(range("a", "c").union(&range("x", "")), range("a", ""));
    }

    #[test]
    fn touching_ranges_do_not_overlap() {
        assert!(!range("a", "b").overlaps(&range("b", "c")));
        assert!(range("a", "b\0").overlaps(&range("b", "c")));
        assert!(range("m", "c").is_empty());
    }
}
