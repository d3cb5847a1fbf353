//! The load that runs in a pod of the cluster: writers, readers and a scanner on few keys, every call noted down.
//!
//! It goes on until its standard input ends; a word there begins a new stretch of the figures. Then it reads all of its
//! keys once more, as long as that takes, and sends history and rows.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};
use clap::Args;
use lamina_client::{Client, ScanOptions};
use lamina_env::time::{self, Duration};
use lamina_env::{random, task};
use lamina_workload::history::Item;
use lamina_workload::{Recorder, Session};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::wire::{Line, MARK, Row};

mod meter;

use meter::Meter;

/// Between two lines about how it goes.
const PROGRESS: Duration = Duration::from_millis(500);
/// Between two scans.
const SCANS: Duration = Duration::from_millis(400);
/// Between two tries of the last reading.
const AGAIN: Duration = Duration::from_millis(200);

/// What the load does.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Where the store is reached (host:port), several separated by commas
    #[arg(long, value_delimiter = ',', required = true)]
    pub endpoint: Vec<String>,
    /// What all its keys begin with: another one for each load. The last one counts
    #[arg(long, overrides_with = "prefix")]
    pub prefix: String,
    /// Keys that are written; few, so that calls meet
    #[arg(long, default_value_t = 48)]
    pub keys: u64,
    /// Sessions that write
    #[arg(long, default_value_t = 4)]
    pub writers: u64,
    /// Sessions that read
    #[arg(long, default_value_t = 3)]
    pub readers: u64,
    /// Each session's pause between two calls
    #[arg(long, default_value_t = 30)]
    pub pause_ms: u64,
    /// Bytes of each value at least
    #[arg(long, default_value_t = 16)]
    pub value_bytes: usize,
    /// How long the store may take to answer the first write, and the last reading
    #[arg(long, default_value_t = 120)]
    pub patience_seconds: u64,
}

/// Runs the load until standard input ends.
///
/// # Errors
/// The store never answers, or nobody listens.
pub async fn run(args: LoadArgs) -> anyhow::Result<()> {
    let load = Load {
        client: Client::connect(args.endpoint.clone()),
        recorder: Recorder::new(),
        meter: Arc::new(Meter::new()),
        stop: Arc::new(AtomicBool::new(false)),
        run: random::u64(),
        args,
    };
    load.begin().await?;
    say(&Line::Begun)?;
    let sessions = load.start();
    let listener = task::spawn(listen(load.meter.clone(), load.stop.clone()));
    while !load.stop.load(Ordering::Relaxed) {
        time::sleep(PROGRESS).await;
        load.report()?;
    }
    listener.await.context("the listener ended")??;
    for session in sessions {
        session.await.context("a session ended")?;
    }
    load.report()?;
    let rows = load.last_reading().await?;
    load.send(rows)
}

/// Prints every row below a prefix.
///
/// # Errors
/// The store does not answer.
pub async fn rows(endpoint: Vec<String>, prefix: String) -> anyhow::Result<()> {
    let client = Client::connect(endpoint);
    let mut scanner = client.scan(ScanOptions::prefix(prefix));
    let mut rows = 0;
    while let Some(row) = scanner.next().await? {
        say(&Line::Row(Row { key: row.key.into(), value: row.value.into(), version: row.version.0 }))?;
        rows += 1;
    }
    say(&Line::End { operations: 0, rows })
}

struct Load {
    args: LoadArgs,
    client: Client,
    recorder: Recorder,
    meter: Arc<Meter>,
    stop: Arc<AtomicBool>,
    /// Is in each value, so that no two loads write the same one.
    run: u64,
}

impl Load {
    /// Waits until a write is acknowledged, so that the stretches do not count the start of a store.
    async fn begin(&self) -> anyhow::Result<()> {
        let session = self.recorder.session(self.client.clone());
        let deadline = time::now() + Duration::from_secs(self.args.patience_seconds);
        let mut attempt = 0;
        loop {
            attempt += 1;
            match session.put(self.key(0), format!("{:x}.begin.{attempt}", self.run)).await {
                Ok(_) => break,
                Err(error) => {
                    ensure!(time::now() < deadline, "the store acknowledges no write: {error}");
                    time::sleep(AGAIN).await;
                }
            }
        }
        self.meter.mark();
        Ok(())
    }

