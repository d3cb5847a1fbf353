use super::Twin;
use crate::{admin, data, index, kv, types};
use bytes::Bytes;
use lamina_peers::admin::{CanStop, RegisterNode, StopGranted};
use lamina_peers::data::{ReadBlocks, TableBuild};
use lamina_peers::index::{Candidate, Lookup};
use lamina_peers::kv::{Condition, Get, ReadAt, Scan, WriteOperation};
use lamina_types::{Error, KeyRange, Kind, NodeId, Reason, Result, Settings};

fn refused<T>(result: Result<T>) -> (Reason, Option<String>) {
    let error = result.err().unwrap();
    (error.reason(), error.detail("field").map(str::to_owned))
}

fn field(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[test]
fn an_absent_form_is_never_taken_for_a_default() {
    let operation =
        WriteOperation::from_wire(kv::WriteOperation { key: Bytes::from_static(b"a"), action: None });
    assert_eq!(refused(operation), (Reason::OpMissing, field("action")));
    let condition = Condition::from_wire(kv::Condition { key: Bytes::from_static(b"a"), expected: None });
    assert_eq!(refused(condition), (Reason::OpMissing, field("expected")));
    assert_eq!(refused(Candidate::from_wire(index::Candidate { candidate: None })).0, Reason::OpMissing);
    assert_eq!(refused(StopGranted::from_wire(admin::CanStopResponse { result: None })).0, Reason::OpMissing);
}

#[test]
fn a_number_without_a_meaning_is_refused_and_so_is_the_unset_one() {
    let build = |codec| data::TableBuild { codec, ..Default::default() };
    assert_eq!(refused(TableBuild::from_wire(build(0))), (Reason::UnknownEnum, field("codec")));
    assert_eq!(refused(TableBuild::from_wire(build(9))), (Reason::UnknownEnum, field("codec")));
    assert!(TableBuild::from_wire(build(2)).is_ok());
    let node = NodeId(1).into_wire();
    let register = admin::RegisterNodeRequest { node, role: 4, ..Default::default() };
    assert_eq!(refused(RegisterNode::from_wire(register)), (Reason::UnknownEnum, field("role")));
}

#[test]
fn an_id_has_16_bytes_and_an_error_names_the_field_from_outside_in() {
    let stop = admin::CanStopRequest { grant: "g".into(), node: Bytes::from_static(&[0; 15]) };
    assert_eq!(refused(CanStop::from_wire(stop)), (Reason::FieldInvalid, field("node")));
    let snapshot = kv::read_at::At::Snapshot(Bytes::from_static(&[0; 17]));
    let get = kv::GetRequest { key: Bytes::new(), at: Some(kv::ReadAt { at: Some(snapshot) }) };
    assert_eq!(refused(Get::from_wire(get)), (Reason::FieldInvalid, field("at.snapshot")));
}

#[test]
fn a_message_that_must_be_there_is_missed() {
    let read = data::ReadBlocksRequest { blocks: vec![types::BlockHandle::default()] };
    assert_eq!(refused(ReadBlocks::from_wire(read)), (Reason::FieldInvalid, field("blocks.table")));
    let settings = admin::Settings { shards: 65_536, ..Default::default() };
    assert_eq!(refused(Settings::from_wire(settings)), (Reason::FieldInvalid, field("shards")));
}

#[test]
fn a_key_that_names_no_list_of_candidates_is_refused() {
    let keys = vec![index::LookupKey { candidates: 1, key: Bytes::new(), at: 0 }];
    let lookup = index::LookupRequest { candidates: vec![index::TableList::default()], keys };
    assert_eq!(refused(Lookup::from_wire(lookup)), (Reason::FieldInvalid, field("keys.candidates")));
}

#[test]
fn a_scan_without_a_range_reads_all_and_one_with_a_prefix_what_begins_with_it() {
    let scan = Scan::from_wire(kv::ScanRequest::default()).unwrap();
    assert_eq!((scan.range, scan.at), (KeyRange::all(), ReadAt::Newest));
    let keys = Some(kv::scan_request::Keys::Prefix(Bytes::from_static(b"ab")));
    let scan = Scan::from_wire(kv::ScanRequest { keys, ..Default::default() }).unwrap();
    assert_eq!(scan.range, KeyRange::prefix("ab"));
}

#[test]
fn an_error_of_a_newer_store_keeps_its_kind_and_its_word() {
    let kind = types::Kind::FailedPrecondition.into();
    let wire = types::Error { reason: "FROM_THE_FUTURE".into(), kind, ..Default::default() };
    let error = Error::from_wire(wire).unwrap();
    assert_eq!((error.kind(), error.detail("reason")), (Kind::FailedPrecondition, Some("FROM_THE_FUTURE")));
    let unknown = Error::from_wire(types::Error { kind: 99, ..Default::default() }).unwrap();
    assert!(unknown.outcome_unknown());
}

#[test]
fn received_keys_are_slices_of_the_frame() {
    let frame = Bytes::from(prost::Message::encode_to_vec(&kv::GetRequest {
        key: Bytes::from(vec![7; 100]),
        at: None,
    }));
    let request: kv::GetRequest = prost::Message::decode(frame.clone()).unwrap();
    let key = Get::from_wire(request).unwrap().key;
    assert!(frame.as_ptr_range().contains(&key.as_ptr()));
}
