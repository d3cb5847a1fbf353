//! One replica's log: its entries, in memory or where they are on disk, and its vote.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use lamina_engine::wal::{EntryRecord, LogPoint, SavedVote};
use lamina_env::watch;
use parking_lot::{Mutex, MutexGuard};

use super::ledger::Account;

/// One replica's log. Shared by the replica, which appends and reads, and the writer, which says what is on disk.
#[derive(Debug)]
pub struct LogTable {
    inner: Mutex<Table>,
    /// The index after the last entry of which it and all before it are synced.
    synced: watch::Sender<u64>,
}

/// The inside of a [`LogTable`].
#[derive(Debug, Default)]
pub struct Table {
    /// The vote that is synced.
    pub vote: Option<SavedVote>,
    /// Entries up to here are gone.
    pub purged: Option<LogPoint>,
    /// Entries up to here are committed, as the log says.
    pub committed: Option<LogPoint>,
    /// The marker of protocols §8.3 is synced.
    pub initialised: bool,
    /// The newest durable checkpoint.
    pub checkpoint: Option<LogPoint>,
    first: u64,
    slots: VecDeque<Slot>,
    next_sequence: u64,
    /// Below this index nothing has its payload in memory.
    cached_from: u64,
    cached_bytes: usize,
    applied: u64,
    bytes: u64,
    bytes_since_checkpoint: u64,
}

#[derive(Clone, Debug)]
struct Slot {
    term: u64,
    sequence: u64,
    crc: u32,
    length: usize,
    payload: Option<Bytes>,
    place: Option<(u64, u64)>,
}

/// An entry as the table has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// Here are its bytes.
    Here(LogPoint, Bytes),
    /// It has to be read.
    OnDisk(OnDisk),
}

/// Where an entry's payload is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OnDisk {
    /// The entry.
    pub at: LogPoint,
    /// The segment.
    pub segment: u64,
    /// Bytes from the segment's beginning.
    pub offset: u64,
    /// The payload's length.
    pub length: usize,
    /// The payload's checksum.
    pub crc: u32,
}

/// An append that would leave a hole: a defect of whoever sent the entries (openraft.md trap 2.2 b).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("entry {index} does not follow the end of the log, which expects {expected}")]
pub struct Hole {
    /// The entry that came.
    pub index: u64,
    /// The index that the log expects.
    pub expected: u64,
}

impl Default for LogTable {
    fn default() -> LogTable {
        LogTable { inner: Mutex::new(Table::default()), synced: watch::channel(0).0 }
    }
}

impl LogTable {
    /// A table of what was found on disk.
    ///
    /// # Errors
    /// Entries are missing: the first index that is.
    pub fn recovered(account: &Account, entries: BTreeMap<u64, OnDisk>) -> Result<LogTable, u64> {
        let mut table = Table {
            vote: account.vote,
            purged: account.purged,
            committed: account.committed,
            initialised: account.initialised,
            checkpoint: account.checkpoint,
            first: account.purged.map_or(0, |at| at.index + 1),
            ..Table::default()
        };
        for (index, entry) in entries {
            let expected = table.next();
            if index != expected {
                return Err(expected);
            }
            let sequence = table.next_sequence;
            table.next_sequence += 1;
            table.bytes += entry.length as u64;
            table.slots.push_back(Slot {
                term: entry.at.term,
                sequence,
                crc: entry.crc,
                length: entry.length,
                payload: None,
                place: Some((entry.segment, entry.offset)),
            });
        }
        // A snapshot that was installed may be ahead of the log: its checkpoint was durable first.
        let known = table.next().max(table.checkpoint.map_or(0, |at| at.index + 1));
        if let Some(committed) = table.committed
            && committed.index >= known
        {
            return Err(table.next());
        }
        table.cached_from = table.next();
        table.bytes_since_checkpoint = table.checkpoint.map_or(table.bytes, |at| table.bytes_above(at.index));
        let synced = watch::channel(table.next()).0;
        Ok(LogTable { inner: Mutex::new(table), synced })
    }

    /// The table itself, for as long as nobody waits.
    pub fn lock(&self) -> MutexGuard<'_, Table> {
        self.inner.lock()
    }

    /// Told by the writer: the entry with this sequence is on disk and synced, at this place.
    pub fn landed(&self, index: u64, sequence: u64, place: (u64, u64)) {
        let mut table = self.inner.lock();
        if let Some(slot) = table.slot_mut(index)
            && slot.sequence == sequence
        {
            slot.place = Some(place);
        }
    }

    /// Told by the writer, after a batch: everything that is in the table up to the first entry that is not on
    /// disk is synced.
    pub fn settle(&self, keep_bytes: usize) {
        let next = {
            let mut table = self.inner.lock();
            table.evict(keep_bytes);
            table.synced_next()
        };
        self.synced.send_if_modified(|synced| std::mem::replace(synced, next) != next);
    }

    /// The index after the last synced entry; changes as the writer syncs and as the log is cut.
    pub fn synced(&self) -> watch::Receiver<u64> {
        self.synced.subscribe()
    }

    /// Told by apply: entries up to `index` were applied, so that their bytes may leave memory.
    pub fn applied(&self, index: u64, keep_bytes: usize) {
        let mut table = self.inner.lock();
        table.applied = table.applied.max(index + 1);
        table.evict(keep_bytes);
    }
}

impl Table {
    /// The index that the next entry must have.
    pub fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// The index of the first entry that is there, or of the next one if there is none.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The last entry, or the point up to which all are purged.
    pub fn last(&self) -> Option<LogPoint> {
        match self.slots.back() {
            Some(slot) => Some(LogPoint { term: slot.term, index: self.next() - 1 }),
            None => self.purged,
        }
    }

