use std::sync::Arc;

use bytes::Bytes;
use lamina_types::{KeyRange, Version};

use super::{DropRules, Merge, MergeStep, ReadAhead};
use crate::entry::{Entry, Value};
use crate::memtable::Memtable;

fn expiring(key: &str, version: Version, expires_ms: u64) -> Entry {
    let value = Value::Put { bytes: Bytes::from_static(b"v"), expires_ms: Some(expires_ms) };
    Entry { key: Bytes::from(key.to_owned()), version, value }
}

fn put(key: &str, version: Version) -> Entry {
    Entry::put(key.to_owned(), version, "v")
}

fn tombstone(key: &str, version: Version) -> Entry {
    Entry::tombstone(key.to_owned(), version)
}

/// What is left of these entries, newest source first.
fn survivors(sources: &[&[Entry]], floor: Version, bottom: bool) -> Vec<Entry> {
    let memtables = sources.iter().map(|entries| {
        let memtable = Arc::new(Memtable::new());
        for entry in *entries {
            memtable.insert(&entry.key, entry.version, entry.value.clone());
        }
        Box::new(memtable.cursor(KeyRange::all())) as super::MemoryCursor
    });
    let mut merge =
        Merge::new(memtables.collect(), Vec::new(), DropRules { floor, bottom }, ReadAhead::MERGE);
    let mut kept = Vec::new();
    loop {
        match merge.step() {
            MergeStep::Entry(entry) => kept.push(entry),
            MergeStep::Need(needs) => panic!("memtables need nothing: {needs:?}"),
            MergeStep::Done => break,
        }
    }
    assert_eq!(merge.counts().kept, kept.len() as u64);
    assert_eq!(merge.counts().read, sources.iter().map(|entries| entries.len() as u64).sum::<u64>());
    kept
}

fn ms(ms: u64) -> Version {
    Version::from_ms(ms)
}

#[test]
fn above_the_floor_all_stay_and_of_the_rest_only_the_newest() {
    let newer = [put("a", ms(9)), put("a", ms(7)), put("b", ms(8))];
    let older = [put("a", ms(5)), put("a", ms(3)), put("b", ms(2)), put("c", ms(1))];
    let kept = survivors(&[&newer, &older], ms(6), true);
    assert_eq!(
        kept,
        [
            put("a", ms(9)),
            put("a", ms(7)),
            put("a", ms(5)),
            put("b", ms(8)),
            put("b", ms(2)),
            put("c", ms(1))
        ]
    );
    let kept = survivors(&[&newer, &older], ms(9), true);
    assert_eq!(kept, [put("a", ms(9)), put("b", ms(8)), put("c", ms(1))]);
}

#[test]
fn a_tombstone_goes_only_at_the_bottom_and_only_when_nobody_can_read_below_it() {
    let entries = [tombstone("a", ms(5)), put("a", ms(3))];
    assert_eq!(survivors(&[&entries], ms(5), false), [tombstone("a", ms(5))]);
    assert_eq!(survivors(&[&entries], ms(5), true), []);
    assert_eq!(survivors(&[&entries], ms(4), true), entries, "a reader at 4 still sees the put");
}

#[test]
fn an_expired_entry_is_a_tombstone_because_it_hides_what_is_older() {
    // S7 of the review: an expired entry that vanished in an upper level would uncover the older value below.
    let entry = expiring("a", ms(5), 8);
    assert_eq!(survivors(&[std::slice::from_ref(&entry)], ms(8), false), [tombstone("a", ms(5))]);
    assert_eq!(survivors(&[std::slice::from_ref(&entry)], ms(8), true), []);
    assert_eq!(
        survivors(&[std::slice::from_ref(&entry)], ms(7), true),
        std::slice::from_ref(&entry),
        "not expired at the floor"
    );
    let both = [entry.clone(), put("a", ms(3))];
    assert_eq!(survivors(&[&both], ms(4), true), both, "above the floor it stays, whatever its expiry");
}

#[test]
fn only_the_range_of_an_input_is_read() {
    let memtable = Arc::new(Memtable::new());
    for key in ["a", "b", "c", "d"] {
        memtable.insert(key.as_bytes(), ms(1), Value::Tombstone);
    }
    let range = KeyRange::new("b", Some(Bytes::from("d")));
    let rules = DropRules { floor: ms(9), bottom: false };
    let mut merge = Merge::new(vec![Box::new(memtable.cursor(range))], Vec::new(), rules, ReadAhead::MERGE);
    assert_eq!(merge.step(), MergeStep::Entry(tombstone("b", ms(1))));
    assert_eq!(merge.step(), MergeStep::Entry(tombstone("c", ms(1))));
    assert_eq!(merge.step(), MergeStep::Done);
    assert_eq!(merge.step(), MergeStep::Done);
}
