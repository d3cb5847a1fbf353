//! Keys and values.

use bytes::Bytes;
use lamina_peers::kv::{
    BatchGet, BatchGot, Condition, Expected, Found, Get, Got, Hello, KvAnswer, KvRequest, Page, ReadAt,
    ReleaseSnapshot, Row, Scan, SnapshotReleased, SnapshotTaken, TakeSnapshot, Welcome, Write, WriteAction,
    WriteOperation, Written,
};
use lamina_types::{ClientToken, KeyRange, RequestId, Result};

use super::{Twin, in_field, no_form, port_twins, twins};
use crate::kv;

twins! {
    Get => kv::GetRequest { key, at }
    Found => kv::Found { value, version, expires_ms }
    BatchGet => kv::BatchGetRequest { keys, at }
    Write => kv::WriteRequest { request_id, operations, conditions }
    Written => kv::WriteResponse { version }
    Page => kv::ScanResponse { rows, resume, read_at }
    Row => kv::Row { key, value, version }
    TakeSnapshot => kv::SnapshotRequest { ttl_ms }
    SnapshotTaken => kv::SnapshotResponse { snapshot, version, expires_ms }
    ReleaseSnapshot => kv::ReleaseSnapshotRequest { snapshot }
    SnapshotReleased => kv::ReleaseSnapshotResponse {}
    Hello => kv::HelloRequest { protocol, cluster, required_features }
    Welcome => kv::HelloResponse { node, version, view }
}

port_twins!(KvRequest, KvAnswer => kv::op::Request, kv::answer::Answer {
    Get, BatchGet, Write, Scan, TakeSnapshot, ReleaseSnapshot, Hello,
});

/// The newest is the absence of anything else, so this message is the one that may be absent.
impl Twin<Option<kv::ReadAt>> for ReadAt {
    fn into_wire(self) -> Option<kv::ReadAt> {
        let at = match self {
            ReadAt::Newest => return None,
            ReadAt::Version(version) => kv::read_at::At::Version(version.into_wire()),
            ReadAt::Snapshot(snapshot) => kv::read_at::At::Snapshot(snapshot.into_wire()),
        };
        Some(kv::ReadAt { at: Some(at) })
    }

    fn from_wire(wire: Option<kv::ReadAt>) -> Result<ReadAt> {
        Ok(match wire.and_then(|wire| wire.at) {
            None => ReadAt::Newest,
            Some(kv::read_at::At::Version(version)) => ReadAt::Version(Twin::from_wire(version)?),
            Some(kv::read_at::At::Snapshot(snapshot)) => {
                ReadAt::Snapshot(Twin::from_wire(snapshot).map_err(in_field("snapshot"))?)
            }
        })
    }
}

/// `Option<Found>` on the wire is a message that may be absent, as everywhere; here it is named by its owner.
impl Twin<kv::GetResponse> for Got {
    fn into_wire(self) -> kv::GetResponse {
        kv::GetResponse { found: self.value.into_wire(), read_at: self.read_at.into_wire() }
    }
    fn from_wire(wire: kv::GetResponse) -> Result<Got> {
        Ok(Got { value: Twin::from_wire(wire.found)?, read_at: Twin::from_wire(wire.read_at)? })
    }
}

impl Twin<kv::BatchGetResponse> for BatchGot {
    fn into_wire(self) -> kv::BatchGetResponse {
        let entry = |value: Option<Found>| kv::BatchGetEntry { found: value.into_wire() };
        kv::BatchGetResponse {
            values: self.values.into_iter().map(entry).collect(),
            read_at: self.read_at.into_wire(),
        }
    }
    fn from_wire(wire: kv::BatchGetResponse) -> Result<BatchGot> {
        let values = wire.values.into_iter().map(|entry| Twin::from_wire(entry.found));
        Ok(BatchGot { values: values.collect::<Result<_>>()?, read_at: Twin::from_wire(wire.read_at)? })
    }
}

impl Twin<kv::RequestId> for RequestId {
    fn into_wire(self) -> kv::RequestId {
        kv::RequestId {
            token: self.token.id.into_wire(),
            base: self.token.base.into_wire(),
            seq: self.seq,
            done_below: self.done_below,
        }
    }
    fn from_wire(wire: kv::RequestId) -> Result<RequestId> {
        let id = Twin::from_wire(wire.token).map_err(in_field("token"))?;
        let token = ClientToken { id, base: Twin::from_wire(wire.base)? };
        Ok(RequestId { token, seq: wire.seq, done_below: wire.done_below })
    }
}

