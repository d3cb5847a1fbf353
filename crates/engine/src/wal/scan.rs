//! Where the log of a process ends.
//!
//! The writer syncs each batch before it writes the next, and each batch carries a durable mark: everything before
//! it was synced. So at a place `p` without a valid batch, either nothing behind `p` was ever synced (the tail is
//! torn: the log ends at `p`), or some valid batch, in this or a later segment, has a mark above `p`: bytes that
//! were synced are damaged, and nobody may cut them (invariant L1).

use bytes::Bytes;
use lamina_types::wire::WireError;

use super::batch::{batches_of, highest_mark_from};
use super::{Position, Record};

/// Why the log of a volume cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WalCorrupt {
    /// Synced bytes are damaged.
    #[error(
        "the log is damaged at {at}: no valid batch begins there, but bytes up to {durable} had been synced"
    )]
    Damaged {
        /// Where the damage begins.
        at: Position,
        /// The highest mark that was found.
        durable: Position,
    },
    /// A segment is not there.
    #[error("segment {missing:016x} of the log is missing, from which segment {segment:016x} goes on")]
    Missing {
        /// The segment that goes on.
        segment: u64,
        /// The segment that it names.
        missing: u64,
    },
    /// A batch has records that are not of a known format.
    #[error("the batch at {at} has records that this program does not know: {error}")]
    Unknown {
        /// The batch.
        at: Position,
        /// What was wrong with them.
        error: WireError,
    },
}

/// What one segment says by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentScan {
    /// The segment.
    pub segment: u64,
    /// Where its valid batches end: all from its beginning on, without a gap.
    pub end: u64,
    /// Valid batches before that.
    pub batches: u64,
    /// The highest durable mark of any valid batch in it, also behind `end`.
    pub durable: Option<Position>,
    /// From its first batch: where the log had ended before. `None`: the segment holds nothing.
    pub opens: Option<Option<Position>>,
    ends: Vec<u64>,
}

/// How much of a segment counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentEnd {
    /// The segment.
    pub segment: u64,
    /// Its batches up to this byte count. 0: none do.
    pub end: u64,
}

/// Looks at one segment.
///
/// # Errors
/// [`WalCorrupt::Unknown`]: its first batch is valid and does not begin as a segment of this format does.
pub fn scan(segment: u64, bytes: &Bytes) -> Result<SegmentScan, WalCorrupt> {
    let mut found = SegmentScan { segment, end: 0, batches: 0, durable: None, opens: None, ends: Vec::new() };
    for batch in batches_of(segment, bytes) {
        if batch.number == 0 {
            let at = Position { segment, offset: 0 };
            let records = batch.records().map_err(|error| WalCorrupt::Unknown { at, error })?;
            match records.first() {
                Some((Record::Opens { previous }, _)) => found.opens = Some(*previous),
                _ => return Err(WalCorrupt::Unknown { at, error: WireError::Tag }),
            }
        }
        found.end = batch.end;
        found.batches += 1;
        found.durable = found.durable.max(Some(batch.durable));
        found.ends.push(batch.end);
    }
    let behind = usize::try_from(found.end).unwrap_or(usize::MAX);
    found.durable = found.durable.max(highest_mark_from(segment, bytes, behind));
    Ok(found)
}

/// Joins the segments of a volume, sorted by id, to one log: says how much of each counts.
///
/// # Errors
/// The log is damaged, or a segment is missing in it.
pub fn join(scans: &[SegmentScan]) -> Result<Vec<SegmentEnd>, WalCorrupt> {
    let durable = scans.iter().filter_map(|scan| scan.durable).max();
    let damaged_at = |at: Position| match durable {
        Some(durable) if durable > at => Err(WalCorrupt::Damaged { at, durable }),
        _ => Ok(()),
    };
    let mut ends: Vec<SegmentEnd> = Vec::with_capacity(scans.len());
    let mut unopened: Vec<u64> = Vec::new();
    for scan in scans {
        let Some(opens) = scan.opens else {
            unopened.push(scan.segment);
            ends.push(SegmentEnd { segment: scan.segment, end: 0 });
            continue;
        };
        let previous = opens.unwrap_or_default();
        // Whatever an unopened one was, its place is taken: a crash came before it was removed.
        unopened.retain(|segment| *segment <= previous.segment);
        // A segment takes the place of those between the one that it names and itself: at a start the records of
        // the last segment are copied forward, and a segment whose first append failed holds nothing.
        for between in ends.iter_mut().rev().take_while(|end| end.segment > previous.segment) {
            between.end = 0;
        }
        let none_counts = ends.iter().all(|end| end.end == 0);
        match ends.iter_mut().find(|end| end.segment == previous.segment) {
            Some(before) => {
                let of_before = scans.iter().find(|other| other.segment == previous.segment);
                if !of_before.is_some_and(|other| other.ends.contains(&previous.offset)) {
                    let at = of_before.map_or(0, |other| other.end);
                    let at = Position { segment: previous.segment, offset: at.min(previous.offset) };
                    return Err(WalCorrupt::Damaged { at, durable: previous });
                }
                before.end = previous.offset;
            }
            // Those before the first one that is there were deleted, because nobody needed them.
            None if none_counts => {}
            None => {
                return Err(WalCorrupt::Missing { segment: scan.segment, missing: previous.segment });
            }
        }
        ends.push(SegmentEnd { segment: scan.segment, end: scan.end });
    }
    for segment in unopened {
        // Allocated ahead, or its first write was torn: nothing in it may be known to be synced.
        damaged_at(Position { segment, offset: 0 })?;
    }
    if let Some(last) = ends.iter().rev().find(|end| end.end > 0) {
        damaged_at(Position { segment: last.segment, offset: last.end })?;
    }
    Ok(ends)
}

#[cfg(test)]
mod tests;
