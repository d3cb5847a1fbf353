//! `import`: rows from a file, in batches, many on the way.
//!
//! A thread reads and parses; batches go out as soon as they are full and come back in any order. Lines count as
//! stored up to the first batch that is still out, so that an import that ends early says exactly how to go on. Two
//! batches with one key are never out at once: the later line wins, as in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lamina_client::{Batch, Client, Reason};
use lamina_env::task;
use lamina_env::time::Duration;
use lamina_types::Error;
use tokio::sync::mpsc;

use super::progress::Progress;
use crate::args::{ImportArgs, StoreArgs};
use crate::failure::Failure;
use crate::farewell::Farewell;
use crate::figures::{bytes, count, duration, short};
use crate::form::Form;
use crate::output;
use crate::rows::{self, Format};

/// A batch goes out when it has so many rows, or bytes.
const BATCH_ROWS: usize = 500;
const BATCH_BYTES: usize = 256 << 10;
/// A line longer than this is no row: no key and value have so many escapes.
const LINE_BYTES_MAX: u64 = 8 << 20;

/// Rows that are written at once.
struct Chunk {
    rows: Vec<(Bytes, Bytes)>,
    row_bytes: u64,
    /// The last line that is in it, counted from 1.
    last_line: u64,
    /// Bytes of the file up to there.
    read_bytes: u64,
}

/// What comes from the reading thread: chunks, and at last perhaps what is wrong with the file.
type FromReader = Result<Chunk, Failure>;

/// What is stored, for the farewell.
#[derive(Default)]
struct Stored {
    lines: AtomicU64,
    rows: AtomicU64,
}

pub async fn import(store: &StoreArgs, args: ImportArgs, farewell: &Farewell) -> Result<(), Failure> {
    let client = store.client()?;
    let (input, size) = output::input(&args.file)?;
    let format = Format::of(args.format, Some(&args.file));
    let name =
        if args.file.as_os_str() == "-" { "input".to_owned() } else { args.file.display().to_string() };
    let stored = Arc::new(Stored::default());
    stored.lines.store(args.skip, Ordering::Relaxed);
    {
        let (stored, file) = (stored.clone(), name.clone());
        farewell.set(move || format!("interrupted; {}", how_to_go_on(&file, &stored)));
    }
    let (out, chunks) = mpsc::channel(64);
    let (form, skip, named) = (args.form, args.skip, name.clone());
    drop(task::spawn(task::compute(move || read(BufReader::new(input), &named, format, form, skip, &out))));
    let mut import = Import {
        client,
        store,
        stored: stored.clone(),
        size,
        out: FuturesUnordered::new(),
        keys: BTreeSet::new(),
        done: BTreeMap::new(),
        sent: 0,
        settled: 0,
        row_bytes: 0,
        progress: Progress::new(&name, size.is_some()),
    };
    let result = import.run(chunks, args.in_flight as usize).await;
    let (elapsed, row_bytes) = (import.progress.elapsed(), import.row_bytes);
    drop(import);
    result.map_err(|failure| match failure {
        Failure::Quiet => Failure::Quiet,
        failure => Failure::Halfway(Box::new(failure), how_to_go_on(&name, &stored)),
    })?;
    if !args.quiet {
        let rows = stored.rows.load(Ordering::Relaxed);
        output::say(&summary("imported", rows, row_bytes, elapsed));
    }
    Ok(())
}

/// `imported 1 553 020 keys · 96 MiB · 8.5 s · 182 k keys/s`
pub fn summary(did: &str, rows: u64, row_bytes: u64, elapsed: Duration) -> String {
    let rate = rows as f64 / elapsed.as_secs_f64().max(1e-3);
    format!(
        "{did} {} keys · {} · {} · {} keys/s",
        count(rows),
        bytes(row_bytes),
        duration(elapsed),
        short(rate)
    )
}

fn how_to_go_on(file: &str, stored: &Stored) -> String {
    let lines = stored.lines.load(Ordering::Relaxed);
    if lines == 0 {
        return format!(
            "no line of {file} is known to be stored; start again: a row that is there is written over"
        );
    }
    format!("{} lines of {file} are stored; go on with the same command and --skip {lines}", count(lines))
}

/// One batch on its way.
type Sent = std::pin::Pin<Box<dyn Future<Output = (u64, Chunk, Result<(), Error>)> + Send>>;

struct Import<'a> {
    client: Client,
    store: &'a StoreArgs,
    stored: Arc<Stored>,
    size: Option<u64>,
    out: FuturesUnordered<Sent>,
    /// Keys of all batches that are out.
    keys: BTreeSet<Bytes>,
    /// Batches that are back, though one before them is not.
    done: BTreeMap<u64, Chunk>,
    sent: u64,
    settled: u64,
    row_bytes: u64,
    progress: Progress,
}

