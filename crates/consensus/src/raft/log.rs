//! The log storage of one replica, over its table and the shared log.
//!
//! Fences of research/openraft.md trap 2.2: a read that would begin behind its start answers nothing (a), and an
//! append that would leave a hole fails (b).

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use lamina_engine::wal::{EntryRecord, LogPoint, Record};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};

use super::entry::{from_record, to_record};
use super::types::{Entry, LogId, Types, Vote, log_id, point, saved_vote, vote};
use crate::wal::{Item, LogTable, Owner, Wal};

/// The log of one replica. Cheap to clone.
#[derive(Clone)]
pub struct GroupLog {
    owner: Owner,
    table: Arc<LogTable>,
    wal: Wal,
    read_bytes_max: usize,
}

impl GroupLog {
    /// The log of `owner`; `read_bytes_max` is what one message to a follower may hold.
    pub fn new(owner: Owner, table: Arc<LogTable>, wal: Wal, read_bytes_max: usize) -> GroupLog {
        GroupLog { owner, table, wal, read_bytes_max }
    }

    /// The table.
    pub fn table(&self) -> &Arc<LogTable> {
        &self.table
    }

    /// The shared log.
    pub fn wal(&self) -> &Wal {
        &self.wal
    }

    /// Whose log it is.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Queues records that nobody waits for.
    fn note(&self, records: Vec<Record>) {
        self.wal.submit(Item { table: self.table.clone(), records, sequence: 0, done: None });
    }

    /// Appends copies of entries that are in an old segment, so that it can go; answers how many.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn move_forward(&self, segment: u64, bytes_max: usize) -> io::Result<usize> {
        let (sequences, found): (Vec<u64>, Vec<_>) =
            self.table.lock().in_segment(segment, bytes_max).into_iter().unzip();
        let entries = self.wal.load(found).await?;
        if entries.len() != sequences.len() {
            return Ok(0);
        }
        // Under the lock: a cut of the log must come behind the copies, or it must be seen here.
        let table = self.table.lock();
        let mut moved = 0;
        for ((at, payload), sequence) in entries.into_iter().zip(sequences) {
            if table.sequence(at.index) != Some(sequence) {
                continue;
            }
            let records = vec![Record::Entry(self.owner, EntryRecord { at, payload })];
            self.wal.submit(Item { table: self.table.clone(), records, sequence, done: None });
            moved += 1;
        }
        Ok(moved)
    }

    async fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let found = self.table.lock().find(range, bytes_max);
        let entries = self.wal.load(found).await?;
        entries.into_iter().map(|(at, payload)| decode(at, payload)).collect()
    }
}

fn decode(at: LogPoint, payload: bytes::Bytes) -> io::Result<Entry> {
    from_record(at, payload).map_err(|error| {
        let text =
            format!("entry {} of the log has a form that this program does not know: {error}", at.index);
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

impl RaftLogReader<Types> for GroupLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start..end, usize::MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.table.lock().vote.map(vote))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        let mut entries = self.read(start..end, self.read_bytes_max).await?;
        if entries.first().is_some_and(|first| first.log_id.index != start) {
            // Purged meanwhile. With entries behind a hole the follower's log would get one (trap 2.2 a).
            entries.clear();
        }
        Ok(entries)
    }
}

impl RaftLogStorage<Types> for GroupLog {
    type LogReader = GroupLog;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let table = self.table.lock();
        Ok(LogState { last_purged_log_id: table.purged.map(log_id), last_log_id: table.last().map(log_id) })
    }

    async fn get_log_reader(&mut self) -> GroupLog {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = saved_vote(vote);
        self.wal.submit_and_wait(self.table.clone(), vec![Record::Vote(self.owner, vote)]).await?;
        self.table.lock().vote = Some(vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some(committed) = committed {
            let at = point(&committed);
            self.table.lock().committed = Some(at);
            self.wal.note_committed(self.owner, at);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.table.lock().committed.map(log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<EntryRecord> = entries.into_iter().map(|entry| to_record(&entry)).collect();
        let sequence = self.table.lock().append(&entries).map_err(|hole| {
            tracing::error!(group = %self.owner.group, replica = %self.owner.replica, %hole, "an append is refused");
            io::Error::new(io::ErrorKind::InvalidInput, hole)
        })?;
        let records = entries.into_iter().map(|entry| Record::Entry(self.owner, entry)).collect();
        let done = Box::new(move |result| callback.io_completed(result));
        self.wal.submit(Item { table: self.table.clone(), records, sequence, done: Some(done) });
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let after = last.map(|last| last.index);
        let mut table = self.table.lock();
        table.truncate(after);
        self.note(vec![Record::Truncate(self.owner, after)]);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let at = point(&upto);
        let mut table = self.table.lock();
        table.purge(at);
        self.note(vec![Record::Purge(self.owner, at)]);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
