//! The library's own suite over our shared log, and the fences of research/openraft.md trap 2.2.

use bytes::Bytes;
use lamina_env::disk::memory::MemDisk;
use lamina_env::{task, watch};
use lamina_types::{GroupId, LogIndex, ReplicaId};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, StorageError};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

use super::*;
use crate::checkpoint::Shelf;
use crate::machine::{Frozen, StateMachine, Stop};
use crate::options::LogOptions;
use crate::raft::Proposal;
use crate::raft::applier::{Applier, Shared};
use crate::wal::recover::recover;

/// A machine that remembers nothing.
struct Nothing;

impl StateMachine for Nothing {
    type Outcome = ();

    fn apply(&mut self, _: LogIndex, _: Bytes) -> Result<(), Stop> {
        Ok(())
    }

    fn applied(&mut self, _: LogIndex) {}

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(Nothing)
    }

    fn restore(&mut self, _: LogIndex, _: &mut dyn Iterator<Item = Bytes>) -> Result<(), Stop> {
        Ok(())
    }
}

impl Frozen for Nothing {
    fn chunks(self: Box<Self>) -> Box<dyn Iterator<Item = Bytes> + Send> {
        Box::new(std::iter::empty())
    }
}

/// Replicas on one shared log, as a process has them; all suites' stores share it.
struct Builder {
    wal: Wal,
    disk: MemDisk,
    next: AtomicU64,
}

impl Builder {
    async fn new() -> Builder {
        let disk = MemDisk::new(1);
        let options = LogOptions { segment_bytes: 4096, ..LogOptions::default() };
        let found = recover(Arc::new(disk.clone()), "log", &options).await.unwrap();
        task::spawn(found.writer.run());
        Builder { wal: found.wal, disk, next: AtomicU64::new(1) }
    }

    fn log(&self) -> GroupLog {
        let replica = ReplicaId(self.next.fetch_add(1, Ordering::Relaxed));
        let owner = Owner { group: GroupId(1), replica };
        GroupLog::new(owner, Arc::new(LogTable::default()), self.wal.clone(), 1 << 20)
    }
}

impl StoreBuilder<Types, GroupLog, Applier<Nothing>> for Builder {
    async fn build(&self) -> Result<((), GroupLog, Applier<Nothing>), StorageError<Types>> {
        let log = self.log();
        let dir = format!("replicas/{}", log.owner().replica);
        let shelf = Shelf::open(Arc::new(self.disk.clone()), dir, GroupId(1)).await.unwrap();
        let shared = Shared {
            log: log.clone(),
            shelf,
            applied: watch::channel(0).0,
            stopped: watch::channel(None).0,
            progress: Notify::new(),
            cache_bytes: 0,
        };
        Ok(((), log, Applier::new(Nothing, Arc::new(shared))))
    }
}

type LibrarySuite = Suite<Types, GroupLog, Applier<Nothing>, Builder, ()>;

/// Runs these parts of the library's suite, each on a log of its own.
macro_rules! parts_of_the_suite {
    ($($part:ident)*) => {{
        let builder = Builder::new().await;
        $(
            let ((), log, applier) = builder.build().await.unwrap();
            let part = LibrarySuite::$part(log, applier);
            let done = lamina_env::time::timeout(lamina_env::time::Duration::from_secs(20), part).await;
            done.expect(concat!(stringify!($part), " comes to an end")).expect(stringify!($part));
        )*
    }};
}

/// Without the parts that apply entries with gaps between them: no leader does, and our fence refuses it.
#[tokio::test]
async fn the_librarys_suite_passes_on_the_shared_log() {
    parts_of_the_suite!(
        last_membership_in_log_initial get_membership_initial get_initial_state_without_init save_vote
        get_log_entries limited_get_log_entries leader_bounded_stream entries_stream try_get_log_entry
        log_reader_reads_new_entries initial_logs get_log_state get_log_id last_id_in_log purge_logs_upto_0
        purge_logs_upto_5 purge_logs_upto_20 delete_logs_after_11 delete_logs_after_5 delete_logs_after_0
        delete_logs_after_none append_to_log apply_single apply_multiple
    );
}

fn entry(index: u64) -> Entry {
    let payload = EntryPayload::Normal(Proposal(Bytes::from(vec![index as u8; 100])));
    Entry { log_id: log_id(LogPoint { term: 1, index }), payload }
}