impl Import<'_> {
    async fn run(&mut self, mut chunks: mpsc::Receiver<FromReader>, in_flight: usize) -> Result<(), Failure> {
        let result = self.send_all(&mut chunks, in_flight).await;
        // Also after a failure: what is out may well be stored, and then need not be written again.
        let mut first = result.err();
        while !self.out.is_empty() {
            if let Err(failure) = self.settle_one().await {
                first.get_or_insert(failure);
            }
        }
        first.map_or(Ok(()), Err)
    }

    async fn send_all(
        &mut self,
        chunks: &mut mpsc::Receiver<FromReader>,
        in_flight: usize,
    ) -> Result<(), Failure> {
        loop {
            // While the file says nothing, as a pipe may, what is out goes on all the same.
            let chunk = tokio::select! {
                biased;
                chunk = chunks.recv() => chunk,
                settled = self.settle_one(), if !self.out.is_empty() => {
                    settled?;
                    continue;
                }
            };
            let Some(chunk) = chunk else { return Ok(()) };
            let chunk = chunk?;
            while self.out.len() >= in_flight {
                self.settle_one().await?;
            }
            if chunk.rows.iter().any(|(key, _)| self.keys.contains(key)) {
                while !self.out.is_empty() {
                    self.settle_one().await?;
                }
            }
            self.send(chunk);
        }
    }

    fn send(&mut self, chunk: Chunk) {
        self.keys.extend(chunk.rows.iter().map(|(key, _)| key.clone()));
        let (client, number) = (self.client.clone(), self.sent);
        self.sent += 1;
        self.out.push(Box::pin(async move {
            let result = write(&client, &chunk.rows).await;
            (number, chunk, result)
        }));
    }

    /// Waits for one batch, and counts all that are stored without a gap.
    async fn settle_one(&mut self) -> Result<(), Failure> {
        let Some((number, chunk, result)) = self.out.next().await else { return Ok(()) };
        for (key, _) in &chunk.rows {
            self.keys.remove(key);
        }
        result.map_err(|error| self.store.failure(error))?;
        self.done.insert(number, chunk);
        let mut read_bytes = 0;
        while let Some(chunk) = self.done.remove(&self.settled) {
            self.settled += 1;
            self.row_bytes += chunk.row_bytes;
            read_bytes = chunk.read_bytes;
            self.stored.rows.fetch_add(chunk.rows.len() as u64, Ordering::Relaxed);
            self.stored.lines.store(chunk.last_line, Ordering::Relaxed);
        }
        if read_bytes > 0 {
            let rows = self.stored.rows.load(Ordering::Relaxed);
            let (row_bytes, elapsed) = (self.row_bytes, self.progress.elapsed());
            let done = self.size.map(|size| read_bytes as f64 / size.max(1) as f64);
            self.progress.show(done, || {
                let rate = rows as f64 / elapsed.as_secs_f64().max(1e-3);
                format!("{} keys · {} · {} keys/s", count(rows), bytes(row_bytes), short(rate))
            });
        }
        Ok(())
    }
}

/// Writes rows as one batch; where the store has several groups, row by row.
async fn write(client: &Client, rows: &[(Bytes, Bytes)]) -> Result<(), Error> {
    let batch = rows.iter().fold(Batch::new(), |batch, (key, value)| batch.put(key.clone(), value.clone()));
    match client.write(batch).await {
        Err(error) if error.reason() == Reason::BatchSpansGroups => {
            let puts = rows.iter().map(|(key, value)| client.put(key.clone(), value.clone()));
            futures::future::try_join_all(puts).await.map(drop)
        }
        result => result.map(drop),
    }
}

