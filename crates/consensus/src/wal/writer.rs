//! The one task that writes: takes what has gathered, writes it as one batch, syncs, tells everybody.
//!
//! * A failed write or sync ends the log for this process; nothing is tried again (protocols §8.1).
//! * A write that finds no room is abandoned: the same records go to a new segment, whose first record says where
//!   the old one ended. While there is no new segment, the writer waits, and nothing is acknowledged.
//! * When nothing comes for a moment, an empty batch says that the last one was synced: from then on damage to it
//!   cannot pass for a torn tail.
//! * Segments that no replica's entries need any more are removed, oldest first.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use lamina_engine::wal::{BatchWriter, Position, Record};
use lamina_env::time::{self, Duration, timeout};
use lamina_env::{Disk, File};
use tokio::sync::mpsc;

use super::ledger::Ledger;
use super::queue::{Item, Taken, Wal};
use super::segment::{Prepared, file_name};
use crate::error::LogFailure;
use crate::options::LogOptions;

/// Bytes of records that go into one batch at most; a single item may be larger.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// How long the log is silent before the last batch gets its mark.
const MARK_AFTER: Duration = Duration::from_millis(50);

/// The segment that is being written.
pub struct Current {
    /// Its id.
    pub id: u64,
    /// Its file.
    pub file: Arc<dyn File>,
    /// Where the next batch goes.
    pub offset: u64,
    /// The number of the next batch.
    pub number: u64,
    /// What its first record names.
    pub previous: Option<Position>,
}

/// The state of the writer.
pub struct Writer {
    /// Where records come from.
    pub wal: Wal,
    /// The volume.
    pub disk: Arc<dyn Disk>,
    /// The directory of the segments.
    pub dir: String,
    /// Limits.
    pub options: LogOptions,
    /// What the log says so far.
    pub ledger: Ledger,
    /// The segment that is being written.
    pub current: Current,
    /// Everything before this is synced.
    pub durable: Position,
    /// Segments allocated ahead.
    pub prepared: mpsc::Receiver<Prepared>,
}

/// A batch, and where in its segment the entries of each item are.
struct Laid {
    bytes: Bytes,
    places: Vec<u64>,
}

impl Writer {
    /// Writes until the log is closed or fails.
    pub async fn run(mut self) {
        let mut marked = true;
        loop {
            let taken = if marked {
                self.wal.take(BATCH_BYTES_MAX).await
            } else {
                let waited = timeout(MARK_AFTER, self.wal.take(BATCH_BYTES_MAX)).await;
                waited.unwrap_or_else(|_| {
                    Some(Taken { items: Vec::new(), committed: self.wal.take_committed() })
                })
            };
            let Some(Taken { items, committed }) = taken else { return };
            marked = items.is_empty();
            match self.write(&items, &committed).await {
                Ok(places) => self.settle(items, &committed, &places).await,
                Err(failure) => {
                    self.wal.fail(failure);
                    for done in items.into_iter().filter_map(|item| item.done) {
                        done(Err(super::queue::closed()));
                    }
                    return;
                }
            }
        }
    }

