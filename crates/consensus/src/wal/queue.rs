//! Records on their way to the writer.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use lamina_engine::wal::{LogPoint, Record};
use lamina_env::{File, watch};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::spread::Spread;
use super::table::{Found, LogTable, OnDisk};
use super::{Owner, segment};
use crate::error::LogFailure;

/// Numbers of the shared log, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogStats {
    /// Batches that were written and synced since the start.
    pub syncs: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of entries in them.
    pub entry_bytes: u64,
    /// Segments that exist.
    pub segments: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// Microseconds from the hand-in of a batch to the disk until it was synced; those that succeeded.
    pub sync_us: Spread,
    /// Records of each batch: so many shared one sync.
    pub batch_records: Spread,
}

impl Default for LogStats {
    fn default() -> LogStats {
        LogStats {
            syncs: 0,
            records: 0,
            entry_bytes: 0,
            segments: 0,
            log_bytes: 0,
            sync_us: Spread::new(50),
            batch_records: Spread::new(1),
        }
    }
}

/// Told when a record is synced, or when it never will be.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send + Sync>;

/// Records of one replica that go to disk together.
pub struct Item {
    /// Its table, which learns where entries land.
    pub table: Arc<LogTable>,
    /// The records.
    pub records: Vec<Record>,
    /// The sequence of the first entry among them; the next ones follow.
    pub sequence: u64,
    /// Told after the sync.
    pub done: Option<Done>,
}

/// The shared log, for those who write to it and read from it. Cheap to clone.
#[derive(Clone)]
pub struct Wal(Arc<Shared>);

/// What the writer, the replicas and the process share.
pub struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
    /// Set once, when the log cannot go on.
    pub failed: watch::Sender<Option<LogFailure>>,
    /// Whether the disk has no room for the next segment.
    pub full: watch::Sender<bool>,
    /// The oldest segment, and the replicas that need it, whenever all segments together are above the limit.
    pub pinned: watch::Sender<Option<(u64, Vec<Owner>)>>,
    /// Open segments.
    pub files: Mutex<BTreeMap<u64, Arc<dyn File>>>,
    /// For the metrics.
    pub stats: Mutex<LogStats>,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    committed: BTreeMap<Owner, LogPoint>,
    closed: bool,
}

/// What the writer takes in one step.
pub struct Taken {
    /// In the order in which they were queued.
    pub items: Vec<Item>,
    /// How far the replicas have committed. Only if nothing is left behind in the queue, so that no mark is ever
    /// ahead of the entries (openraft.md trap 2.5).
    pub committed: Vec<Record>,
}

impl Wal {
    /// A log with these open segments and no writer yet.
    pub fn new(files: BTreeMap<u64, Arc<dyn File>>) -> Wal {
        Wal(Arc::new(Shared {
            queue: Mutex::new(Queue::default()),
            wake: Notify::new(),
            failed: watch::channel(None).0,
            full: watch::channel(false).0,
            pinned: watch::channel(None).0,
            files: Mutex::new(files),
            stats: Mutex::new(LogStats::default()),
        }))
    }

    /// What is shared with the writer.
    pub fn shared(&self) -> &Shared {
        &self.0
    }

    /// Queues records. They are on disk in the order of the calls. After a failure `done` is told so at once.
    pub fn submit(&self, item: Item) {
        let refused = {
            let mut queue = self.0.queue.lock();
            if queue.closed {
                Some(item)
            } else {
                queue.items.push_back(item);
                None
            }
        };
        match refused {
            Some(item) => {
                if let Some(done) = item.done {
                    done(Err(closed()));
                }
            }
            None => self.0.wake.notify_one(),
        }
    }