/// Reads lines to the end, or to the first that is no row.
fn read(
    mut input: impl BufRead,
    name: &str,
    format: Format,
    form: Form,
    skip: u64,
    out: &mpsc::Sender<FromReader>,
) {
    let mut line = Vec::new();
    let (mut number, mut read_bytes) = (0u64, 0u64);
    let mut chunk = Gathered::default();
    loop {
        line.clear();
        let read = std::io::Read::take(&mut input, LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let failure = match read {
            Ok(0) => break,
            Ok(length) if length as u64 >= LINE_BYTES_MAX => {
                Some(Failure::Usage(format!("{name} line {}: the line is too long for a row", number + 1)))
            }
            Ok(length) => {
                number += 1;
                read_bytes += length as u64;
                None
            }
            Err(error) => Some(Failure::io(&format!("read {name}"), &error)),
        };
        if failure.is_none() && number <= skip {
            continue;
        }
        let row = failure.map_or_else(|| parse(&line, format, form, name, number), Err);
        match row {
            Ok(Some(row)) => {
                if chunk.has(&row.0) && out.blocking_send(Ok(chunk.take())).is_err() {
                    return;
                }
                chunk.add(row, number, read_bytes);
                if chunk.is_full() && out.blocking_send(Ok(chunk.take())).is_err() {
                    return;
                }
            }
            Ok(None) => {}
            Err(failure) => {
                // What stands before the bad line is stored first.
                if !chunk.rows.is_empty() && out.blocking_send(Ok(chunk.take())).is_err() {
                    return;
                }
                out.blocking_send(Err(failure)).ok();
                return;
            }
        }
    }
    if !chunk.rows.is_empty() {
        // The other side has gone only if it has failed already.
        out.blocking_send(Ok(chunk.take())).ok();
    }
}

/// The row of a line; `None`: the line is empty.
fn parse(
    line: &[u8],
    format: Format,
    form: Form,
    name: &str,
    number: u64,
) -> Result<Option<(Bytes, Bytes)>, Failure> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Ok(None);
    }
    let row = rows::read(line, format, form);
    row.map(Some).map_err(|why| Failure::Usage(format!("{name} line {number}: {why}")))
}

#[derive(Default)]
struct Gathered {
    rows: Vec<(Bytes, Bytes)>,
    keys: BTreeSet<Bytes>,
    row_bytes: usize,
    last_line: u64,
    read_bytes: u64,
}

impl Gathered {
    fn has(&self, key: &Bytes) -> bool {
        self.keys.contains(key)
    }

    fn add(&mut self, row: (Bytes, Bytes), line: u64, read_bytes: u64) {
        self.row_bytes += row.0.len() + row.1.len();
        self.keys.insert(row.0.clone());
        self.rows.push(row);
        self.last_line = line;
        self.read_bytes = read_bytes;
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= BATCH_ROWS || self.row_bytes >= BATCH_BYTES
    }

    fn take(&mut self) -> Chunk {
        let taken = std::mem::take(self);
        Chunk {
            rows: taken.rows,
            row_bytes: taken.row_bytes as u64,
            last_line: taken.last_line,
            read_bytes: taken.read_bytes,
        }
    }
}

/// A name beside a file, for what is not whole yet.
pub fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(text: &str, skip: u64) -> Vec<FromReader> {
        let (out, mut chunks) = mpsc::channel(1000);
        read(text.as_bytes(), "rows.tsv", Format::Tsv, Form::default(), skip, &out);
        drop(out);
        std::iter::from_fn(|| chunks.try_recv().ok()).collect()
    }

    #[test]
    fn rows_come_in_batches_and_one_key_never_stands_twice_in_one() {
        let text: String = (0..1100).map(|n| format!("k{}\tv{n}\n", n % 700)).collect();
        let chunks: Vec<Chunk> = chunks(&text, 0).into_iter().map(Result::unwrap).collect();
        assert_eq!(chunks.iter().map(|chunk| chunk.rows.len()).sum::<usize>(), 1100);
        for chunk in &chunks {
            let keys: BTreeSet<_> = chunk.rows.iter().map(|(key, _)| key).collect();
            assert_eq!(keys.len(), chunk.rows.len());
            assert!(chunk.rows.len() <= BATCH_ROWS);
        }
        assert_eq!(chunks.last().unwrap().last_line, 1100);
        assert_eq!(chunks.last().unwrap().read_bytes, text.len() as u64);
    }

    #[test]
    fn what_stands_before_a_bad_line_is_stored_and_the_line_is_named() {
        let mut chunks = chunks("a\t1\nb\t2\nno-tab\nc\t3\n", 0);
        let failure = chunks.pop().unwrap().err().unwrap();
        assert_eq!(failure.line().unwrap(), "rows.tsv line 3: there is no tab between key and value");
        let chunk = chunks.pop().unwrap().ok().unwrap();
        assert_eq!((chunk.rows.len(), chunk.last_line), (2, 2));
        assert!(chunks.is_empty());
    }

    #[test]
    fn skipped_lines_are_not_looked_at_and_still_counted() {
        let mut chunks = chunks("not a row\n\na\t1\r\nb\t2", 2);
        let chunk = chunks.pop().unwrap().ok().unwrap();
        assert!(chunks.is_empty());
        assert_eq!((chunk.rows.len(), chunk.last_line), (2, 4));
        assert_eq!(chunk.rows[0], (Bytes::from("a"), Bytes::from("1")));
    }
}
