//! From the files of a volume to the log of a process (protocols §8.1).
//!
//! 1. Look at each segment alone, and join them: where does the log end, is anything damaged?
//! 2. Fold the records that count.
//! 3. Copy the records of the last segment into a new one and sync it, before anybody is answered: after a failed
//!    sync the page cache may show bytes that the disk never got.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use lamina_engine::wal::{self as format, BatchWriter, Position, Record, SegmentEnd, WalCorrupt};
use lamina_env::disk::{EntryKind, OpenMode};
use lamina_env::{Disk, File, task};
use tokio::sync::mpsc;

use super::ledger::Ledger;
use super::queue::Wal;
use super::table::{LogTable, OnDisk};
use super::writer::{Current, Writer};
use super::{Owner, ahead, segment};
use crate::directory::make_durable;
use crate::error::OpenError;
use crate::options::LogOptions;

/// What was found on a volume, ready to go on.
pub struct Recovered {
    /// The log.
    pub wal: Wal,
    /// Its writer, which nobody runs yet.
    pub writer: Writer,
    /// What the log says about each replica.
    pub ledger: Ledger,
    /// The replicas' tables.
    pub tables: BTreeMap<Owner, Arc<LogTable>>,
}

#[derive(Default)]
struct Fold {
    ledger: Ledger,
    entries: BTreeMap<Owner, BTreeMap<u64, OnDisk>>,
}

struct SegmentFile {
    id: u64,
    file: Arc<dyn File>,
}

/// Reads the log in `dir` and begins a new segment.
///
/// # Errors
/// The log is damaged, or the disk refuses.
pub async fn recover(disk: Arc<dyn Disk>, dir: &str, options: &LogOptions) -> Result<Recovered, OpenError> {
    make_durable(disk.as_ref(), dir).await?;
    let files = open_segments(disk.as_ref(), dir).await?;
    let mut scans = Vec::with_capacity(files.len());
    for file in &files {
        let bytes = read_all(file.file.as_ref()).await?;
        let id = file.id;
        scans.push(task::compute(move || format::scan(id, &bytes)).await.map_err(io::Error::other)??);
    }
    let ends = format::join(&scans)?;
    let last = ends.iter().rposition(|end| end.end > 0);
    let mut fold = Fold::default();
    let mut tail = Vec::new();
    for (at, (file, end)) in files.iter().zip(&ends).enumerate() {
        if end.end == 0 {
            continue;
        }
        let records = fold.segment(file, *end).await?;
        if Some(at) == last {
            tail = records;
        }
    }
    let previous = last.and_then(|last| scans.get(last)).and_then(|scan| scan.opens.flatten());
    let newest = files.last().map_or(0, |file| file.id);
    let current = begin(disk.as_ref(), dir, options, newest, previous, &tail, &mut fold).await?;
    let counts = |id: u64| {
        ends.iter().enumerate().any(|(at, end)| end.segment == id && end.end > 0 && Some(at) != last)
    };
    let mut open = BTreeMap::from([(current.id, current.file.clone())]);
    for file in files {
        if counts(file.id) {
            open.insert(file.id, file.file);
        } else {
            disk.remove(&format!("{dir}/{}", segment::file_name(file.id))).await?;
            disk.sync_dir(dir).await?;
        }
    }
    let wal = Wal::new(open);
    let tables = fold.tables()?;
    let (out, prepared) = mpsc::channel(1);
    task::spawn(ahead::prepare_ahead(
        wal.clone(),
        disk.clone(),
        dir.to_owned(),
        current.id,
        options.segment_bytes,
        options.full_retry,
        out,
    ));
    let durable = Position { segment: current.id, offset: current.offset };
    let writer = Writer {
        wal: wal.clone(),
        disk,
        dir: dir.to_owned(),
        options: options.clone(),
        ledger: fold.ledger.clone(),
        current,
        durable,
        prepared,
    };
    Ok(Recovered { wal, writer, ledger: fold.ledger, tables })
}

