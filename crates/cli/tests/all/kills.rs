//! Stores that are killed again and again under load, as real processes with a ledger outside of them: whatever was
//! acknowledged is there afterwards, and nothing is there that was never written.
//!
//! `LAMINA_KILLS=100 cargo test -p lamina-cli --test all kills` kills more often.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lamina_client::{Client, ScanOptions, Version};
use lamina_env::time::{self, Duration, Instant};
use lamina_workload::{Item, Ledger};

use crate::program::{Up, client, free_ports, node_of, until};

const WRITERS: u64 = 8;
/// Keys of each writer.
const KEYS: u64 = 17;
/// Acknowledged writes that show that a store serves again.
const SERVES: u64 = 100;

fn kills(usual: u64) -> u64 {
    std::env::var("LAMINA_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// What the outside knows.
#[derive(Default)]
struct Books {
    ledger: Mutex<Ledger>,
    acknowledged: AtomicU64,
    written: AtomicU64,
}

/// A write whose outcome is unknown unless it is acknowledged, however its task ends.
struct Pending<'a>(&'a Books, Option<Item>);

impl Pending<'_> {
    fn acknowledged(mut self, version: Version) {
        let item = self.1.take().unwrap();
        self.0.ledger.lock().unwrap().acknowledged(&[item], version);
        self.0.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(item) = self.1.take() {
            self.0.ledger.lock().unwrap().unknown(&[item]);
        }
    }
}

/// Writers that run until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(endpoint: &str, books: &Arc<Books>) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let writers = (0..WRITERS).map(|writer| {
            let (client, books, stop) = (client(endpoint, 5), books.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let value = books.written.fetch_add(1, Ordering::Relaxed);
                    write(&client, &books, writer, value).await;
                }
            })
        });
        Load { writers: writers.collect(), stop }
    }

    /// What is under way comes to its end.
    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.await.unwrap();
        }
    }

    /// What is under way is given up.
    async fn abort(self) {
        for writer in self.writers {
            writer.abort();
            let _ = writer.await;
        }
    }
}

async fn write(client: &Client, books: &Books, writer: u64, value: u64) {
    let key = Bytes::from(format!("writer-{writer}-{}", value % KEYS));
    // Some are large enough that memtables are flushed and logs go on to further segments.
    let padding = if value.is_multiple_of(16) { 20_000 } else { 20 };
    let content = Bytes::from(format!("{value} {}", "x".repeat(padding)));
    let pending = Pending(books, Some(Item::put(key.clone(), content.clone())));
    if let Ok(version) = client.put(key, content).await {
        pending.acknowledged(version);
    } else {
        // Who is refused at once would else ask without a pause.
        time::sleep(Duration::from_millis(5)).await;
    }
}

/// Compares all of the store with the books; how many keys there are.
async fn check(client: &Client, books: &Books, when: &str) -> usize {
    let rows = until("the store can be scanned", async || {
        let mut scanner = client.scan(ScanOptions::prefix("writer-"));
        let mut rows = BTreeMap::new();
        loop {
            match scanner.next().await {
                Ok(Some(row)) => rows.insert(row.key, (row.value, row.version)),
                Ok(None) => return Some(rows),
                Err(_) => return None,
            };
        }
    });
    let rows: BTreeMap<Bytes, (Bytes, Version)> = rows.await;
    let mut ledger = books.ledger.lock().unwrap();
    let losses = ledger.check_all(rows.iter().map(|(key, (value, version))| (key, value, *version)));
    assert!(losses.is_empty(), "{when}: {losses:?}");
    for (key, (value, version)) in &rows {
        // What is there now stays, whether its writer has heard of it or not.
        ledger.acknowledged(&[Item::put(key.clone(), value.clone())], *version);
    }
    rows.len()
}

/// Waits until the store has acknowledged writes again.
async fn until_served(books: &Books) -> Duration {
    let begun = Instant::now();
    let wanted = books.acknowledged.load(Ordering::Relaxed) + SERVES;
    until("the store serves again", async || {
        (books.acknowledged.load(Ordering::Relaxed) >= wanted).then_some(())
    })
    .await;
    begun.elapsed()
}

