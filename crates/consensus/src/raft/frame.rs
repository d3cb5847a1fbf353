//! Messages between the replicas of a group, as bytes: a version, a kind, fields. The decoder refuses what does not
//! fit together, entries that do not follow one another included (openraft.md trap 2.2 c).

use bytes::{BufMut, Bytes};
use lamina_engine::wal::{EntryRecord, LogPoint, SavedVote};
use lamina_types::wire::{Reader, WireError, put_bytes, put_varint};

use super::entry::{get_point, put_point};

/// The version of all frames.
const VERSION: u8 = 1;

/// Entries in one message; the sender stays far below.
const ENTRIES_MAX: u64 = 4096;

/// What one replica asks of another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Append entries, or only say that the leader is there.
    Append(Append),
    /// Vote for the sender.
    Vote(Candidacy),
    /// Say whether you would vote for the sender.
    PreVote(Candidacy),
    /// Take over.
    Transfer {
        /// The leader that steps back.
        from: SavedVote,
        /// Who takes over.
        to: u64,
        /// How much of the log it must have.
        last: Option<LogPoint>,
    },
    /// A snapshot of this length is to come: from which byte on?
    SnapshotBegin {
        /// Names the transfer; the same snapshot from the same leader has the same name.
        transfer: Transfer,
        /// The leader.
        vote: SavedVote,
        /// The bytes of the whole.
        length: u64,
    },
    /// A piece of it.
    SnapshotPiece {
        /// The transfer.
        transfer: Transfer,
        /// Where the piece belongs.
        offset: u64,
        /// The piece.
        bytes: Bytes,
    },
    /// That was all: install it.
    SnapshotEnd {
        /// The transfer.
        transfer: Transfer,
        /// The leader.
        vote: SavedVote,
    },
}

/// See [`Ask::Append`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    /// The leader.
    pub vote: SavedVote,
    /// The entry before the first one here.
    pub previous: Option<LogPoint>,
    /// How far the leader has committed.
    pub committed: Option<LogPoint>,
    /// The entries.
    pub entries: Vec<EntryRecord>,
}

/// See [`Ask::Vote`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidacy {
    /// The vote that is wanted.
    pub vote: SavedVote,
    /// The candidate's last entry.
    pub last: Option<LogPoint>,
    /// The leader itself handed over: do not wait for its lease.
    pub transfer: bool,
}

/// Names a snapshot on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// The term of the leader that sends it.
    pub term: u64,
    /// What it holds.
    pub at: LogPoint,
}

/// The answer to an [`Ask`] of the same name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To [`Ask::Append`].
    Appended {
        /// What became of the entries.
        outcome: Appended,
        /// The wall clock of the follower, for the hints of protocols §4.
        clock_ms: u64,
    },
    /// To both kinds of candidacies.
    Voted {
        /// The voter's vote.
        vote: SavedVote,
        /// The voter's last entry.
        last: Option<LogPoint>,
        /// Whether it is granted.
        granted: bool,
    },
    /// To [`Ask::Transfer`].
    Transferred {
        /// Whether the replica goes for it.
        accepted: bool,
    },
    /// To [`Ask::SnapshotBegin`] and [`Ask::SnapshotPiece`]: go on from this byte. `None`: the transfer is not
    /// known here, begin again.
    SnapshotAt(Option<u64>),
    /// To [`Ask::SnapshotEnd`]: it is installed, or the leader is not one any more.
    SnapshotDone {
        /// The receiver's vote.
        vote: SavedVote,
    },
    /// The bytes of the snapshot are damaged: begin again.
    SnapshotDamaged,
}

/// See [`Answer::Appended`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Appended {
    /// All entries are synced there.
    All,
    /// Those up to here are.
    UpTo(Option<LogPoint>),
    /// The follower does not have the entry before the first one.
    Conflict,
    /// The follower knows of a higher vote.
    HigherVote(SavedVote),
}

/// Why a frame is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The bytes have no form.
    #[error("the frame cannot be read: {0}")]
    Wire(#[from] WireError),
    /// The frame is of another version.
    #[error("the frame has version {0}, which is not known here")]
    Version(u8),
    /// Its entries do not follow one another, or not the entry that they should follow.
    #[error("entry {found} stands where entry {expected} is due")]
    Hole {
        /// The index that is due.
        expected: u64,
        /// The index that is there.
        found: u64,
    },
}