    /// Queues records and waits until they are synced.
    ///
    /// # Errors
    /// The log has failed or is closed.
    pub async fn submit_and_wait(&self, table: Arc<LogTable>, records: Vec<Record>) -> io::Result<()> {
        let (tell, told) = tokio::sync::oneshot::channel();
        let done: Done = Box::new(move |result| drop(tell.send(result)));
        self.submit(Item { table, records, sequence: 0, done: Some(done) });
        told.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Notes how far a replica has committed. It goes along with the next batch; nothing is written for it alone.
    pub fn note_committed(&self, owner: Owner, at: LogPoint) {
        self.0.queue.lock().committed.insert(owner, at);
    }

    /// Refuses everything from now on; what is queued is told so.
    pub fn close(&self) {
        let items = {
            let mut queue = self.0.queue.lock();
            queue.closed = true;
            std::mem::take(&mut queue.items)
        };
        for done in items.into_iter().filter_map(|item| item.done) {
            done(Err(closed()));
        }
        self.0.wake.notify_one();
    }

    /// Says that the log cannot go on, and closes it.
    pub fn fail(&self, failure: LogFailure) {
        tracing::error!(%failure, "the log has failed");
        self.0.failed.send_if_modified(|present| {
            let first = present.is_none();
            if first {
                *present = Some(failure);
            }
            first
        });
        self.close();
    }

    /// Waits for records, and takes up to `bytes_max` of them (at least one item); `None`: the log is closed.
    pub async fn take(&self, bytes_max: usize) -> Option<Taken> {
        loop {
            {
                let mut queue = self.0.queue.lock();
                if queue.closed {
                    return None;
                }
                if !queue.items.is_empty() {
                    return Some(queue.take(bytes_max));
                }
            }
            self.0.wake.notified().await;
        }
    }

    /// What the replicas have committed since the last batch, if nothing is queued.
    pub fn take_committed(&self) -> Vec<Record> {
        let mut queue = self.0.queue.lock();
        if queue.items.is_empty() { queue.take_committed() } else { Vec::new() }
    }

    /// The payloads of entries that are on disk, in the order of `places`. `None` for those whose segment is gone:
    /// they were purged meanwhile.
    ///
    /// # Errors
    /// Reading failed, or the bytes are not those that were written.
    pub async fn read(&self, places: &[OnDisk]) -> io::Result<Vec<Option<Bytes>>> {
        let mut payloads = Vec::with_capacity(places.len());
        for run in places.chunk_by(|a, b| a.segment == b.segment) {
            let Some(segment) = run.first().map(|place| place.segment) else { continue };
            let file = self.0.files.lock().get(&segment).cloned();
            let Some(file) = file else {
                payloads.extend(run.iter().map(|_| None));
                continue;
            };
            let spans: Vec<_> = run.iter().map(|place| (place.offset, place.length)).collect();
            let read = file.read_many(&spans).await?;
            for (place, payload) in run.iter().zip(read) {
                if payload.len() != place.length || crc32fast::hash(&payload) != place.crc {
                    let name = segment::file_name(segment);
                    let text =
                        format!("entry {} is damaged at byte {} of {name}", place.at.index, place.offset);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
                payloads.push(Some(payload));
            }
        }
        Ok(payloads)
    }

    /// Entries as they were found, with those on disk read. Ends before the first one that is gone.
    ///
    /// # Errors
    /// As [`Wal::read`].
    pub async fn load(&self, found: Vec<Found>) -> io::Result<Vec<(LogPoint, Bytes)>> {
        let places: Vec<OnDisk> = found
            .iter()
            .filter_map(|found| match found {
                Found::OnDisk(place) => Some(*place),
                Found::Here(..) => None,
            })
            .collect();
        let mut read = if places.is_empty() { Vec::new() } else { self.read(&places).await? }.into_iter();
        let mut entries = Vec::with_capacity(found.len());
        for found in found {
            match found {
                Found::Here(at, payload) => entries.push((at, payload)),
                Found::OnDisk(place) => match read.next().flatten() {
                    Some(payload) => entries.push((place.at, payload)),
                    // Purged while it was looked up: entries may be missing at the beginning, never in between.
                    None => entries.clear(),
                },
            }
        }
        Ok(entries)
    }
}

impl Queue {
    fn take(&mut self, bytes_max: usize) -> Taken {
        let mut items = Vec::new();
        let mut bytes = 0usize;
        while let Some(item) = self.items.front() {
            bytes += item.records.iter().map(Record::encoded_bytes_max).sum::<usize>();
            if bytes > bytes_max && !items.is_empty() {
                break;
            }
            items.extend(self.items.pop_front());
        }
        let committed = if self.items.is_empty() { self.take_committed() } else { Vec::new() };
        Taken { items, committed }
    }

    fn take_committed(&mut self) -> Vec<Record> {
        let marks = std::mem::take(&mut self.committed);
        marks.into_iter().map(|(owner, at)| Record::Committed(owner, at)).collect()
    }
}

/// What a record is told that comes too late.
pub fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log is closed: nothing more is written")
}
