//! A disk that becomes full below a whole store.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use lamina_client::{Client, Kind, Options, Reason};
use lamina_env::Disk;
use lamina_env::disk::os::OsDisk;
use lamina_env::disk::{DirEntry, File, Lock, OpenMode, Space};
use lamina_env::time::{self, Duration};
use lamina_local::{Store, UpOptions, Volumes};
use lamina_types::Settings;

/// Volumes on real files, on which no file can grow while the switch says so.
struct Switched(Arc<AtomicBool>);

#[async_trait]
impl Volumes for Switched {
    async fn open(&self, path: PathBuf) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(Limited { disk: OsDisk::open(path)?, full: self.0.clone() }))
    }
}

struct Limited {
    disk: OsDisk,
    full: Arc<AtomicBool>,
}

struct LimitedFile {
    file: Arc<dyn File>,
    full: Arc<AtomicBool>,
}

impl LimitedFile {
    /// Refuses what would need more room than the file has.
    async fn room(&self, length: u64) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) && length > self.file.len().await? {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on the test's device"));
        }
        Ok(())
    }
}

fn end(offset: u64, pieces: &[Bytes]) -> u64 {
    offset + pieces.iter().map(|piece| piece.len() as u64).sum::<u64>()
}

#[async_trait]
impl File for LimitedFile {
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        self.file.read_at(offset, length).await
    }
    async fn read_many(&self, spans: &[(u64, usize)]) -> io::Result<Vec<Bytes>> {
        self.file.read_many(spans).await
    }
    async fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> io::Result<()> {
        self.room(end(offset, &pieces)).await?;
        self.file.write_at(offset, pieces).await
    }
    async fn sync(&self) -> io::Result<()> {
        self.file.sync().await
    }
    async fn write_and_sync(&self, offset: u64, pieces: Vec<Bytes>) -> io::Result<()> {
        self.room(end(offset, &pieces)).await?;
        self.file.write_and_sync(offset, pieces).await
    }
    async fn len(&self) -> io::Result<u64> {
        self.file.len().await
    }
    async fn set_len(&self, length: u64) -> io::Result<()> {
        self.room(length).await?;
        self.file.set_len(length).await
    }
    async fn preallocate(&self, length: u64) -> io::Result<()> {
        self.room(length).await?;
        self.file.preallocate(length).await
    }
}

#[async_trait]
impl Disk for Limited {
    async fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.disk.open(path, mode).await?;
        Ok(Arc::new(LimitedFile { file, full: self.full.clone() }))
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to).await
    }
    async fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.link(from, to).await
    }
    async fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path).await
    }
    async fn create_dir_all(&self, path: &str) -> io::Result<()> {
        self.disk.create_dir_all(path).await
    }
    async fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        self.disk.remove_dir_all(path).await
    }
    async fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        self.disk.list(path).await
    }
    async fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.disk.sync_dir(path).await
    }
    async fn lock(&self, path: &str) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(path).await
    }
    async fn space(&self) -> io::Result<Space> {
        self.disk.space().await
    }
}

async fn read_all(client: &Client, keys: u32) {
    for n in (0..keys).rev() {
        let found =
            client.get(format!("key-{n}")).await.unwrap().unwrap_or_else(|| panic!("key-{n} is lost"));
        assert_eq!(found.value, value(n));
    }
}

fn value(n: u32) -> Vec<u8> {
    format!("{n} ").into_bytes().into_iter().cycle().take(100_000).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_nothing_else_and_heals_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let settings = Settings { memtable_bytes: 24 << 20, table_bytes: 4 << 20, ..Settings::default() };
    let options = UpOptions {
        settings,
        log_segment_bytes: 8 << 20,
        volumes: Arc::new(Switched(full.clone())),
        ..UpOptions::embedded(dir.path().join("store"))
    };
    let store = Store::up(options.clone()).await.unwrap();
    let client = store.client().with(Options { deadline: Duration::from_secs(10), repeat: false });
    let mut keys = 0;
    while keys < 50 {
        client.put(format!("key-{keys}"), value(keys)).await.unwrap();
        keys += 1;
    }
    full.store(true, Ordering::SeqCst);
    // What is allocated already may be used up.
    let refused = loop {
        match client.put(format!("key-{keys}"), value(keys)).await {
            Ok(_) => keys += 1,
            Err(error) => break error,
        }
        assert!(keys < 1000, "the disk is never full");
    };
    assert_eq!((refused.kind(), refused.reason()), (Kind::ResourceExhausted, Reason::DiskFull), "{refused}");
    assert!(!refused.outcome_unknown() && refused.retry_after().is_some(), "{refused:?}");
    read_all(&client, keys).await;
    for _ in 0..20 {
        let again = client.put("key-never", "x").await.unwrap_err();
        assert_eq!(again.reason(), Reason::DiskFull, "{again}");
    }
    assert_eq!(client.get("key-never").await.unwrap(), None);

    full.store(false, Ordering::SeqCst);
    let deadline = time::now() + Duration::from_secs(30);
    while let Err(error) = client.put("key-after", "y").await {
        assert!(time::now() < deadline, "{error}");
        time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..100 {
        let more = client.clone().with(Options { deadline: Duration::from_secs(10), repeat: true });
        more.put(format!("key-{keys}"), value(keys)).await.unwrap();
        keys += 1;
    }
    client
        .clone()
        .with(Options { deadline: Duration::from_secs(30), repeat: true })
        .flush(false)
        .await
        .unwrap();
    read_all(&client, keys).await;
    store.down().await;
    let store = Store::up(options).await.unwrap();
    read_all(&store.client(), keys).await;
    assert_eq!(store.client().get("key-never").await.unwrap(), None);
    store.down().await;
}