impl Ask {
    /// The frame.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.bytes_about());
        out.put_u8(VERSION);
        match self {
            Ask::Append(append) => {
                out.put_u8(1);
                put_vote(&mut out, append.vote);
                put_point(&mut out, append.previous);
                put_point(&mut out, append.committed);
                put_varint(&mut out, append.entries.len() as u64);
                for entry in &append.entries {
                    put_varint(&mut out, entry.at.term);
                    put_varint(&mut out, entry.at.index);
                    put_bytes(&mut out, &entry.payload);
                }
            }
            Ask::Vote(candidacy) => put_candidacy(&mut out, 2, candidacy),
            Ask::PreVote(candidacy) => put_candidacy(&mut out, 3, candidacy),
            Ask::Transfer { from, to, last } => {
                out.put_u8(4);
                put_vote(&mut out, *from);
                put_varint(&mut out, *to);
                put_point(&mut out, *last);
            }
            Ask::SnapshotBegin { transfer, vote, length } => {
                out.put_u8(5);
                put_transfer(&mut out, *transfer);
                put_vote(&mut out, *vote);
                put_varint(&mut out, *length);
            }
            Ask::SnapshotPiece { transfer, offset, bytes } => {
                out.put_u8(6);
                put_transfer(&mut out, *transfer);
                put_varint(&mut out, *offset);
                put_bytes(&mut out, bytes);
            }
            Ask::SnapshotEnd { transfer, vote } => {
                out.put_u8(7);
                put_transfer(&mut out, *transfer);
                put_vote(&mut out, *vote);
            }
        }
        Bytes::from(out)
    }

    fn bytes_about(&self) -> usize {
        match self {
            Ask::Append(append) => {
                128 + append.entries.iter().map(|entry| 32 + entry.payload.len()).sum::<usize>()
            }
            Ask::SnapshotPiece { bytes, .. } => 128 + bytes.len(),
            _ => 128,
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// It is none, or its parts do not fit together.
    pub fn decode(frame: Bytes) -> Result<Ask, FrameError> {
        let mut reader = begin(frame)?;
        let ask = match reader.u8()? {
            1 => Ask::Append(get_append(&mut reader)?),
            2 => Ask::Vote(get_candidacy(&mut reader)?),
            3 => Ask::PreVote(get_candidacy(&mut reader)?),
            4 => Ask::Transfer {
                from: get_vote(&mut reader)?,
                to: reader.varint()?,
                last: get_point(&mut reader)?,
            },
            5 => Ask::SnapshotBegin {
                transfer: get_transfer(&mut reader)?,
                vote: get_vote(&mut reader)?,
                length: reader.varint()?,
            },
            6 => Ask::SnapshotPiece {
                transfer: get_transfer(&mut reader)?,
                offset: reader.varint()?,
                bytes: reader.bytes()?,
            },
            7 => Ask::SnapshotEnd { transfer: get_transfer(&mut reader)?, vote: get_vote(&mut reader)? },
            _ => return Err(WireError::Tag.into()),
        };
        reader.end()?;
        Ok(ask)
    }
}

impl Answer {
    /// The frame.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        match self {
            Answer::Appended { outcome, clock_ms } => {
                out.put_u8(1);
                put_varint(&mut out, *clock_ms);
                match outcome {
                    Appended::All => out.put_u8(0),
                    Appended::UpTo(at) => {
                        out.put_u8(1);
                        put_point(&mut out, *at);
                    }
                    Appended::Conflict => out.put_u8(2),
                    Appended::HigherVote(vote) => {
                        out.put_u8(3);
                        put_vote(&mut out, *vote);
                    }
                }
            }
            Answer::Voted { vote, last, granted } => {
                out.put_u8(2);
                put_vote(&mut out, *vote);
                put_point(&mut out, *last);
                out.put_u8(u8::from(*granted));
            }
            Answer::Transferred { accepted } => out.put_slice(&[3, u8::from(*accepted)]),
            Answer::SnapshotAt(offset) => {
                out.put_slice(&[4, u8::from(offset.is_some())]);
                put_varint(&mut out, offset.unwrap_or_default());
            }
            Answer::SnapshotDone { vote } => {
                out.put_u8(5);
                put_vote(&mut out, *vote);
            }
            Answer::SnapshotDamaged => out.put_u8(6),
        }
        Bytes::from(out)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(frame: Bytes) -> Result<Answer, FrameError> {
        let mut reader = begin(frame)?;
        let answer = match reader.u8()? {
            1 => {
                let clock_ms = reader.varint()?;
                let outcome = match reader.u8()? {
                    0 => Appended::All,
                    1 => Appended::UpTo(get_point(&mut reader)?),
                    2 => Appended::Conflict,
                    3 => Appended::HigherVote(get_vote(&mut reader)?),
                    _ => return Err(WireError::Tag.into()),
                };
                Answer::Appended { outcome, clock_ms }
            }
            2 => Answer::Voted {
                vote: get_vote(&mut reader)?,
                last: get_point(&mut reader)?,
                granted: get_flag(&mut reader)?,
            },
            3 => Answer::Transferred { accepted: get_flag(&mut reader)? },
            4 => {
                let known = get_flag(&mut reader)?;
                let offset = reader.varint()?;
                Answer::SnapshotAt(known.then_some(offset))
            }
            5 => Answer::SnapshotDone { vote: get_vote(&mut reader)? },
            6 => Answer::SnapshotDamaged,
            _ => return Err(WireError::Tag.into()),
        };
        reader.end()?;
        Ok(answer)
    }
}

