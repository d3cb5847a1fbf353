//! The frames of a checkpoint file: a head, pieces, an end. Each has a checksum that is seeded with its number, so
//! that a frame in another's place is not valid.

use bytes::{BufMut, Bytes};
use lamina_engine::wal::LogPoint;
use lamina_types::GroupId;
use lamina_types::wire::{Reader, WireError, put_varint};

/// Bytes before the body of a frame: kind, length, crc.
pub const FRAME_HEADER_BYTES: usize = 9;

/// A piece is at most this long; a machine's pieces are far smaller.
pub const PIECE_BYTES_MAX: usize = 16 << 20;

const MAGIC: u32 = u32::from_le_bytes(*b"LCKP");
const FORMAT: u8 = 1;

const HEAD: u8 = 1;
const PIECE: u8 = 2;
const END: u8 = 3;

/// What a checkpoint says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Whose state it is.
    pub group: GroupId,
    /// The last entry that it holds; `None`: the state before the first one.
    pub at: Option<LogPoint>,
    /// The group's members at that entry, in the form of `raft::entry`.
    pub members: Bytes,
}

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// The first one.
    Head(Head),
    /// A piece of the state.
    Piece(Bytes),
    /// The last one.
    End {
        /// How many pieces there are.
        pieces: u64,
    },
}

/// Why a file is no checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Bytes are missing.
    #[error("the checkpoint ends too early")]
    Truncated,
    /// A checksum is wrong, or frames do not fit together.
    #[error("frame {0} of the checkpoint is damaged")]
    Damaged(u64),
    /// Another version wrote it.
    #[error("the checkpoint has format {0}, which is not known here")]
    Format(u8),
}

impl From<WireError> for CheckpointError {
    fn from(_: WireError) -> CheckpointError {
        CheckpointError::Damaged(0)
    }
}

impl Frame {
    /// The frame as bytes; `number` counts the frames of a file from 0.
    pub fn encode(&self, number: u64) -> Bytes {
        let mut out = vec![0; FRAME_HEADER_BYTES];
        let kind = match self {
            Frame::Head(head) => {
                out.put_u32_le(MAGIC);
                out.put_u8(FORMAT);
                put_varint(&mut out, u64::from(head.group.0));
                out.put_u8(u8::from(head.at.is_some()));
                if let Some(at) = head.at {
                    put_varint(&mut out, at.term);
                    put_varint(&mut out, at.index);
                }
                out.put_slice(&head.members);
                HEAD
            }
            Frame::Piece(bytes) => {
                out.put_slice(bytes);
                PIECE
            }
            Frame::End { pieces } => {
                out.put_u64_le(*pieces);
                END
            }
        };
        let length = u32::try_from(out.len() - FRAME_HEADER_BYTES).unwrap_or(u32::MAX).to_le_bytes();
        let crc = crc_of(number, kind, out.get(FRAME_HEADER_BYTES..).unwrap_or_default());
        if let Some((first, rest)) = out.split_first_mut() {
            *first = kind;
            for (to, from) in rest.iter_mut().zip(length.into_iter().chain(crc.to_le_bytes())) {
                *to = from;
            }
        }
        Bytes::from(out)
    }
}

/// The length of the body of the frame with this header.
///
/// # Errors
/// No frame is that long.
pub fn body_bytes(header: &[u8], number: u64) -> Result<usize, CheckpointError> {
    let length = header.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let length = length.ok_or(CheckpointError::Truncated)? as usize;
    if length > PIECE_BYTES_MAX { Err(CheckpointError::Damaged(number)) } else { Ok(length) }
}

