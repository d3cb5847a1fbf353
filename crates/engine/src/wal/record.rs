//! What one replica says to its log.

use bytes::{BufMut, Bytes};
use lamina_types::wire::{Reader, WireError, put_bytes, put_varint};
use lamina_types::{GroupId, ReplicaId};

use super::{Position, WAL_FORMAT};

/// Whose record it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Replica {
    /// The group.
    pub group: GroupId,
    /// Its replica on this volume.
    pub replica: ReplicaId,
}

/// A place in a replica's log: the term of the leader that wrote the entry, and its index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct LogPoint {
    /// The term.
    pub term: u64,
    /// The index.
    pub index: u64,
}

/// A vote: for whom, in which term, and whether that replica is known to lead.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct SavedVote {
    /// The term.
    pub term: u64,
    /// For whom.
    pub replica: u64,
    /// A majority granted it.
    pub committed: bool,
}

/// One entry of a replica's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryRecord {
    /// Its place.
    pub at: LogPoint,
    /// What it says; the form belongs to `crates/consensus`.
    pub payload: Bytes,
}

/// One record. All but [`Record::Opens`] belong to one replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// First in every segment: the log goes on here; it had ended at `previous`, and whatever lies behind that
    /// position and before this segment does not count.
    Opens {
        /// Where the log ended before; `None` in the first segment of a volume.
        previous: Option<Position>,
    },
    /// The replica was made on this volume.
    Made(Replica),
    /// The replica was deleted from this volume; its id never comes back (invariant Q1).
    Deleted(Replica),
    /// The replica may initialise its group, and nobody else does (protocols §8.3).
    Initialised(Replica),
    /// The replica's vote; the last one counts.
    Vote(Replica, SavedVote),
    /// An entry. One that is there already is replaced: a copy of an entry that was moved forward is the same entry.
    Entry(Replica, EntryRecord),
    /// Entries above this index are gone; `None`: all are.
    Truncate(Replica, Option<u64>),
    /// Entries up to this point are gone, because a checkpoint holds what they did.
    Purge(Replica, LogPoint),
    /// Everything up to this point is committed. Never ahead of the entries (openraft.md trap 2.5).
    Committed(Replica, LogPoint),
    /// A checkpoint of the state at this point is durable.
    Checkpoint(Replica, LogPoint),
}

const OPENS: u8 = 1;
const MADE: u8 = 2;
const DELETED: u8 = 3;
const INITIALISED: u8 = 4;
const VOTE: u8 = 5;
const ENTRY: u8 = 6;
const TRUNCATE: u8 = 7;
const PURGE: u8 = 8;
const COMMITTED: u8 = 9;
const CHECKPOINT: u8 = 10;

impl Record {
    /// Appends the record; answers where in `out` the payload of an entry begins (0 for other records).
    pub fn encode(&self, out: &mut Vec<u8>) -> usize {
        match self {
            Record::Opens { previous } => {
                out.put_u8(OPENS);
                out.put_u8(WAL_FORMAT);
                out.put_u8(u8::from(previous.is_some()));
                if let Some(previous) = previous {
                    out.put_u64_le(previous.segment);
                    put_varint(out, previous.offset);
                }
            }
            Record::Made(replica) => put_tag(out, MADE, *replica),
            Record::Deleted(replica) => put_tag(out, DELETED, *replica),
            Record::Initialised(replica) => put_tag(out, INITIALISED, *replica),
            Record::Vote(replica, vote) => {
                put_tag(out, VOTE, *replica);
                put_varint(out, vote.term);
                put_varint(out, vote.replica);
                out.put_u8(u8::from(vote.committed));
            }
            Record::Entry(replica, entry) => {
                put_tag(out, ENTRY, *replica);
                put_point(out, entry.at);
                put_bytes(out, &entry.payload);
                return out.len() - entry.payload.len();
            }
            Record::Truncate(replica, after) => {
                put_tag(out, TRUNCATE, *replica);
                // 0 says "all", so that the other indexes move up by one.
                put_varint(out, after.map_or(0, |index| index.saturating_add(1)));
            }
            Record::Purge(replica, at) => put_tagged_point(out, PURGE, *replica, *at),
            Record::Committed(replica, at) => put_tagged_point(out, COMMITTED, *replica, *at),
            Record::Checkpoint(replica, at) => put_tagged_point(out, CHECKPOINT, *replica, *at),
        }
        0
    }

