use std::sync::atomic::{AtomicBool, AtomicU64};

use proptest::prelude::*;

use super::*;
use crate::cursor::EntryRef;
use crate::samples::{self, check_moves, entries, get, list, moves};

fn filled(entries: &[Entry]) -> Arc<Memtable> {
    let memtable = Arc::new(Memtable::new());
    for entry in entries {
        memtable.insert(&entry.key, entry.version, entry.value.clone());
    }
    memtable
}

proptest! {
    #[test]
    fn a_get_finds_the_newest_version_at_or_below(
        model in entries(0..600), shuffle in any::<u64>(), keys in prop::collection::vec((samples::key(), samples::version()), 0..40)
    ) {
        let mut order = list(&model);
        order.sort_by_key(|entry| crate::key_hash(&entry.key).wrapping_mul(shuffle | 1) ^ entry.version.0);
        let memtable = filled(&order);
        prop_assert_eq!(memtable.len(), model.len());
        prop_assert_eq!(memtable.is_empty(), model.is_empty());
        for (key, at) in keys.iter().cloned().chain(model.keys().map(|(key, version)| (key.clone(), version.0))) {
            for at in [at, at.next(), Version(at.0 - 1), Version::MAX] {
                prop_assert_eq!(memtable.get(&key, at), get(&model, &key, at));
            }
            prop_assert_eq!(memtable.newest(&key), get(&model, &key, Version::MAX));
        }
    }

    #[test]
    fn a_cursor_walks_its_range_in_both_directions(
        model in entries(0..600), moves in moves(), start in samples::key(), end in prop::option::of(samples::key())
    ) {
        let memtable = filled(&list(&model));
        let range = KeyRange { start, end };
        let inside: Vec<Entry> = list(&model).into_iter().filter(|entry| range.contains(&entry.key)).collect();
        let seek_inside = |step: &samples::Move| !matches!(step, samples::Move::Seek(key, _) if !range.contains(key));
        let moves: Vec<_> = moves.into_iter().filter(seek_inside).collect();
        check_moves(&mut memtable.cursor(range.clone()), &inside, &moves)?;
        check_moves(&mut memtable.cursor(KeyRange::all()), &list(&model), &moves)?;
    }

    #[test]
    fn a_seek_outside_of_the_range_stays_inside(model in entries(0..100), key in samples::key(), range in (samples::key(), samples::key())) {
        let memtable = filled(&list(&model));
        let range = KeyRange::new(range.0, Some(range.1));
        let mut cursor = memtable.cursor(range.clone());
        cursor.seek(&key, Version::MAX);
        let expected = list(&model).into_iter().find(|entry| entry.key >= key && range.contains(&entry.key));
        prop_assert_eq!(cursor.to_entry(), expected);
    }
}

#[test]
fn many_entries_in_any_order_are_all_there() {
    let sorted = samples::numbered(20_000, 10);
    let mut shuffled = sorted.clone();
    shuffled.sort_by_key(|entry| crate::key_hash(&entry.key) ^ entry.version.0);
    let mut reversed = sorted.clone();
    reversed.reverse();
    for order in [&sorted, &shuffled, &reversed] {
        let memtable = filled(order);
        let mut cursor = memtable.cursor(KeyRange::all());
        for entry in &sorted {
            cursor.next();
            assert_eq!(cursor.entry(), Some(EntryRef::from(entry)));
            assert_eq!(memtable.get(&entry.key, entry.version).as_ref(), Some(entry));
        }
        cursor.next();
        assert_eq!(cursor.entry(), None);
        for entry in sorted.iter().rev() {
            cursor.prev();
            assert_eq!(cursor.entry(), Some(EntryRef::from(entry)));
        }
    }
}

#[test]
fn the_last_of_equal_versions_wins_and_nothing_pins_the_caller_s_bytes() {
    let memtable = Arc::new(Memtable::new());
    let frame = Bytes::from(vec![7; 100]);
    memtable.insert(b"k", Version(5), Value::Put { bytes: frame.slice(0..3), expires_ms: Some(9) });
    memtable.insert(b"k", Version(5), Value::Put { bytes: frame.slice(3..5), expires_ms: None });
    assert_eq!(memtable.newest(b"k"), Some(Entry::put("k", Version(5), vec![7, 7])));
    assert_eq!(memtable.len(), 1);
    assert!(frame.is_unique(), "the memtable holds a reference to what it was given");
}

#[test]
fn the_accounted_bytes_cover_keys_values_and_overhead() {
    let memtable = Memtable::new();
    assert_eq!(memtable.bytes(), 0);
    memtable.insert(
        b"key",
        Version(1),
        Value::Put { bytes: Bytes::from(vec![0; 1 << 20]), expires_ms: None },
    );
    memtable.insert(b"key", Version(2), Value::Tombstone);
    assert_eq!(memtable.bytes(), (1 << 20) + 6 + 2 * ENTRY_OVERHEAD);
}

#[test]
fn a_split_key_lies_in_the_middle_of_the_range() {
    let memtable = filled(&samples::numbered(10_000, 4));
    let key = memtable.split_key(&KeyRange::all()).unwrap();
    assert!(key > "user00002000" && key < "user00003000", "{key:?}");
    let few = KeyRange::new("user00000010", Some(Bytes::from("user00000020")));
    let key = memtable.split_key(&few).unwrap();
    assert_eq!(key, "user00000015");
    assert_eq!(memtable.split_key(&KeyRange::new("x", None)), None);
    assert_eq!(memtable.split_key(&KeyRange::new("user00000010", Some("user00000010\0".into()))), None);
}

/// A writer inserts while readers walk and get: what was there before is always seen, in order.
#[test]
fn readers_never_miss_what_was_inserted_before() {
    const ENTRIES: u64 = 30_000;
    let memtable = Arc::new(Memtable::new());
    let (written, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let key_of = |n: u64| crate::key_hash(&n.to_le_bytes()).to_be_bytes();
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (memtable, written, done) = (&memtable, &written, &done);
            scope.spawn(move || {
                let mut rounds = 0;
                while !done.load(Ordering::Acquire) || rounds < 3 {
                    rounds += 1;
                    let before = written.load(Ordering::Acquire);
                    let mut cursor = memtable.cursor(KeyRange::all());
                    let (mut seen, mut last) = (0u64, None::<Entry>);
                    if reader == 0 {
                        cursor.seek_first()
                    } else {
                        cursor.seek_last()
                    }
                    while let Some(entry) = cursor.to_entry() {
                        if let Some(last) = &last {
                            assert_eq!(last.key < entry.key, reader == 0, "out of order");
                        }
                        seen += u64::from(entry.version.0 <= before);
                        last = Some(entry);
                        if reader == 0 { cursor.next() } else { cursor.prev() }
                    }
                    assert_eq!(seen, before, "a walk missed entries that were there when it began");
                    for n in (0..before).step_by(97) {
                        assert!(memtable.get(&key_of(n), Version(n + 1)).is_some());
                        assert!(memtable.get(&key_of(n), Version(n)).is_none());
                    }
                }
            });
        }
        for n in 0..ENTRIES {
            memtable.insert(&key_of(n), Version(n + 1), Value::Tombstone);
            written.store(n + 1, Ordering::Release);
        }
        done.store(true, Ordering::Release);
    });
    assert_eq!(memtable.len(), ENTRIES as usize);
}
