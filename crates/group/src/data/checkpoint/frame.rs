//! One frame of a checkpoint: a tag, the length of the payload, the payload.

use bytes::{BufMut, Bytes, BytesMut};
use lamina_engine::tree::Tree;
use lamina_engine::{Entry, Value};
use lamina_types::wire::{Reader, WireError, put_bytes, put_varint, varint_len};
use lamina_types::{
    GroupId, KeyRange, Level, LogIndex, NodeId, Reign, ShardId, SnapshotId, TabletId, Version,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data::config::GroupConfig;
use crate::data::entry::NewTable;
use crate::data::view::{Ban, Pin, TabletState};
use crate::data::window::FailedCondition;

/// The format that this binary writes and reads.
pub const FORMAT: u16 = 1;

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// The first frame.
    Head(Head),
    /// A pinned snapshot.
    Pin(PinFrame),
    /// The last word on a data node.
    Ban(BanFrame),
    /// A live table.
    Table(NewTable),
    /// A memtable begins; its number is the count of those before it. Its entries follow.
    Memtable,
    /// An entry of the memtable that began last.
    Entry(Entry),
    /// A tablet. Its tokens follow.
    Tablet(TabletFrame),
    /// A client token in the window of the tablet before.
    Token(TokenFrame),
    /// Refused requests of the client token before.
    Refused(RefusedFrame),
    /// The last frame.
    End(End),
}

/// The numbers of the group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    /// [`FORMAT`].
    pub format: u16,
    /// The group.
    pub group: GroupId,
    /// Its level.
    pub level: Level,
    /// Its reign.
    pub reign: Reign,
    /// The last version given.
    pub last_version: Version,
    /// The read floor.
    pub read_floor: Version,
    /// The configuration.
    pub config: GroupConfig,
}

/// A pinned snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PinFrame {
    /// Its name.
    pub snapshot: SnapshotId,
    /// What it pins.
    pub pin: Pin,
}

/// The last word on a data node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BanFrame {
    /// The node.
    pub node: NodeId,
    /// The word.
    pub ban: Ban,
}

/// A tablet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TabletFrame {
    /// Its name.
    pub id: TabletId,
    /// Its keys.
    pub range: KeyRange,
    /// Its generation.
    pub generation: u64,
    /// Its state.
    pub state: TabletState,
    /// Its index shard.
    pub shard: ShardId,
    /// Its own floor.
    pub adopted_floor: Version,
    /// The entry that last moved something from memory to tables.
    pub last_flush: LogIndex,
    /// The number of its active memtable.
    pub active: u32,
    /// Its memory views, newest first.
    pub memory: Vec<MemoryFrame>,
    /// Its tables.
    pub tree: Tree,
    /// The floor of its dedupe window.
    pub window_floor: Version,
}

/// A memory view.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemoryFrame {
    /// The entry that made it immutable.
    pub rotated_at: LogIndex,
    /// The keys for which it counts.
    pub range: KeyRange,
    /// The number of its memtable.
    pub memtable: u32,
}

/// What a window remembers of one client token.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenFrame {
    /// The token's random bytes.
    pub id: u128,
    /// Its base.
    pub base: Version,
    /// Lower numbers were answered.
    pub done_below: u64,
    /// Numbers and versions of effective writes, ascending.
    pub results: Vec<(u64, Version)>,
}

/// Requests of one client token whose conditions did not hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RefusedFrame {
    /// Numbers, ascending, and what did not hold.
    pub refused: Vec<(u64, FailedCondition)>,
}

/// Says that nothing is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct End {
    /// The frames before this one.
    pub frames: u64,
}

impl Frame {
    const fn tag(&self) -> u8 {
        match self {
            Frame::Head(_) => 1,
            Frame::Pin(_) => 2,
            Frame::Ban(_) => 3,
            Frame::Table(_) => 4,
            Frame::Memtable => 5,
            Frame::Entry(_) => 6,
            Frame::Tablet(_) => 7,
            Frame::Token(_) => 8,
            Frame::End(_) => 9,
            Frame::Refused(_) => 10,
        }
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_u8(self.tag());
        let payload = match self {
            Frame::Entry(entry) => return encode_entry(entry, out),
            Frame::Memtable => Ok(Vec::new()),
            Frame::Head(payload) => postcard::to_stdvec(payload),
            Frame::Pin(payload) => postcard::to_stdvec(payload),
            Frame::Ban(payload) => postcard::to_stdvec(payload),
            Frame::Table(payload) => postcard::to_stdvec(payload),
            Frame::Tablet(payload) => postcard::to_stdvec(payload),
            Frame::Token(payload) => postcard::to_stdvec(payload),
            Frame::End(payload) => postcard::to_stdvec(payload),
            Frame::Refused(payload) => postcard::to_stdvec(payload),
        };
        // Postcard refuses only values without a length known beforehand, which none of these has. Were it to
        // happen, the empty payload makes the checkpoint unreadable rather than wrong.
        put_bytes(out, &payload.unwrap_or_default());
    }

    pub(super) fn decode(tag: u8, payload: Bytes) -> Result<Frame, String> {
        match tag {
            1 => exactly(&payload).map(Frame::Head),
            2 => exactly(&payload).map(Frame::Pin),
            3 => exactly(&payload).map(Frame::Ban),
            4 => exactly(&payload).map(Frame::Table),
            5 if payload.is_empty() => Ok(Frame::Memtable),
            6 => decode_entry(Reader::new(payload)).map(Frame::Entry).map_err(|error| error.to_string()),
            7 => exactly(&payload).map(Frame::Tablet),
            8 => exactly(&payload).map(Frame::Token),
            9 => exactly(&payload).map(Frame::End),
            10 => exactly(&payload).map(Frame::Refused),
            unknown => Err(format!("frame tag {unknown} is not known, or its payload is not empty")),
        }
    }
}

fn exactly<T: DeserializeOwned>(payload: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(WireError::Trailing.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// The rest of the payload behind the key is the value: most bytes of a checkpoint are copied once.
fn encode_entry(entry: &Entry, out: &mut BytesMut) {
    let key_len = varint_len(entry.key.len() as u64) + entry.key.len();
    let (kind, expiry, value): (u8, Option<u64>, &[u8]) = match &entry.value {
        Value::Tombstone => (0, None, &[]),
        Value::Put { bytes, expires_ms: None } => (1, None, bytes),
        Value::Put { bytes, expires_ms } => (2, *expires_ms, bytes),
    };
    put_varint(out, (8 + 1 + expiry.map_or(0, varint_len) + key_len + value.len()) as u64);
    out.put_u64_le(entry.version.0);
    out.put_u8(kind);
    if let Some(ms) = expiry {
        put_varint(out, ms);
    }
    put_bytes(out, &entry.key);
    out.put_slice(value);
}

fn decode_entry(mut reader: Reader) -> Result<Entry, WireError> {
    let version = Version(reader.u64()?);
    let kind = reader.u8()?;
    let expires_ms = if kind == 2 { Some(reader.varint()?) } else { None };
    let key = reader.bytes()?;
    let rest = reader.remaining();
    let value = match kind {
        0 if rest == 0 => Value::Tombstone,
        1 | 2 => Value::Put { bytes: reader.take(rest)?, expires_ms },
        _ => return Err(WireError::Tag),
    };
    Ok(Entry { key, version, value })
}
