use super::*;
use lamina_peers::kv::{
    BatchGet, Condition, Expected, Get, ReadAt, ReleaseSnapshot, TakeSnapshot, WriteOperation,
};
use lamina_types::{ClientToken, KeyRange, RequestId, SnapshotId, Version};

fn put(key: &[u8], value: usize) -> WriteOperation {
    let action = WriteAction::Put { value: Bytes::from(vec![1; value]), ttl_ms: None };
    WriteOperation { key: Bytes::copy_from_slice(key), action }
}

fn written(operations: Vec<WriteOperation>) -> Write {
    Write { request_id: None, operations, conditions: vec![] }
}

fn refused(request: KvRequest) -> Option<Reason> {
    kv(&request).err().map(|error| error.reason())
}

fn refused_write(operations: Vec<WriteOperation>) -> Option<Reason> {
    refused(KvRequest::Write(written(operations)))
}

fn scanned(start: &[u8], end: Option<&[u8]>, limit: u32) -> Scan {
    let range = KeyRange::new(start.to_vec(), end.map(Bytes::copy_from_slice));
    Scan { range, reverse: false, limit, keys_only: false, at: ReadAt::Newest, resume: None }
}

#[test]
fn a_key_has_1_to_4096_bytes_wherever_it_stands() {
    let get = |key: Vec<u8>| KvRequest::Get(Get { key: key.into(), at: ReadAt::Newest });
    assert_eq!(refused(get(vec![])), Some(Reason::KeyEmpty));
    assert_eq!(refused(get(vec![0])), None);
    assert_eq!(refused(get(vec![7; 4096])), None);
    assert_eq!(refused(get(vec![7; 4097])), Some(Reason::KeyTooLarge));
    let keys = vec![Bytes::from_static(b"a"), Bytes::new()];
    let batch = BatchGet { keys, at: ReadAt::Newest };
    assert_eq!(refused(KvRequest::BatchGet(batch)), Some(Reason::KeyEmpty));
    assert_eq!(refused_write(vec![put(b"a", 1), put(b"", 1)]), Some(Reason::KeyEmpty));
    let condition = Condition { key: Bytes::from(vec![1; 5000]), expected: Expected::Absent };
    let write = Write { conditions: vec![condition], ..written(vec![put(b"a", 1)]) };
    assert_eq!(refused(KvRequest::Write(write)), Some(Reason::KeyTooLarge));
}

#[test]
fn a_batch_has_1_to_1000_different_keys_and_at_most_4_mib() {
    assert_eq!(refused_write(vec![]), Some(Reason::BatchEmpty));
    let many = |n: u32| (0..n).map(|i| put(&i.to_be_bytes(), 0)).collect::<Vec<_>>();
    assert_eq!(refused_write(many(1000)), None);
    assert_eq!(refused_write(many(1001)), Some(Reason::BatchTooLarge));
    assert_eq!(refused_write(vec![put(b"a", 1), put(b"b", 1), put(b"a", 2)]), Some(Reason::DuplicateKey));
    let large = |n: u32, value| (0..n).map(|i| put(&i.to_be_bytes(), value)).collect::<Vec<_>>();
    assert_eq!(refused_write(large(1, 1 << 20)), None);
    assert_eq!(refused_write(large(1, (1 << 20) + 1)), Some(Reason::ValueTooLarge));
    assert_eq!(refused_write(large(4, (1 << 20) - 4)), None, "exactly 4 MiB");
    assert_eq!(refused_write(large(4, (1 << 20) - 3)), Some(Reason::BatchTooLarge));
    let empty = BatchGet { keys: vec![], at: ReadAt::Newest };
    assert_eq!(refused(KvRequest::BatchGet(empty)), Some(Reason::BatchEmpty));
    let large = BatchGet { keys: vec![Bytes::from_static(b"a"); 1001], at: ReadAt::Newest };
    assert_eq!(refused(KvRequest::BatchGet(large)), Some(Reason::BatchTooLarge));
}

#[test]
fn a_time_to_live_is_neither_zero_nor_above_its_limit() {
    let with_ttl = |ms| {
        let action = WriteAction::Put { value: Bytes::new(), ttl_ms: Some(ms) };
        refused_write(vec![WriteOperation { key: Bytes::from_static(b"a"), action }])
    };
    assert_eq!(with_ttl(0), Some(Reason::TtlOutOfRange));
    assert_eq!(with_ttl(1), None);
    assert_eq!(with_ttl(u64::MAX), Some(Reason::TtlOutOfRange));
    let snapshot = |ttl_ms| refused(KvRequest::TakeSnapshot(TakeSnapshot { ttl_ms }));
    assert_eq!(snapshot(0), Some(Reason::TtlOutOfRange));
    assert_eq!(snapshot(300_000), None);
    assert_eq!(snapshot(300_001), Some(Reason::TtlOutOfRange));
    let release = ReleaseSnapshot { snapshot: SnapshotId(0) };
    assert_eq!(refused(KvRequest::ReleaseSnapshot(release)), None);
}

#[test]
fn a_scan_may_be_empty_but_not_inverted_and_its_limit_is_not_clamped() {
    assert_eq!(refused(KvRequest::Scan(scanned(b"b", Some(b"a"), 0))), Some(Reason::RangeInverted));
    assert_eq!(refused(KvRequest::Scan(scanned(b"a", Some(b"a"), 0))), None);
    assert_eq!(refused(KvRequest::Scan(scanned(b"", None, 10_000))), None);
    assert_eq!(refused(KvRequest::Scan(scanned(b"", None, 10_001))), Some(Reason::LimitOutOfRange));
    assert_eq!(refused(KvRequest::Scan(scanned(&[1; 4098], None, 0))), Some(Reason::KeyTooLarge));
    let token = Scan { resume: Some(Bytes::new()), ..scanned(b"", None, 0) };
    assert_eq!(refused(KvRequest::Scan(token)), Some(Reason::TokenInvalid));
}

#[test]
fn request_ids_are_counted_from_1_and_errors_name_the_limit() {
    let token = ClientToken { id: 1, base: Version(1) };
    let request_id = Some(RequestId { token, seq: 0, done_below: 0 });
    let write = Write { request_id, ..written(vec![put(b"a", 1)]) };
    assert_eq!(refused(KvRequest::Write(write)), Some(Reason::FieldInvalid));
    let error = key(&[0; 4097]).unwrap_err();
    assert_eq!(error.detail("limit"), Some("4096"));
    assert!(error.message().contains("4097"), "{error}");
}
