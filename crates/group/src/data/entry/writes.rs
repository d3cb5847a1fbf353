//! The entry that most of a log consists of: client writes. Written by hand, so that keys and values are slices of
//! the entry's bytes on their way into the memtable.

use bytes::{BufMut, Bytes, BytesMut};
use lamina_types::wire::{Reader, WireError, put_bytes, put_varint, varint_len};
use lamina_types::{ClientToken, LogIndex, RequestId, Version};

/// The tag of `Writes`.
pub const TAG: u8 = 2;

const HAS_REQUEST_ID: u8 = 1;
const HAS_CONDITIONS: u8 = 2;

/// Client writes, in the order in which they take effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Writes {
    /// The leader's clock (§4).
    pub hint: Version,
    /// The writes; each is accepted or refused on its own.
    pub writes: Vec<ClientWrite>,
}

/// One atomic write of one client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientWrite {
    /// Makes it take effect at most once; without one a retry is a second write.
    pub request_id: Option<RequestId>,
    /// What to do. The first key's tablet remembers the request id. If a key stands twice, the later one wins.
    pub operations: Vec<Operation>,
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// The applied index of the view from which the leader took what it saw. Stored only with conditions.
    pub read_at: LogIndex,
}

/// What to do with one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// The key, keyspace first.
    pub key: Bytes,
    /// Put or delete.
    pub action: Action,
}

/// Put or delete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// The key becomes absent.
    Delete,
    /// The key gets this value.
    Put {
        /// The user's bytes.
        value: Bytes,
        /// Milliseconds after the write's version at which the key is absent again.
        ttl_ms: Option<u64>,
    },
}

/// What must hold of one key, with what the leader saw of it (§5.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// The key, keyspace first. It need not be written.
    pub key: Bytes,
    /// What it must have.
    pub expected: Expected,
    /// What the leader saw in the view of [`ClientWrite::read_at`]; `None`: absent, or a tombstone.
    pub seen: Option<Seen>,
}

/// What a key must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// No value.
    Absent,
    /// A value, whichever.
    Present,
    /// The value of the write with this version.
    Version(Version),
}

/// A value as the leader saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The version of the write.
    pub version: Version,
    /// Absent at versions whose millisecond is at or after this one.
    pub expires_ms: Option<u64>,
}

impl Writes {
    /// The bytes of the payload, without the tag.
    pub fn encoded_len(&self) -> usize {
        let writes: usize = self.writes.iter().map(ClientWrite::encoded_len).sum();
        8 + varint_len(self.writes.len() as u64) + writes
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(self.hint.0);
        put_varint(out, self.writes.len() as u64);
        for write in &self.writes {
            write.encode(out);
        }
    }

    pub(super) fn decode(mut reader: Reader) -> Result<Writes, WireError> {
        let hint = Version(reader.u64()?);
        let writes = list(&mut reader, ClientWrite::decode)?;
        reader.end()?;
        Ok(Writes { hint, writes })
    }
}

impl ClientWrite {
    /// A write of these operations, without request id or conditions.
    pub fn new(operations: Vec<Operation>) -> ClientWrite {
        ClientWrite { request_id: None, operations, conditions: Vec::new(), read_at: LogIndex::ZERO }
    }

    /// The bytes that the write takes in an entry. The leader cuts its batches by it.
    pub fn encoded_len(&self) -> usize {
        let mut length = 1 + varint_len(self.operations.len() as u64);
        if let Some(id) = &self.request_id {
            length += 16 + 8 + varint_len(id.seq) + varint_len(id.done_below);
        }
        if !self.conditions.is_empty() {
            length += varint_len(self.read_at.0) + varint_len(self.conditions.len() as u64);
            length += self.conditions.iter().map(Condition::encoded_len).sum::<usize>();
        }
        length + self.operations.iter().map(Operation::encoded_len).sum::<usize>()
    }

    fn encode(&self, out: &mut BytesMut) {
        let request = if self.request_id.is_some() { HAS_REQUEST_ID } else { 0 };
        let conditions = if self.conditions.is_empty() { 0 } else { HAS_CONDITIONS };
        out.put_u8(request | conditions);
        if let Some(id) = &self.request_id {
            out.put_u128_le(id.token.id);
            out.put_u64_le(id.token.base.0);
            put_varint(out, id.seq);
            put_varint(out, id.done_below);
        }
        if !self.conditions.is_empty() {
            put_varint(out, self.read_at.0);
            put_varint(out, self.conditions.len() as u64);
            self.conditions.iter().for_each(|condition| condition.encode(out));
        }
        put_varint(out, self.operations.len() as u64);
        self.operations.iter().for_each(|operation| operation.encode(out));
    }