fn begin(frame: Bytes) -> Result<Reader, FrameError> {
    let mut reader = Reader::new(frame);
    match reader.u8()? {
        VERSION => Ok(reader),
        other => Err(FrameError::Version(other)),
    }
}

fn get_append(reader: &mut Reader) -> Result<Append, FrameError> {
    let vote = get_vote(reader)?;
    let (previous, committed) = (get_point(reader)?, get_point(reader)?);
    let count = reader.varint()?;
    if count > ENTRIES_MAX {
        return Err(WireError::Varint.into());
    }
    let mut entries = Vec::new();
    let mut expected = previous.map_or(0, |previous| previous.index.saturating_add(1));
    for _ in 0..count {
        let at = LogPoint { term: reader.varint()?, index: reader.varint()? };
        if at.index != expected {
            return Err(FrameError::Hole { expected, found: at.index });
        }
        entries.push(EntryRecord { at, payload: reader.bytes()? });
        expected = expected.saturating_add(1);
    }
    Ok(Append { vote, previous, committed, entries })
}

fn put_candidacy(out: &mut Vec<u8>, kind: u8, candidacy: &Candidacy) {
    out.put_u8(kind);
    put_vote(out, candidacy.vote);
    put_point(out, candidacy.last);
    out.put_u8(u8::from(candidacy.transfer));
}

fn get_candidacy(reader: &mut Reader) -> Result<Candidacy, WireError> {
    Ok(Candidacy { vote: get_vote(reader)?, last: get_point(reader)?, transfer: get_flag(reader)? })
}

fn put_vote(out: &mut Vec<u8>, vote: SavedVote) {
    put_varint(out, vote.term);
    put_varint(out, vote.replica);
    out.put_u8(u8::from(vote.committed));
}

fn get_vote(reader: &mut Reader) -> Result<SavedVote, WireError> {
    Ok(SavedVote { term: reader.varint()?, replica: reader.varint()?, committed: get_flag(reader)? })
}

fn put_transfer(out: &mut Vec<u8>, transfer: Transfer) {
    put_varint(out, transfer.term);
    put_varint(out, transfer.at.term);
    put_varint(out, transfer.at.index);
}

fn get_transfer(reader: &mut Reader) -> Result<Transfer, WireError> {
    let term = reader.varint()?;
    Ok(Transfer { term, at: LogPoint { term: reader.varint()?, index: reader.varint()? } })
}

fn get_flag(reader: &mut Reader) -> Result<bool, WireError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireError::Tag),
    }
}

#[cfg(test)]
mod tests;