impl Twin<kv::WriteOperation> for WriteOperation {
    fn into_wire(self) -> kv::WriteOperation {
        let action = match self.action {
            WriteAction::Put { value, ttl_ms } => {
                kv::write_operation::Action::Put(kv::PutAction { value, ttl_ms })
            }
            WriteAction::Delete => kv::write_operation::Action::Delete(kv::DeleteAction {}),
        };
        kv::WriteOperation { key: self.key, action: Some(action) }
    }
    fn from_wire(wire: kv::WriteOperation) -> Result<WriteOperation> {
        let action = match wire.action {
            Some(kv::write_operation::Action::Put(put)) => {
                WriteAction::Put { value: put.value, ttl_ms: put.ttl_ms }
            }
            Some(kv::write_operation::Action::Delete(_)) => WriteAction::Delete,
            None => return no_form().map_err(in_field("action")),
        };
        Ok(WriteOperation { key: wire.key, action })
    }
}

impl Twin<kv::Condition> for Condition {
    fn into_wire(self) -> kv::Condition {
        let expected = match self.expected {
            Expected::Absent => kv::condition::Expected::Absent(true),
            Expected::Present => kv::condition::Expected::Present(true),
            Expected::Version(version) => kv::condition::Expected::Version(version.into_wire()),
        };
        kv::Condition { key: self.key, expected: Some(expected) }
    }
    fn from_wire(wire: kv::Condition) -> Result<Condition> {
        let expected = match wire.expected {
            Some(kv::condition::Expected::Absent(_)) => Expected::Absent,
            Some(kv::condition::Expected::Present(_)) => Expected::Present,
            Some(kv::condition::Expected::Version(version)) => Expected::Version(Twin::from_wire(version)?),
            None => return no_form().map_err(in_field("expected")),
        };
        Ok(Condition { key: wire.key, expected })
    }
}

impl Twin<kv::ScanRequest> for Scan {
    fn into_wire(self) -> kv::ScanRequest {
        kv::ScanRequest {
            keys: Some(kv::scan_request::Keys::Range(self.range.into_wire())),
            reverse: self.reverse,
            limit: self.limit,
            keys_only: self.keys_only,
            at: self.at.into_wire(),
            resume: self.resume,
        }
    }
    fn from_wire(wire: kv::ScanRequest) -> Result<Scan> {
        let range = match wire.keys {
            None => KeyRange::all(),
            Some(kv::scan_request::Keys::Range(range)) => Twin::from_wire(range)?,
            Some(kv::scan_request::Keys::Prefix(prefix)) => KeyRange::prefix(prefix),
        };
        Ok(Scan {
            range,
            reverse: wire.reverse,
            limit: wire.limit,
            keys_only: wire.keys_only,
            at: Twin::from_wire(wire.at).map_err(in_field("at"))?,
            resume: wire.resume,
        })
    }
}

/// The unary `Put` as the write that it is.
///
/// # Errors
/// As [`Twin::from_wire`].
pub fn put_as_write(put: kv::PutRequest) -> Result<Write> {
    let action = WriteAction::Put { value: put.value, ttl_ms: put.ttl_ms };
    single_write(put.key, action, put.request_id, put.conditions)
}

/// The unary `Delete` as the write that it is.
///
/// # Errors
/// As [`Twin::from_wire`].
pub fn delete_as_write(delete: kv::DeleteRequest) -> Result<Write> {
    single_write(delete.key, WriteAction::Delete, delete.request_id, delete.conditions)
}

fn single_write(
    key: Bytes,
    action: WriteAction,
    request_id: Option<kv::RequestId>,
    conditions: Vec<kv::Condition>,
) -> Result<Write> {
    Ok(Write {
        request_id: Twin::from_wire(request_id).map_err(in_field("request_id"))?,
        operations: vec![WriteOperation { key, action }],
        conditions: Twin::from_wire(conditions).map_err(in_field("conditions"))?,
    })
}