    /// Whose record it is; `None` for [`Record::Opens`].
    pub fn owner(&self) -> Option<Replica> {
        match self {
            Record::Opens { .. } => None,
            Record::Made(owner)
            | Record::Deleted(owner)
            | Record::Initialised(owner)
            | Record::Vote(owner, _)
            | Record::Entry(owner, _)
            | Record::Truncate(owner, _)
            | Record::Purge(owner, _)
            | Record::Committed(owner, _)
            | Record::Checkpoint(owner, _) => Some(*owner),
        }
    }

    /// About how many bytes [`Record::encode`] appends; never less than it does.
    pub fn encoded_bytes_max(&self) -> usize {
        match self {
            Record::Entry(_, entry) => 64 + entry.payload.len(),
            _ => 64,
        }
    }

    /// Reads one record.
    ///
    /// # Errors
    /// The bytes are no record of this format.
    pub fn decode(reader: &mut Reader) -> Result<Record, WireError> {
        let tag = reader.u8()?;
        if tag == OPENS {
            return decode_opens(reader);
        }
        let replica = get_replica(reader)?;
        Ok(match tag {
            MADE => Record::Made(replica),
            DELETED => Record::Deleted(replica),
            INITIALISED => Record::Initialised(replica),
            VOTE => Record::Vote(
                replica,
                SavedVote { term: reader.varint()?, replica: reader.varint()?, committed: get_flag(reader)? },
            ),
            ENTRY => Record::Entry(replica, EntryRecord { at: get_point(reader)?, payload: reader.bytes()? }),
            TRUNCATE => Record::Truncate(replica, reader.varint()?.checked_sub(1)),
            PURGE => Record::Purge(replica, get_point(reader)?),
            COMMITTED => Record::Committed(replica, get_point(reader)?),
            CHECKPOINT => Record::Checkpoint(replica, get_point(reader)?),
            _ => return Err(WireError::Tag),
        })
    }
}

fn decode_opens(reader: &mut Reader) -> Result<Record, WireError> {
    if reader.u8()? != WAL_FORMAT {
        return Err(WireError::Tag);
    }
    let previous = if get_flag(reader)? {
        Some(Position { segment: reader.u64()?, offset: reader.varint()? })
    } else {
        None
    };
    Ok(Record::Opens { previous })
}

fn put_tag(out: &mut Vec<u8>, tag: u8, replica: Replica) {
    out.put_u8(tag);
    put_varint(out, u64::from(replica.group.0));
    put_varint(out, replica.replica.0);
}

fn put_point(out: &mut Vec<u8>, at: LogPoint) {
    put_varint(out, at.term);
    put_varint(out, at.index);
}

fn put_tagged_point(out: &mut Vec<u8>, tag: u8, replica: Replica, at: LogPoint) {
    put_tag(out, tag, replica);
    put_point(out, at);
}

fn get_replica(reader: &mut Reader) -> Result<Replica, WireError> {
    let group = u32::try_from(reader.varint()?).map_err(|_| WireError::Varint)?;
    Ok(Replica { group: GroupId(group), replica: ReplicaId(reader.varint()?) })
}

fn get_point(reader: &mut Reader) -> Result<LogPoint, WireError> {
    Ok(LogPoint { term: reader.varint()?, index: reader.varint()? })
}

fn get_flag(reader: &mut Reader) -> Result<bool, WireError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireError::Tag),
    }
}