    fn start(&self) -> Vec<task::JoinHandle<()>> {
        let mut sessions = Vec::new();
        for number in 0..self.args.writers {
            sessions.push(task::spawn(self.caller().write(number)));
        }
        for _ in 0..self.args.readers {
            sessions.push(task::spawn(self.caller().read()));
        }
        sessions.push(task::spawn(self.caller().scan()));
        sessions
    }

    fn caller(&self) -> Caller {
        Caller {
            args: self.args.clone(),
            session: self.recorder.session(self.client.clone()),
            meter: self.meter.clone(),
            stop: self.stop.clone(),
            run: self.run,
        }
    }

    fn key(&self, number: u64) -> String {
        key(&self.args.prefix, number)
    }

    fn report(&self) -> anyhow::Result<()> {
        for failure in self.meter.failures() {
            say(&Line::Failure(failure))?;
        }
        say(&Line::Progress(self.meter.progress()))
    }

    /// What the store has of the load's keys when all is over.
    async fn last_reading(&self) -> anyhow::Result<Vec<Row>> {
        let session = self.recorder.session(self.client.clone());
        let deadline = time::now() + Duration::from_secs(self.args.patience_seconds);
        loop {
            match session.scan(ScanOptions::prefix(format!("{}/", self.args.prefix))).await {
                Ok(rows) => {
                    return rows
                        .into_iter()
                        .map(|row| {
                            let value = row.value.context("a row without its value")?;
                            Ok(Row { key: row.key, value, version: row.version })
                        })
                        .collect();
                }
                Err(error) => {
                    ensure!(time::now() < deadline, "the store answers no scan: {error}");
                    time::sleep(AGAIN).await;
                }
            }
        }
    }

    fn send(&self, rows: Vec<Row>) -> anyhow::Result<()> {
        let operations = self.recorder.operations();
        let end = Line::End { operations: operations.len() as u64, rows: rows.len() as u64 };
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let lines = operations.into_iter().map(Line::Operation).chain(rows.into_iter().map(Line::Row));
        for line in lines.chain([end]) {
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
        }
        Ok(out.flush()?)
    }
}

/// One session.
struct Caller {
    args: LoadArgs,
    session: Session,
    meter: Arc<Meter>,
    stop: Arc<AtomicBool>,
    run: u64,
}

impl Caller {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn any_key(&self) -> String {
        key(&self.args.prefix, random::between(0, self.args.keys))
    }

    async fn pause(&self) {
        time::sleep(Duration::from_millis(self.args.pause_ms)).await;
    }

    /// Puts, now and then a delete or a batch. Each value is written once in the whole history.
    async fn write(self, number: u64) {
        let mut count = 0u64;
        while self.goes_on() {
            count += 1;
            let value = |part: u64| {
                let value = format!("{:x}.{number}.{count}.{part}", self.run);
                format!("{value:-<width$}", width = self.args.value_bytes)
            };
            let items = match random::between(0, 10) {
                0 => vec![Item::delete(self.any_key())],
                1 => {
                    let first = random::between(0, self.args.keys);
                    let of = |part| {
                        Item::put(key(&self.args.prefix, (first + part) % self.args.keys), value(part))
                    };
                    (0..3.min(self.args.keys)).map(of).collect()
                }
                _ => vec![Item::put(self.any_key(), value(0))],
            };
            let begun = time::now();
            let result = self.session.write(items).await;
            self.meter.wrote(begun, result.map(drop));
            self.pause().await;
        }
    }

    async fn read(self) {
        while self.goes_on() {
            let begun = time::now();
            let result = self.session.get(self.any_key()).await;
            self.meter.has_read("get", begun, result.map(drop));
            self.pause().await;
        }
    }

    async fn scan(self) {
        while self.goes_on() {
            let begun = time::now();
            let result = self.session.scan(ScanOptions::prefix(format!("{}/", self.args.prefix))).await;
            self.meter.has_read("scan", begun, result.map(drop));
            time::sleep(SCANS).await;
        }
    }
}

fn key(prefix: &str, number: u64) -> String {
    format!("{prefix}/{number:04}")
}

/// The word for it begins a new stretch, the end of input ends the load. Other lines only show that somebody is there.
async fn listen(meter: Arc<Meter>, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if line == MARK.trim_end() {
            meter.mark();
        }
    }
    stop.store(true, Ordering::Relaxed);
    Ok(())
}

fn say(line: &Line) -> anyhow::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
