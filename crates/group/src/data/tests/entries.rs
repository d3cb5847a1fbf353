//! Bytes of entries: what was encoded is decoded, and nothing else is.

use bytes::Bytes;
use lamina_types::{ClientToken, LogIndex, RequestId, Version, limits};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::entry::*;
use super::super::*;
use super::rig::*;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn operation() -> impl Strategy<Value = Operation> {
    let put = (bytes(), option::of(any::<u64>())).prop_map(|(value, ttl_ms)| Action::Put { value, ttl_ms });
    let action = prop_oneof![Just(Action::Delete), put];
    (bytes(), action).prop_map(|(key, action)| Operation { key, action })
}

fn condition() -> impl Strategy<Value = Condition> {
    let version = any::<u64>().prop_map(|version| Expected::Version(Version(version)));
    let expected = prop_oneof![Just(Expected::Absent), Just(Expected::Present), version];
    let seen = (any::<u64>(), option::of(any::<u64>()));
    let seen = seen.prop_map(|(version, expires_ms)| Seen { version: Version(version), expires_ms });
    (bytes(), expected, option::of(seen)).prop_map(|(key, expected, seen)| Condition { key, expected, seen })
}

fn client_write() -> impl Strategy<Value = ClientWrite> {
    let id =
        (any::<u128>(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(id, base, seq, done_below)| {
            RequestId { token: ClientToken { id, base: Version(base) }, seq, done_below }
        });
    let parts = (option::of(id), vec(operation(), 0..4), vec(condition(), 0..3), any::<u64>());
    parts.prop_map(|(request_id, operations, conditions, read_at)| ClientWrite {
        request_id,
        operations,
        read_at: if conditions.is_empty() { LogIndex::ZERO } else { LogIndex(read_at) },
        conditions,
    })
}

proptest! {
    #[test]
    fn writes_read_back_as_they_were(hint in any::<u64>(), writes in vec(client_write(), 0..5)) {
        let writes = Writes { hint: Version(hint), writes };
        let bytes = Entry::from(writes.clone()).encode().unwrap();
        prop_assert_eq!(bytes.len(), writes.encoded_len() + 1);
        prop_assert_eq!(Entry::decode(bytes), Ok(Entry::from(writes)));
    }

    #[test]
    fn random_bytes_stop_the_replica_or_are_an_entry_but_never_panic(tag in 0u8..20, payload in vec(any::<u8>(), 0..60)) {
        let mut rig = Rig::new(GroupConfig::default());
        let entry = Bytes::from([vec![tag], payload].concat());
        let decoded = Entry::decode(entry.clone());
        let index = LogIndex(rig.index + 1);
        match rig.group.apply(index, entry) {
            Ok(_) => prop_assert!(decoded.is_ok()),
            Err(StopReason::Entry { .. }) => prop_assert!(decoded.is_err()),
            Err(other) => prop_assert!(matches!(other, StopReason::Level { .. } | StopReason::Versions { .. }), "{}", other),
        }
    }

    #[test]
    fn a_damaged_entry_never_panics(
        writes in vec(client_write(), 0..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Entry::from(Writes { hint: ms(1), writes }).encode().unwrap().to_vec();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        let cut = bytes[..cut.index(bytes.len())].to_vec();
        let _ = Entry::decode(Bytes::from(bytes));
        let _ = Entry::decode(Bytes::from(cut));
    }
}

#[test]
fn keys_and_values_are_slices_of_the_entry() {
    let entry = Entry::from(Writes { hint: ms(1), writes: vec![put("key", "value")] }).encode().unwrap();
    let Ok(Entry::Writes(writes)) = Entry::decode(entry.clone()) else { panic!("not decoded") };
    let within = entry.as_ptr_range();
    assert!(within.contains(&writes.writes[0].operations[0].key.as_ptr()));
}

#[test]
fn a_byte_too_many_or_too_few_is_no_entry() {
    for (name, entry) in super::golden::one_of_each() {
        let bytes = entry.encode().unwrap();
        assert_eq!(Entry::decode(bytes.clone()), Ok(entry), "{name}");
        let longer = Bytes::from([bytes.as_ref(), &[0]].concat());
        assert!(matches!(Entry::decode(longer), Err(EntryError::Malformed { .. })), "{name}");
        assert!(Entry::decode(bytes.slice(..bytes.len() - 1)).is_err(), "{name}");
    }
    assert_eq!(Entry::decode(Bytes::new()), Err(EntryError::Empty));
    assert_eq!(Entry::decode(Bytes::from_static(&[200, 1])), Err(EntryError::UnknownTag(200)));
}

#[test]
fn an_entry_larger_than_the_log_takes_is_not_encoded() {
    let value = vec![0u8; limits::ENTRY_BYTES_MAX];
    let write = ClientWrite::new(vec![Operation::put(key("k"), value)]);
    let entry = Entry::from(Writes { hint: ms(1), writes: vec![write] });
    assert!(matches!(entry.encode(), Err(EntryError::TooLarge { .. })));
}
