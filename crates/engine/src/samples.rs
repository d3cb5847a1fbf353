//! Random entries for the tests of this crate, made so that keys share prefixes and have many versions.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use bytes::Bytes;
use lamina_types::{GroupId, Reign, TableId, TabletId, Version};
use proptest::prelude::*;

use crate::cursor::{Cursor, EntryRef};
use crate::entry::{Entry, Value};

/// The entries of a set, in order.
pub(crate) type Model = BTreeMap<(Bytes, Reverse<Version>), Value>;

/// A table id with this number.
pub(crate) fn table(n: u32) -> TableId {
    TableId { group: GroupId(1), reign: Reign(7), n }
}

/// Some tablet.
pub(crate) fn tablet() -> TabletId {
    TabletId { group: GroupId(1), index: 3 }
}

/// Keys of few letters: equal ones, prefixes of each other, the empty one, bytes at both ends.
pub(crate) fn key() -> impl Strategy<Value = Bytes> {
    let letters = prop::sample::select(vec![0u8, b'a', b'b', 0xff]);
    prop_oneof![
        4 => prop::collection::vec(letters.clone(), 0..4),
        2 => prop::collection::vec(letters, 0..3).prop_map(|tail| [b"tenant-of-some-length/".as_slice(), &tail].concat()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
    .prop_map(Bytes::from)
}

/// Versions close together, and far apart.
pub(crate) fn version() -> impl Strategy<Value = Version> {
    prop_oneof![8 => (1..40u64).prop_map(Version), 1 => any::<u64>().prop_map(|v| Version(v.clamp(1, u64::MAX - 1)))]
}

/// Puts of all sizes, with and without expiry, and tombstones.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let bytes = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (any::<u8>(), 100..600usize).prop_map(|(byte, length)| vec![byte; length]),
    ];
    prop_oneof![
        1 => Just(Value::Tombstone),
        5 => (bytes, prop::option::weighted(0.2, any::<u64>()))
            .prop_map(|(bytes, expires_ms)| Value::Put { bytes: bytes.into(), expires_ms }),
    ]
}

/// A set of entries.
pub(crate) fn entries(count: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Model> {
    prop::collection::vec((key(), version(), value()), count).prop_map(|all| {
        all.into_iter().map(|(key, version, value)| ((key, Reverse(version)), value)).collect()
    })
}

/// The entries of a model as they are.
pub(crate) fn list(model: &Model) -> Vec<Entry> {
    model
        .iter()
        .map(|((key, version), value)| Entry { key: key.clone(), version: version.0, value: value.clone() })
        .collect()
}

/// What a get has to answer.
pub(crate) fn get(model: &Model, key: &[u8], at: Version) -> Option<Entry> {
    let from = (Bytes::copy_from_slice(key), Reverse(at));
    let ((found, version), value) = model.range(from..).next()?;
    (found == key).then(|| Entry { key: found.clone(), version: version.0, value: value.clone() })
}

/// Numbered keys, two versions each: a large set that is the same in every run.
pub(crate) fn numbered(count: u64, value_bytes: usize) -> Vec<Entry> {
    let entry = |n: u64| {
        let key = Bytes::from(format!("user{:08}", n / 2));
        let version = Version(1_000_000 - n);
        match n % 10 {
            7 => Entry::tombstone(key, version),
            _ => {
                let bytes: Vec<u8> =
                    (0..value_bytes).map(|i| (n as usize * 31 + i * i / 7) as u8 & 0x3f).collect();
                let expires_ms = n.is_multiple_of(13).then_some(n * 1000);
                Entry { key, version, value: Value::Put { bytes: bytes.into(), expires_ms } }
            }
        }
    };
    (0..count).map(entry).collect()
}

/// Moves of a cursor.
#[derive(Clone, Debug)]
pub(crate) enum Move {
    First,
    Last,
    Next,
    Prev,
    Seek(Bytes, Version),
}

/// Sequences of moves.
pub(crate) fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        1 => Just(Move::First),
        1 => Just(Move::Last),
        6 => Just(Move::Next),
        6 => Just(Move::Prev),
        4 => (key(), prop_oneof![version(), Just(Version::MAX)]).prop_map(|(key, version)| Move::Seek(key, version)),
    ];
    prop::collection::vec(one, 0..60)
}

/// Moves a cursor over exactly these entries and compares every place with the model's.
pub(crate) fn check_moves(
    cursor: &mut impl Cursor,
    entries: &[Entry],
    moves: &[Move],
) -> Result<(), TestCaseError> {
    // 0 is before the first, n + 1 behind the last.
    let mut at = 0usize;
    let behind = entries.len() + 1;
    for step in moves {
        match step {
            Move::First => {
                cursor.seek_first();
                at = 1;
            }
            Move::Last => {
                cursor.seek_last();
                at = entries.len();
            }
            Move::Next => {
                cursor.next();
                at = (at + 1).min(behind);
            }
            Move::Prev => {
                cursor.prev();
                at = at.saturating_sub(1);
            }
            Move::Seek(key, version) => {
                cursor.seek(key, *version);
                at = 1 + entries.partition_point(|entry| {
                    crate::entry::cmp_entries((&entry.key, entry.version), (key, *version)).is_lt()
                });
            }
        }
        let expected = at.checked_sub(1).and_then(|at| entries.get(at));
        prop_assert_eq!(cursor.entry(), expected.map(EntryRef::from), "after {:?}", step);
        prop_assert_eq!(cursor.to_entry(), expected.cloned(), "after {:?}", step);
    }
    Ok(())
}