    /// Bytes of all payloads.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the payloads that came after the last checkpoint, cut ones included.
    pub fn bytes_since_checkpoint(&self) -> u64 {
        self.bytes_since_checkpoint
    }

    /// A checkpoint at this point is durable.
    pub fn checkpointed(&mut self, at: LogPoint) {
        self.checkpoint = self.checkpoint.max(Some(at));
        self.bytes_since_checkpoint = self.bytes_above(at.index);
    }

    fn bytes_above(&self, index: u64) -> u64 {
        let skip = usize::try_from((index + 1).saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.slots.iter().skip(skip).map(|slot| slot.length as u64).sum()
    }

    /// Appends entries; answers the sequence of the first one.
    ///
    /// # Errors
    /// They do not follow the last entry, or one another. Nothing was appended.
    pub fn append(&mut self, entries: &[EntryRecord]) -> Result<u64, Hole> {
        if let Some(first) = entries.first()
            && self.slots.is_empty()
            && self.purged.is_none()
            && self.next_sequence == 0
        {
            // A log that never held anything begins where its first entry says. Raft begins at 0.
            self.first = first.at.index;
        }
        for (entry, expected) in entries.iter().zip(self.next()..) {
            if entry.at.index != expected {
                return Err(Hole { index: entry.at.index, expected });
            }
        }
        let sequence = self.next_sequence;
        for entry in entries {
            self.slots.push_back(Slot {
                term: entry.at.term,
                sequence: self.next_sequence,
                crc: crc32fast::hash(&entry.payload),
                length: entry.payload.len(),
                payload: Some(entry.payload.clone()),
                place: None,
            });
            self.next_sequence += 1;
            self.cached_bytes += entry.payload.len();
            self.bytes += entry.payload.len() as u64;
            self.bytes_since_checkpoint += entry.payload.len() as u64;
        }
        Ok(sequence)
    }

    /// Removes the entries above `after`; `None`: all.
    pub fn truncate(&mut self, after: Option<u64>) {
        let keep = after.map_or(0, |after| (after + 1).saturating_sub(self.first));
        while self.slots.len() as u64 > keep {
            if let Some(slot) = self.slots.pop_back() {
                self.forget(&slot);
            }
        }
        self.cached_from = self.cached_from.min(self.next());
    }

    /// Removes the entries up to `at`, which may lie ahead of the log.
    pub fn purge(&mut self, at: LogPoint) {
        if self.purged.is_some_and(|purged| purged >= at) {
            return;
        }
        while self.first <= at.index {
            match self.slots.pop_front() {
                Some(slot) => {
                    self.forget(&slot);
                    self.first += 1;
                }
                None => self.first = at.index + 1,
            }
        }
        self.purged = Some(at);
        self.cached_from = self.cached_from.max(self.first);
    }

    /// The entries of a range, as far as they are there: those at its beginning may be missing.
    pub fn find(&self, range: std::ops::Range<u64>, bytes_max: usize) -> Vec<Found> {
        let start = range.start.max(self.first);
        let skip = usize::try_from(start - self.first).unwrap_or(usize::MAX);
        let mut bytes = 0usize;
        let mut found = Vec::new();
        for (slot, index) in self.slots.iter().skip(skip).zip(start..range.end) {
            bytes = bytes.saturating_add(slot.length);
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            let at = LogPoint { term: slot.term, index };
            match (&slot.payload, slot.place) {
                (Some(payload), _) => found.push(Found::Here(at, payload.clone())),
                (None, Some((segment, offset))) => found.push(Found::OnDisk(OnDisk {
                    at,
                    segment,
                    offset,
                    length: slot.length,
                    crc: slot.crc,
                })),
                (None, None) => break,
            }
        }
        found
    }

    /// The entries whose only place is in `segment`, up to `bytes_max`, with their sequences.
    pub fn in_segment(&self, segment: u64, bytes_max: usize) -> Vec<(u64, Found)> {
        let mut bytes = 0usize;
        let mut found = Vec::new();
        for (slot, index) in self.slots.iter().zip(self.first..) {
            if slot.place.is_none_or(|(of, _)| of != segment) {
                continue;
            }
            bytes = bytes.saturating_add(slot.length);
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.extend(self.find(index..index + 1, usize::MAX).pop().map(|entry| (slot.sequence, entry)));
        }
        found
    }

    /// The sequence of an entry, if it is there.
    pub fn sequence(&self, index: u64) -> Option<u64> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.slots.get(at).map(|slot| slot.sequence)
    }

    fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(at)
    }

    fn forget(&mut self, slot: &Slot) {
        self.bytes -= slot.length as u64;
        if slot.payload.is_some() {
            self.cached_bytes -= slot.length;
        }
    }

    fn synced_next(&self) -> u64 {
        // From the end: what is not on disk yet is the newest part.
        let open = self.slots.iter().rev().take_while(|slot| slot.place.is_none()).count();
        self.next() - open as u64
    }

    fn evict(&mut self, keep_bytes: usize) {
        self.cached_from = self.cached_from.max(self.first);
        while self.cached_bytes > keep_bytes && self.cached_from < self.applied.min(self.next()) {
            let index = self.cached_from;
            let Some(slot) = self.slot_mut(index) else { break };
            if slot.place.is_none() {
                break;
            }
            let freed = slot.payload.take().map_or(0, |payload| payload.len());
            self.cached_bytes -= freed;
            self.cached_from += 1;
        }
    }
}