    /// Writes one batch and syncs it; answers where the payloads of its entries are.
    async fn write(&mut self, items: &[Item], committed: &[Record]) -> Result<Vec<u64>, LogFailure> {
        let bytes_max: usize =
            items.iter().flat_map(|item| &item.records).chain(committed).map(Record::encoded_bytes_max).sum();
        let limit = self.options.segment_bytes;
        if self.current.number > 0 && self.current.offset + bytes_max as u64 + 64 > limit {
            self.rotate(bytes_max).await?;
        }
        loop {
            let laid = self.lay(items, committed);
            let end = self.current.offset + laid.bytes.len() as u64;
            let began = time::now();
            match self.current.file.write_and_sync(self.current.offset, vec![laid.bytes]).await {
                Ok(()) => {
                    self.synced_in(began.elapsed());
                    self.current.offset = end;
                    self.current.number += 1;
                    self.durable = Position { segment: self.current.id, offset: end };
                    return Ok(laid.places);
                }
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    tracing::warn!(%error, "no room for a batch: the log goes on in a new segment");
                    self.rotate(bytes_max).await?;
                }
                Err(error) => return Err(LogFailure::SyncFailed(error.to_string())),
            }
        }
    }

    fn synced_in(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.wal.shared().stats.lock().sync_us.add(us);
    }

    /// Goes on in the next segment; waits until there is one.
    async fn rotate(&mut self, bytes_max: usize) -> Result<(), LogFailure> {
        let Some(prepared) = self.prepared.recv().await else {
            return Err(LogFailure::SegmentFailed("nobody makes segments any more".to_owned()));
        };
        let opening: usize = self.ledger.opening_records().iter().map(Record::encoded_bytes_max).sum();
        let wanted = (bytes_max + opening + 4096) as u64;
        if wanted > self.options.segment_bytes {
            // Lack of room shows when the batch is written, and leads to the next segment.
            prepared.file.preallocate(wanted).await.ok();
        }
        // A segment in which no batch was ever written stands for nothing: name the one before it.
        let previous = if self.current.number > 0 {
            Some(Position { segment: self.current.id, offset: self.current.offset })
        } else {
            self.current.previous
        };
        self.wal.shared().files.lock().insert(prepared.id, prepared.file.clone());
        self.current = Current { id: prepared.id, file: prepared.file, offset: 0, number: 0, previous };
        Ok(())
    }

    fn lay(&self, items: &[Item], committed: &[Record]) -> Laid {
        let mut batch = BatchWriter::new(self.current.id, self.current.number, self.durable);
        if self.current.number == 0 {
            batch.push(&Record::Opens { previous: self.current.previous });
            for record in self.ledger.opening_records() {
                batch.push(&record);
            }
        }
        let mut places = Vec::new();
        for record in items.iter().flat_map(|item| &item.records) {
            let place = batch.push(record);
            if matches!(record, Record::Entry(..)) {
                places.push(self.current.offset + place as u64);
            }
        }
        for record in committed {
            batch.push(record);
        }
        Laid { bytes: batch.finish(), places }
    }

    /// After a sync: the tables learn where entries are, everybody who waits is told, and old segments go.
    async fn settle(&mut self, items: Vec<Item>, committed: &[Record], places: &[u64]) {
        let segment = self.current.id;
        let (mut records, mut bytes) = (committed.len() as u64, 0);
        let mut places = places.iter();
        for item in &items {
            let mut sequence = item.sequence;
            for record in &item.records {
                self.ledger.apply(record, segment);
                records += 1;
                if let Record::Entry(_, entry) = record {
                    bytes += entry.payload.len() as u64;
                    if let Some(place) = places.next() {
                        item.table.landed(entry.at.index, sequence, (segment, *place));
                    }
                    sequence += 1;
                }
            }
        }
        for record in committed {
            self.ledger.apply(record, segment);
        }
        for item in items {
            item.table.settle(self.options.cache_bytes);
            if let Some(done) = item.done {
                done(Ok(()));
            }
        }
        {
            let mut stats = self.wal.shared().stats.lock();
            stats.syncs += 1;
            stats.records += records;
            stats.entry_bytes += bytes;
            stats.batch_records.add(records);
        }
        self.collect().await;
    }

    /// Removes segments that nobody needs.
    async fn collect(&mut self) {
        // What the segments repeat in their first batch counts only once a later batch says that it was synced:
        // otherwise damage to it could pass for a torn tail, and the removed segments would be missed.
        if self.current.number < 2 {
            return;
        }
        let needed = self.ledger.oldest_needed().unwrap_or(self.current.id).min(self.current.id);
        loop {
            let (oldest, segments) = {
                let files = self.wal.shared().files.lock();
                (files.keys().next().copied(), files.len() as u64)
            };
            {
                let mut stats = self.wal.shared().stats.lock();
                stats.segments = segments;
                stats.log_bytes = segments * self.options.segment_bytes;
            }
            let Some(oldest) = oldest.filter(|oldest| *oldest < needed) else {
                self.tell_who_pins(oldest, segments);
                return;
            };
            let path = format!("{}/{}", self.dir, file_name(oldest));
            // One by one and each made durable: a gap that a crash leaves between segments would pass for a loss.
            let gone = async {
                self.disk.remove(&path).await?;
                self.disk.sync_dir(&self.dir).await
            };
            match gone.await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(%error, path, "a segment of the log cannot be removed");
                    return;
                }
            }
            self.wal.shared().files.lock().remove(&oldest);
        }
    }

    /// Asks those who need the oldest segment for checkpoints, if all segments together are too many.
    fn tell_who_pins(&self, oldest: Option<u64>, segments: u64) {
        let above = segments * self.options.segment_bytes > self.options.log_bytes_max;
        let pinned = oldest
            .filter(|oldest| above && *oldest < self.current.id)
            .map(|oldest| (oldest, self.ledger.owners_in(oldest)));
        self.wal.shared().pinned.send_if_modified(|present| {
            let changed = *present != pinned;
            *present = pinned;
            changed
        });
    }
}