async fn open_segments(disk: &dyn Disk, dir: &str) -> io::Result<Vec<SegmentFile>> {
    let mut files = Vec::new();
    for entry in disk.list(dir).await? {
        let Some(id) = segment::id_of(&entry.name).filter(|_| entry.kind == EntryKind::File) else {
            continue;
        };
        let file = disk.open(&format!("{dir}/{}", entry.name), OpenMode::Write).await?;
        files.push(SegmentFile { id, file });
    }
    files.sort_by_key(|file| file.id);
    Ok(files)
}

async fn read_all(file: &dyn File) -> io::Result<Bytes> {
    let length = usize::try_from(file.len().await?).map_err(io::Error::other)?;
    file.read_at(0, length).await
}

impl Fold {
    /// Folds the batches of a segment that count; answers their records but the opening one.
    async fn segment(&mut self, file: &SegmentFile, end: SegmentEnd) -> Result<Vec<Record>, OpenError> {
        let bytes = read_all(file.file.as_ref()).await?;
        let mut all = Vec::new();
        for batch in format::batches_of(file.id, &bytes).take_while(|batch| batch.end <= end.end) {
            let at = Position { segment: file.id, offset: batch.offset };
            for (record, place) in batch.records().map_err(|error| WalCorrupt::Unknown { at, error })? {
                self.record(&record, file.id, place);
                if !matches!(record, Record::Opens { .. }) {
                    all.push(record);
                }
            }
        }
        Ok(all)
    }

    fn record(&mut self, record: &Record, segment: u64, offset: u64) {
        self.ledger.apply(record, segment);
        let Some(owner) = record.owner() else { return };
        let entries = self.entries.entry(owner).or_default();
        match record {
            Record::Entry(_, entry) => {
                let (length, crc) = (entry.payload.len(), crc32fast::hash(&entry.payload));
                entries.insert(entry.at.index, OnDisk { at: entry.at, segment, offset, length, crc });
            }
            Record::Truncate(_, after) => {
                entries.split_off(&after.map_or(0, |after| after.saturating_add(1)));
            }
            Record::Purge(_, at) => *entries = entries.split_off(&(at.index + 1)),
            Record::Deleted(_) => entries.clear(),
            _ => {}
        }
    }

    fn tables(&mut self) -> Result<BTreeMap<Owner, Arc<LogTable>>, OpenError> {
        let mut tables = BTreeMap::new();
        for (owner, account) in self.ledger.accounts() {
            let entries = self.entries.remove(&owner).unwrap_or_default();
            if account.deleted {
                continue;
            }
            let table =
                LogTable::recovered(account, entries).map_err(|missing| OpenError::ReplicaCorrupt {
                    group: owner.group,
                    replica: owner.replica,
                    what: format!("entry {missing} of its log is missing"),
                })?;
            tables.insert(owner, Arc::new(table));
        }
        Ok(tables)
    }
}

/// Begins a new segment with the records of the last one, and syncs it.
async fn begin(
    disk: &dyn Disk,
    dir: &str,
    options: &LogOptions,
    newest: u64,
    previous: Option<Position>,
    tail: &[Record],
    fold: &mut Fold,
) -> Result<Current, OpenError> {
    let bytes: usize = tail.iter().map(Record::encoded_bytes_max).sum();
    let wanted = options.segment_bytes.max(bytes as u64 + 4096);
    let prepared = segment::prepare(disk, dir, segment::id_after(newest), wanted).await?;
    let mut batch = BatchWriter::new(prepared.id, 0, previous.unwrap_or_default());
    batch.push(&Record::Opens { previous });
    let places: Vec<_> = tail.iter().map(|record| batch.push(record) as u64).collect();
    let copied = batch.finish();
    let end = copied.len() as u64;
    prepared.file.write_and_sync(0, vec![copied]).await?;
    // Only now may the segments that it stands for be removed: this mark says that the copy is synced.
    let mark = BatchWriter::new(prepared.id, 1, Position { segment: prepared.id, offset: end }).finish();
    let offset = end + mark.len() as u64;
    prepared.file.write_and_sync(end, vec![mark]).await?;
    for (record, place) in tail.iter().zip(places) {
        fold.record(record, prepared.id, place);
    }
    Ok(Current { id: prepared.id, file: prepared.file, offset, number: 2, previous })
}