/// Reads the frame `number` from its header and body.
///
/// # Errors
/// It is damaged, or of another format.
pub fn decode(header: &[u8], body: Bytes, number: u64) -> Result<Frame, CheckpointError> {
    let damaged = CheckpointError::Damaged(number);
    let (kind, crc) = match (header.first(), header.get(5..FRAME_HEADER_BYTES)) {
        (Some(kind), Some(crc)) => (*kind, crc.try_into().map(u32::from_le_bytes).map_err(|_| damaged)?),
        _ => return Err(CheckpointError::Truncated),
    };
    if crc_of(number, kind, &body) != crc {
        return Err(damaged);
    }
    match kind {
        HEAD if number == 0 => decode_head(body).map(Frame::Head),
        PIECE if number > 0 => Ok(Frame::Piece(body)),
        END if number > 0 => {
            let pieces = body.as_ref().try_into().map(u64::from_le_bytes).map_err(|_| damaged)?;
            if pieces + 1 == number { Ok(Frame::End { pieces }) } else { Err(damaged) }
        }
        _ => Err(damaged),
    }
}

fn decode_head(body: Bytes) -> Result<Head, CheckpointError> {
    let mut reader = Reader::new(body);
    if reader.u32()? != MAGIC {
        return Err(CheckpointError::Damaged(0));
    }
    match reader.u8()? {
        FORMAT => {}
        other => return Err(CheckpointError::Format(other)),
    }
    let group = u32::try_from(reader.varint()?).map_err(|_| CheckpointError::Damaged(0))?;
    let at = match reader.u8()? {
        0 => None,
        1 => Some(LogPoint { term: reader.varint()?, index: reader.varint()? }),
        _ => return Err(CheckpointError::Damaged(0)),
    };
    let length = reader.remaining();
    Ok(Head { group: GroupId(group), at, members: reader.take(length)? })
}

fn crc_of(number: u64, kind: u8, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc32fast::hash(&number.to_le_bytes()));
    hasher.update(&[kind]);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(file: &Bytes) -> Result<Vec<Frame>, CheckpointError> {
        let (mut at, mut frames) = (0, Vec::new());
        while at < file.len() {
            let number = frames.len() as u64;
            let header = file.get(at..at + FRAME_HEADER_BYTES).ok_or(CheckpointError::Truncated)?;
            let length = body_bytes(header, number)?;
            let body = at + FRAME_HEADER_BYTES;
            if body + length > file.len() {
                return Err(CheckpointError::Truncated);
            }
            frames.push(decode(header, file.slice(body..body + length), number)?);
            at = body + length;
        }
        match frames.last() {
            Some(Frame::End { .. }) => Ok(frames),
            _ => Err(CheckpointError::Truncated),
        }
    }

    fn frames() -> Vec<Frame> {
        let at = Some(LogPoint { term: 300, index: 70_000 });
        vec![
            Frame::Head(Head { group: GroupId(4), at, members: Bytes::from_static(b"members") }),
            Frame::Piece(Bytes::from_static(b"one")),
            Frame::Piece(Bytes::from_static(b"two")),
            Frame::End { pieces: 2 },
        ]
    }

    fn file() -> Bytes {
        frames().iter().zip(0..).flat_map(|(frame, number)| frame.encode(number).to_vec()).collect()
    }

    #[test]
    fn a_file_reads_back() {
        assert_eq!(parse(&file()), Ok(frames()));
    }

    #[test]
    fn the_format_of_a_file_does_not_change() {
        let golden = include_bytes!("../../tests/golden/checkpoint-1.bin");
        assert_eq!(file().as_ref(), golden.as_slice());
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_seen() {
        let file = file();
        for at in 0..file.len() {
            assert!(parse(&file.slice(..at)).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut changed = file.to_vec();
                changed[at] ^= 1 << bit;
                assert!(parse(&Bytes::from(changed)).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn frames_in_each_others_place_are_seen() {
        let frames = frames();
        let swapped: Bytes = [(0, 0), (2, 2), (1, 1), (3, 3)]
            .iter()
            .flat_map(|(frame, number): &(usize, u64)| frames[*frame].encode(*number).to_vec())
            .collect();
        assert_eq!(parse(&swapped), Err(CheckpointError::Damaged(1)));
    }
}
