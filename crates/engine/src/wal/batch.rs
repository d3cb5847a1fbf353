//! Records that are written and synced together.

use bytes::Bytes;
use lamina_types::wire::{Reader, WireError};

use super::{Position, Record};

/// Bytes before a batch's body: magic, length of the body, crc.
pub const BATCH_HEADER_BYTES: usize = 12;

/// Bytes of a body before its records: segment, number, durable mark.
const BODY_HEADER_BYTES: usize = 32;

const MAGIC: [u8; 4] = *b"LWB1";

/// Builds one batch.
#[derive(Debug)]
pub struct BatchWriter {
    segment: u64,
    bytes: Vec<u8>,
}

impl BatchWriter {
    /// Begins batch `number` of `segment`; everything before `durable` is known to be synced.
    pub fn new(segment: u64, number: u64, durable: Position) -> BatchWriter {
        let mut bytes = Vec::with_capacity(4096);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[0; 8]);
        for word in [segment, number, durable.segment, durable.offset] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        BatchWriter { segment, bytes }
    }

    /// Appends a record; answers where in the batch the payload of an entry begins (0 for other records).
    pub fn push(&mut self, record: &Record) -> usize {
        record.encode(&mut self.bytes)
    }

    /// The bytes so far.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The batch as it is written.
    pub fn finish(mut self) -> Bytes {
        let body_bytes = u32::try_from(self.bytes.len() - BATCH_HEADER_BYTES).unwrap_or(u32::MAX);
        let length = body_bytes.to_le_bytes();
        let crc = crc_of(self.segment, length, self.bytes.get(BATCH_HEADER_BYTES..).unwrap_or_default());
        if let Some(header) = self.bytes.get_mut(4..BATCH_HEADER_BYTES) {
            let (at_length, at_crc) = header.split_at_mut(4);
            at_length.copy_from_slice(&length);
            at_crc.copy_from_slice(&crc.to_le_bytes());
        }
        Bytes::from(self.bytes)
    }
}

/// One valid batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Where it begins in its segment.
    pub offset: u64,
    /// Where it ends.
    pub end: u64,
    /// Its number, counted from 0 in its segment.
    pub number: u64,
    /// Everything before this was known to be synced when the batch was written.
    pub durable: Position,
    records: Bytes,
}

impl Batch {
    /// The records, each with the place in the segment where the payload of an entry begins.
    ///
    /// # Errors
    /// The crc is right and the records are not: they have a format that this program does not know.
    pub fn records(&self) -> Result<Vec<(Record, u64)>, WireError> {
        let first = self.end - self.records.len() as u64;
        let mut reader = Reader::new(self.records.clone());
        let mut records = Vec::new();
        while reader.remaining() > 0 {
            let record = Record::decode(&mut reader)?;
            let read_to = first + (self.records.len() - reader.remaining()) as u64;
            let payload = match &record {
                Record::Entry(_, entry) => read_to - entry.payload.len() as u64,
                _ => 0,
            };
            records.push((record, payload));
        }
        Ok(records)
    }
}

/// Reads the batch that begins at `offset`; `None`: there is no valid one. `bytes` is the whole of `segment`.
pub fn batch_at(segment: u64, bytes: &Bytes, offset: usize) -> Option<Batch> {
    let rest = bytes.get(offset..)?;
    let (magic, rest) = rest.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let body_bytes = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let body = rest.get(..body_bytes)?;
    if *magic != MAGIC || body_bytes < BODY_HEADER_BYTES {
        return None;
    }
    let mut words = body.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
    // The cheap look first: when a damaged segment is searched, most places fail here.
    if words.next()? != segment || crc_of(segment, *length, body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (number, durable) = (words.next()?, Position { segment: words.next()?, offset: words.next()? });
    let end = offset + BATCH_HEADER_BYTES + body_bytes;
    let records = bytes.slice(offset + BATCH_HEADER_BYTES + BODY_HEADER_BYTES..end);
    Some(Batch { offset: offset as u64, end: end as u64, number, durable, records })
}

/// The valid batches from the beginning of a segment on, in order, up to the first place without one.
pub fn batches_of(segment: u64, bytes: &Bytes) -> BatchesOf<'_> {
    BatchesOf { segment, bytes, offset: 0, number: 0 }
}

/// See [`batches_of`].
#[derive(Debug)]
pub struct BatchesOf<'a> {
    segment: u64,
    bytes: &'a Bytes,
    offset: usize,
    number: u64,
}

impl Iterator for BatchesOf<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let batch = batch_at(self.segment, self.bytes, self.offset)?;
        if batch.number != self.number {
            return None;
        }
        self.offset = usize::try_from(batch.end).ok()?;
        self.number += 1;
        Some(batch)
    }
}

/// The highest durable mark of any valid batch that begins at `from` or behind it, at whatever byte.
pub fn highest_mark_from(segment: u64, bytes: &Bytes, from: usize) -> Option<Position> {
    let mut highest = None;
    let mut at = from;
    while let Some(rest) = bytes.get(at..) {
        let Some(found) = rest.windows(MAGIC.len()).position(|window| window == MAGIC) else { break };
        at += found;
        match batch_at(segment, bytes, at) {
            Some(batch) => {
                highest = highest.max(Some(batch.durable));
                at = usize::try_from(batch.end).unwrap_or(usize::MAX);
            }
            None => at += 1,
        }
    }
    highest
}

fn crc_of(segment: u64, length: [u8; 4], body: &[u8]) -> u32 {
    // Seeded, so that bytes of a recycled file are never valid under the new id.
    let mut hasher = crc32fast::Hasher::new_with_initial(crc32fast::hash(&segment.to_le_bytes()));
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize()
}