async fn append(log: &mut GroupLog, entries: Vec<Entry>) -> io::Result<()> {
    let (tell, told) = tokio::sync::oneshot::channel();
    log.append(entries, IOFlushed::noop()).await?;
    let done = Box::new(move |result| drop(tell.send(result)));
    log.wal.submit(Item { table: log.table.clone(), records: Vec::new(), sequence: 0, done: Some(done) });
    told.await.unwrap()
}

#[tokio::test]
async fn a_read_that_would_begin_behind_its_start_answers_nothing() {
    let builder = Builder::new().await;
    let mut log = builder.log();
    append(&mut log, (0..20).map(entry).collect()).await.unwrap();
    log.purge(log_id(LogPoint { term: 1, index: 9 })).await.unwrap();
    assert!(log.limited_get_log_entries(5, 15).await.unwrap().is_empty());
    assert_eq!(log.limited_get_log_entries(10, 15).await.unwrap().len(), 5);
    assert_eq!(log.try_get_log_entries(5..15).await.unwrap().len(), 5, "others may miss the beginning");
}

#[tokio::test]
async fn an_append_that_would_leave_a_hole_fails() {
    let builder = Builder::new().await;
    let mut log = builder.log();
    append(&mut log, (0..5).map(entry).collect()).await.unwrap();
    assert!(append(&mut log, vec![entry(6)]).await.is_err());
    assert!(append(&mut log, vec![entry(4)]).await.is_err(), "what is there must be cut first");
    assert!(append(&mut log, vec![entry(5), entry(7)]).await.is_err());
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(LogPoint { term: 1, index: 4 })));
    append(&mut log, vec![entry(5)]).await.unwrap();
}

#[tokio::test]
async fn entries_that_left_memory_are_read_from_disk_and_checked() {
    let builder = Builder::new().await;
    let mut log = builder.log();
    for index in 0..100 {
        append(&mut log, vec![entry(index)]).await.unwrap();
    }
    log.table.applied(99, 0);
    assert!(matches!(log.table.lock().find(0..1, 1)[0], crate::wal::table::Found::OnDisk(_)));
    let read = log.try_get_log_entries(0..100).await.unwrap();
    assert_eq!(read, (0..100).map(entry).collect::<Vec<_>>());
    // The reader keeps within its limit, but always brings one entry.
    let mut small = GroupLog::new(log.owner, log.table.clone(), log.wal.clone(), 150);
    assert_eq!(small.limited_get_log_entries(0, 100).await.unwrap().len(), 1);
    let crate::wal::table::Found::OnDisk(place) = log.table.lock().find(50..51, 1)[0].clone() else {
        panic!()
    };
    let path = format!("log/{}", crate::wal::segment::file_name(place.segment));
    assert!(builder.disk.rot(&path, place.offset + 3, 1));
    assert_eq!(log.try_get_log_entries(50..51).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn entries_that_pin_an_old_segment_are_copied_out_of_it() {
    let builder = Builder::new().await;
    let (mut idle, mut busy) = (builder.log(), builder.log());
    append(&mut idle, (0..3).map(entry).collect()).await.unwrap();
    for index in 0..200 {
        append(&mut busy, vec![entry(index)]).await.unwrap();
    }
    let oldest = *builder.wal.shared().files.lock().keys().next().unwrap();
    busy.purge(log_id(LogPoint { term: 1, index: 198 })).await.unwrap();
    append(&mut busy, vec![entry(200)]).await.unwrap();
    assert!(builder.wal.shared().files.lock().contains_key(&oldest), "it is pinned by the idle one");
    assert_eq!(idle.move_forward(oldest, 1 << 20).await.unwrap(), 3);
    append(&mut busy, vec![entry(201)]).await.unwrap();
    assert!(!builder.wal.shared().files.lock().contains_key(&oldest));
    assert_eq!(builder.wal.shared().files.lock().len(), 1, "nothing else is needed either");
    // What was copied is what a restart finds.
    idle.table.applied(2, 0);
    assert_eq!(idle.try_get_log_entries(0..3).await.unwrap(), (0..3).map(entry).collect::<Vec<_>>());
    builder.wal.close();
    let found = recover(Arc::new(builder.disk.clone()), "log", &LogOptions::default()).await.unwrap();
    let table = found.tables[&idle.owner].clone();
    let mut again = GroupLog::new(idle.owner, table, found.wal, 1 << 20);
    assert_eq!(again.try_get_log_entries(0..3).await.unwrap(), (0..3).map(entry).collect::<Vec<_>>());
}