    fn decode(reader: &mut Reader) -> Result<ClientWrite, WireError> {
        let flags = reader.u8()?;
        if flags & !(HAS_REQUEST_ID | HAS_CONDITIONS) != 0 {
            return Err(WireError::Tag);
        }
        let request_id = if flags & HAS_REQUEST_ID != 0 {
            let token = ClientToken { id: reader.u128()?, base: Version(reader.u64()?) };
            Some(RequestId { token, seq: reader.varint()?, done_below: reader.varint()? })
        } else {
            None
        };
        let (read_at, conditions) = if flags & HAS_CONDITIONS != 0 {
            (LogIndex(reader.varint()?), list(reader, Condition::decode)?)
        } else {
            (LogIndex::ZERO, Vec::new())
        };
        let operations = list(reader, Operation::decode)?;
        Ok(ClientWrite { request_id, operations, conditions, read_at })
    }
}

impl Operation {
    /// A put without an expiry.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Operation {
        Operation { key: key.into(), action: Action::Put { value: value.into(), ttl_ms: None } }
    }

    /// A delete.
    pub fn delete(key: impl Into<Bytes>) -> Operation {
        Operation { key: key.into(), action: Action::Delete }
    }

    fn encoded_len(&self) -> usize {
        let action = match &self.action {
            Action::Delete => 0,
            Action::Put { value, ttl_ms } => ttl_ms.map_or(0, varint_len) + bytes_len(value),
        };
        1 + bytes_len(&self.key) + action
    }

    fn encode(&self, out: &mut BytesMut) {
        match &self.action {
            Action::Delete => {
                out.put_u8(0);
                put_bytes(out, &self.key);
            }
            Action::Put { value, ttl_ms } => {
                out.put_u8(if ttl_ms.is_some() { 2 } else { 1 });
                put_bytes(out, &self.key);
                if let Some(ttl) = ttl_ms {
                    put_varint(out, *ttl);
                }
                put_bytes(out, value);
            }
        }
    }

    fn decode(reader: &mut Reader) -> Result<Operation, WireError> {
        let form = reader.u8()?;
        let key = reader.bytes()?;
        let action = match form {
            0 => Action::Delete,
            1 => Action::Put { ttl_ms: None, value: reader.bytes()? },
            2 => Action::Put { ttl_ms: Some(reader.varint()?), value: reader.bytes()? },
            _ => return Err(WireError::Tag),
        };
        Ok(Operation { key, action })
    }
}

impl Condition {
    fn encoded_len(&self) -> usize {
        let expected = if matches!(self.expected, Expected::Version(_)) { 8 } else { 0 };
        let seen = self.seen.map_or(0, |seen| 8 + seen.expires_ms.map_or(0, varint_len));
        bytes_len(&self.key) + 1 + expected + 1 + seen
    }

    fn encode(&self, out: &mut BytesMut) {
        put_bytes(out, &self.key);
        match self.expected {
            Expected::Absent => out.put_u8(0),
            Expected::Present => out.put_u8(1),
            Expected::Version(version) => {
                out.put_u8(2);
                out.put_u64_le(version.0);
            }
        }
        match self.seen {
            None => out.put_u8(0),
            Some(Seen { version, expires_ms }) => {
                out.put_u8(if expires_ms.is_some() { 2 } else { 1 });
                out.put_u64_le(version.0);
                if let Some(ms) = expires_ms {
                    put_varint(out, ms);
                }
            }
        }
    }

    fn decode(reader: &mut Reader) -> Result<Condition, WireError> {
        let key = reader.bytes()?;
        let expected = match reader.u8()? {
            0 => Expected::Absent,
            1 => Expected::Present,
            2 => Expected::Version(Version(reader.u64()?)),
            _ => return Err(WireError::Tag),
        };
        let seen = match reader.u8()? {
            0 => None,
            1 => Some(Seen { version: Version(reader.u64()?), expires_ms: None }),
            2 => Some(Seen { version: Version(reader.u64()?), expires_ms: Some(reader.varint()?) }),
            _ => return Err(WireError::Tag),
        };
        Ok(Condition { key, expected, seen })
    }
}

fn bytes_len(bytes: &[u8]) -> usize {
    varint_len(bytes.len() as u64) + bytes.len()
}

/// Reads a count and as many items. Nothing is reserved beyond what the bytes that are there can hold.
fn list<T>(
    reader: &mut Reader,
    item: impl Fn(&mut Reader) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let count = usize::try_from(reader.varint()?).map_err(|_| WireError::Truncated)?;
    // Each item takes at least two bytes.
    if count > reader.remaining() / 2 {
        return Err(WireError::Truncated);
    }
    let mut items = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        items.push(item(reader)?);
    }
    Ok(items)
}
