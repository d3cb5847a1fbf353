//! The byte layout of entries and of the stored form. Byte format: `docs/formats/block.md`.

use std::ops::Range;

use bytes::BufMut;
use lamina_types::wire::put_varint;
use lamina_types::{TableId, Version};

use crate::block::BLOCK_BYTES_MAX;
use crate::block::codec::Codec;
use crate::corruption::Corruption;
use crate::cursor::{EntryRef, ValueRef};
use crate::varint;

/// Codec, length before compression, checksum.
pub(crate) const STORED_OVERHEAD: usize = 1 + 4 + 4;
/// Number of entries, number of restart points.
pub(crate) const TRAILER_BYTES: usize = 4 + 4;
/// Every so many entries a key is written whole.
pub(crate) const RESTART_INTERVAL: u32 = 16;

const KIND_TOMBSTONE: u8 = 0;
const KIND_PUT: u8 = 1;
const KIND_PUT_EXPIRING: u8 = 2;

/// One entry as it lies in the block.
pub(crate) struct EntryHead<'a> {
    pub shared: usize,
    pub suffix: &'a [u8],
    pub version: Version,
    pub tombstone: bool,
    pub expires_ms: Option<u64>,
    /// Where the value lies in the block.
    pub value: Range<usize>,
    /// The first byte behind the entry.
    pub end: usize,
}

/// Reads the entry at `at`; `None` if it is malformed or of a kind that this level does not know.
#[inline]
pub(crate) fn read_head(entries: &[u8], at: usize) -> Option<EntryHead<'_>> {
    let mut rest = entries.get(at..)?;
    let (kind, tail) = rest.split_first()?;
    rest = tail;
    let shared = varint::read_len(&mut rest)?;
    let unshared = varint::read_len(&mut rest)?;
    let (version, tail) = rest.split_first_chunk::<8>()?;
    rest = tail;
    let expires_ms = if *kind == KIND_PUT_EXPIRING { Some(varint::read(&mut rest)?) } else { None };
    let length = match *kind {
        KIND_TOMBSTONE => 0,
        KIND_PUT | KIND_PUT_EXPIRING => varint::read_len(&mut rest)?,
        _ => return None,
    };
    let (suffix, tail) = rest.split_at_checked(unshared)?;
    let start = entries.len() - tail.len();
    let end = start.checked_add(length).filter(|end| *end <= entries.len())?;
    Some(EntryHead {
        shared,
        suffix,
        version: Version(u64::from_le_bytes(*version)),
        tombstone: *kind == KIND_TOMBSTONE,
        expires_ms,
        value: start..end,
        end,
    })
}

/// Appends an entry whose key has its first `shared` bytes in common with the entry before.
pub(crate) fn write_entry(out: &mut Vec<u8>, shared: usize, entry: EntryRef<'_>) {
    let suffix = entry.key.get(shared..).unwrap_or_default();
    out.put_u8(match entry.value {
        ValueRef::Tombstone => KIND_TOMBSTONE,
        ValueRef::Put { expires_ms: None, .. } => KIND_PUT,
        ValueRef::Put { expires_ms: Some(_), .. } => KIND_PUT_EXPIRING,
    });
    put_varint(out, shared as u64);
    put_varint(out, suffix.len() as u64);
    out.put_u64_le(entry.version.0);
    if let Some(ms) = entry.value.expires_ms() {
        put_varint(out, ms);
    }
    let value = match entry.value {
        ValueRef::Put { bytes, .. } => {
            put_varint(out, bytes.len() as u64);
            bytes
        }
        ValueRef::Tombstone => &[],
    };
    out.extend_from_slice(suffix);
    out.extend_from_slice(value);
}

/// A stored block whose checksum holds.
pub(crate) struct Opened<'a> {
    pub codec: Codec,
    pub payload: &'a [u8],
    pub raw_bytes: usize,
}

/// Takes the stored form apart and verifies it.
pub(crate) fn open(stored: &[u8], origin: TableId, block: u32) -> Result<Opened<'_>, Corruption> {
    let bad = |what| Corruption::in_block(what, origin, block);
    let (covered, crc) = stored.split_last_chunk::<4>().ok_or(bad("the block is too short"))?;
    if checksum(covered, origin, block) != u32::from_le_bytes(*crc) {
        return Err(bad("the checksum of the block does not match"));
    }
    let (rest, raw_bytes) = covered.split_last_chunk::<4>().ok_or(bad("the block is too short"))?;
    let (codec, payload) = rest.split_last().ok_or(bad("the block is too short"))?;
    let codec = Codec::from_byte(*codec).ok_or(bad("the codec of the block is unknown"))?;
    let raw_bytes = u32::from_le_bytes(*raw_bytes) as usize;
    if raw_bytes > BLOCK_BYTES_MAX {
        return Err(bad("the block claims to be too large"));
    }
    Ok(Opened { codec, payload, raw_bytes })
}

/// Appends codec, length and checksum to a payload, which makes it a stored block.
pub(crate) fn seal(payload: &mut Vec<u8>, codec: Codec, raw_bytes: usize, origin: TableId, block: u32) {
    payload.put_u8(codec.to_byte());
    payload.put_u32_le(raw_bytes as u32);
    let crc = checksum(payload, origin, block);
    payload.put_u32_le(crc);
}

/// The place is part of what is summed up, so that a block in another place does not pass.
fn checksum(covered: &[u8], origin: TableId, block: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&origin.to_bytes());
    hasher.update(&block.to_le_bytes());
    hasher.update(covered);
    hasher.finalize()
}
