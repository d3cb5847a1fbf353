//! A store that is killed again and again under load, as a real process with a ledger outside of it: whatever was
//! acknowledged is there afterwards, and nothing is there that was never written.
//!
//! `LAMINA_KILLS=100 cargo test -p lamina-cli --test kill` kills more often.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test of a real process in real time"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use lamina_client::{Client, Options, ScanOptions};
use lamina_env::time::{self, Duration};

/// What is known of one key: the values that it may have.
#[derive(Clone, Default, Debug)]
struct Known {
    /// The last acknowledged value.
    acknowledged: Option<u64>,
    /// Later ones whose outcome is not known.
    perhaps: Vec<u64>,
}

type Ledger = Arc<Mutex<BTreeMap<String, Known>>>;

struct Running(Child);

impl Running {
    /// Starts a store and waits until it says that it is ready.
    fn start(dir: &Path, port: u16) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lamina"))
            .args(["up", "--listen", &format!("127.0.0.1:{port}"), "--dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .expect("the program starts");
        let output = child.stdout.take().expect("its output is piped");
        let mut lines = BufReader::new(output).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("ready"));
        assert!(ready, "the store ended before it was ready");
        std::thread::spawn(move || lines.for_each(drop));
        Running(child)
    }

    fn kill(mut self) {
        self.0.kill().expect("it can be killed");
        self.0.wait().expect("it has ended");
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn client(port: u16) -> Client {
    let options = Options { deadline: Duration::from_secs(5), repeat: true };
    Client::connect([format!("127.0.0.1:{port}")]).with(options)
}

/// Writes values that rise, one key for each writer and turn, until it is told to stop.
async fn write(client: Client, ledger: Ledger, writer: u64, first: u64, stop: Arc<AtomicBool>) {
    let mut value = first;
    while !stop.load(Ordering::Relaxed) {
        value += 1;
        let key = format!("writer-{writer}-{}", value % 17);
        ledger.lock().unwrap().entry(key.clone()).or_default().perhaps.push(value);
        if client.put(key.clone(), value.to_string()).await.is_ok() {
            let mut ledger = ledger.lock().unwrap();
            let known = ledger.get_mut(&key).unwrap();
            known.perhaps.retain(|perhaps| *perhaps > value);
            known.acknowledged = Some(value);
        }
    }
}

async fn check(client: &Client, ledger: &Ledger) -> usize {
    let mut scanner = client.scan(ScanOptions::prefix("writer-"));
    let mut found = BTreeMap::new();
    while let Some(row) = scanner.next().await.expect("the store can be scanned") {
        let key = String::from_utf8(row.key.to_vec()).unwrap();
        let value: u64 = std::str::from_utf8(&row.value).unwrap().parse().unwrap();
        found.insert(key, value);
    }
    let mut ledger = ledger.lock().unwrap();
    for (key, known) in ledger.iter_mut() {
        let value = found.remove(key);
        let possible =
            value == known.acknowledged || value.is_some_and(|value| known.perhaps.contains(&value));
        assert!(possible, "{key} has {value:?}, and the ledger says {known:?}");
        // What is there now stays; what did not take effect until now never will, because its client is gone.
        *known = Known { acknowledged: value, perhaps: Vec::new() };
    }
    assert!(found.is_empty(), "keys that nobody wrote: {found:?}");
    ledger.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_whole_store_is_killed_under_load() {
    let kills: u64 = std::env::var("LAMINA_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let ledger = Ledger::default();
    for round in 0..kills {
        let store = Running::start(dir.path(), port);
        check(&client(port), &ledger).await;
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let first = round * 1_000_000;
                tokio::spawn(write(client(port), ledger.clone(), writer, first, stop.clone()))
            })
            .collect();
        time::sleep(Duration::from_millis(300 + 137 * (round % 5))).await;
        store.kill();
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.abort();
            let _ = writer.await;
        }
    }
    let store = Running::start(dir.path(), port);
    let keys = check(&client(port), &ledger).await;
    assert!(keys > 50, "the load wrote something: {keys} keys");
    store.kill();
}