/// The whole store is killed, again and again.
async fn kill_whole_stores(form: &[&str], rounds: u64) {
    let (dir, port) = (tempfile::tempdir().unwrap(), free_ports());
    let books = Arc::new(Books::default());
    let form = [&["--memtables", "8MiB"], form].concat();
    for round in 0..rounds {
        let up = Up::start(dir.path(), port, &form);
        check(&up.client(10), &books, &format!("round {round}")).await;
        let load = Load::start(&up.endpoint, &books);
        until_served(&books).await;
        time::sleep(Duration::from_millis(137 * (round % 5))).await;
        up.kill();
        load.abort().await;
    }
    let up = Up::start(dir.path(), port, &form);
    let keys = check(&up.client(10), &books, "at the end").await;
    assert!(keys > 50, "the load wrote something: {keys} keys");
    let (acknowledged, unknown) = books.ledger.lock().unwrap().counts();
    println!(
        "{form:?}: {rounds} kills, {acknowledged} acknowledged (as read back included), {unknown} unknown"
    );
    up.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_whole_store_is_killed_under_load() {
    kill_whole_stores(&[], kills(4)).await;
}

/// Here a kill loses whatever was not synced: it proves that what is acknowledged was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_a_kill_takes_all_that_was_not_synced() {
    kill_whole_stores(&["--unsynced"], kills(3)).await;
}

fn kill_9(pid: u32) {
    let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(status.success(), "{pid} was there to be killed");
}

fn victims() -> Vec<Option<String>> {
    let mut victims = Vec::new();
    for ordinal in 0..3 {
        for role in ["frontend", "data", "index"] {
            victims.push(Some(format!("{role}-{ordinal}")));
        }
        // Everything at once.
        victims.push(None);
    }
    victims
}

fn start(dir: &Path, port: u16) -> (Up, String) {
    let up = Up::start(dir, port, &["--processes", "--memtables", "8MiB"]);
    (up, format!("127.0.0.1:{port},127.0.0.1:{},127.0.0.1:{}", port + 1, port + 2))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_processes_of_every_role_are_killed_under_load() {
    let rounds = kills(4);
    let (dir, port) = (tempfile::tempdir().unwrap(), free_ports());
    let books = Arc::new(Books::default());
    let (mut up, endpoints) = start(dir.path(), port);
    let mut longest = Duration::ZERO;
    for (round, victim) in (0..rounds).zip(victims().into_iter().cycle()) {
        let load = Load::start(&endpoints, &books);
        until_served(&books).await;
        time::sleep(Duration::from_millis(137 * (round % 5))).await;
        match &victim {
            Some(name) => {
                let pid = until("the node runs", async || node_of(up.pid(), name)).await;
                kill_9(pid);
                longest = longest.max(until_served(&books).await);
                let again = async || node_of(up.pid(), name).filter(|again| *again != pid);
                until("the node is started again", again).await;
                load.stop().await;
            }
            None => {
                let nodes: Vec<u32> =
                    victims().iter().flatten().filter_map(|name| node_of(up.pid(), name)).collect();
                up.kill();
                // Some may have noticed the end of their supervisor already.
                let pids: Vec<String> = nodes.iter().map(u32::to_string).collect();
                let _ = std::process::Command::new("kill").arg("-9").args(&pids).output().unwrap();
                load.abort().await;
                up = start(dir.path(), port).0;
            }
        }
        check(&client(&endpoints, 10), &books, &format!("round {round}, {victim:?}")).await;
    }
    let keys = check(&client(&endpoints, 10), &books, "at the end").await;
    assert!(keys > 50, "the load wrote something: {keys} keys");
    let (acknowledged, unknown) = books.ledger.lock().unwrap().counts();
    println!(
        "--processes: {rounds} kills, {acknowledged} acknowledged (as read back included), {unknown} unknown, \
         served again after {longest:?} at the latest"
    );
    up.kill();
}
