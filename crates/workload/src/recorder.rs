//! A client that notes down what it does, for the checkers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lamina_client::{Batch, Client, Found, Result, ScanOptions, Version};
use lamina_types::Error;
use parking_lot::Mutex;

use crate::history::{Answer, Call, Item, Operation, Seen, SeenRow};
use crate::octets::Octets;

/// A history under way. Cheap to clone; clones are the same history.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// One counter for begins and ends: its order is an order in real time.
    moment: AtomicU64,
    sessions: AtomicU64,
    operations: Mutex<Vec<Operation>>,
}

/// One caller of a history.
pub struct Session {
    recorder: Recorder,
    session: u64,
    client: Client,
}

impl Recorder {
    /// An empty history.
    pub fn new() -> Recorder {
        Recorder::default()
    }

    /// A caller whose calls are noted down.
    pub fn session(&self, client: Client) -> Session {
        let session = self.0.sessions.fetch_add(1, Ordering::Relaxed);
        Session { recorder: self.clone(), session, client }
    }

    /// What was called so far, open calls included.
    pub fn operations(&self) -> Vec<Operation> {
        self.0.operations.lock().clone()
    }

    fn moment(&self) -> u64 {
        self.0.moment.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Notes a call down as unanswered, so that it is there also if the caller is dropped.
    fn begin(&self, session: u64, call: Call) -> usize {
        let mut operations = self.0.operations.lock();
        let begin = self.moment();
        operations.push(Operation { session, begin, end: None, call, answer: Answer::Unknown });
        operations.len() - 1
    }

    fn end(&self, at: usize, answer: Answer) {
        let mut operations = self.0.operations.lock();
        let end = self.moment();
        if let Some(operation) = operations.get_mut(at) {
            operation.end = (answer != Answer::Unknown).then_some(end);
            operation.answer = answer;
        }
    }
}

impl Session {
    /// The client behind it, whose calls are not noted down.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Writes all items or none.
    ///
    /// # Errors
    /// As [`Client::write`].
    pub async fn write(&self, items: Vec<Item>) -> Result<Version> {
        let batch = items.iter().fold(Batch::new(), |batch, item| match &item.value {
            Some(value) => batch.put(item.key.0.clone(), value.0.clone()),
            None => batch.delete(item.key.0.clone()),
        });
        let at = self.recorder.begin(self.session, Call::Write { items });
        let result = self.client.write(batch).await;
        let answer = match &result {
            Ok(version) => Answer::Written { version: version.0 },
            Err(error) if error.outcome_unknown() => Answer::Unknown,
            Err(_) => Answer::Refused,
        };
        self.recorder.end(at, answer);
        result
    }

    /// Puts a value.
    ///
    /// # Errors
    /// As [`Client::write`].
    pub async fn put(&self, key: impl Into<Octets>, value: impl Into<Octets>) -> Result<Version> {
        self.write(vec![Item::put(key, value)]).await
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// As [`Client::write`].
    pub async fn delete(&self, key: impl Into<Octets>) -> Result<Version> {
        self.write(vec![Item::delete(key)]).await
    }

    /// Reads a key.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn get(&self, key: impl Into<Octets>) -> Result<Option<Found>> {
        let key = key.into();
        let at = self.recorder.begin(self.session, Call::Get { key: key.clone() });
        let result = self.client.get_at(key.0, Default::default()).await;
        let seen = |found: &Found| Seen { value: Octets(found.value.clone()), version: found.version.0 };
        let answer = answer_of(&result, |got| Answer::Got {
            found: got.value.as_ref().map(seen),
            read_at: got.read_at.0,
        });
        self.recorder.end(at, answer);
        result.map(|got| got.value)
    }

    /// Scans to the end or to the limit.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn scan(&self, options: ScanOptions) -> Result<Vec<SeenRow>> {
        let at = self.recorder.begin(
            self.session,
            Call::Scan {
                from: Octets(options.range.start.clone()),
                to: options.range.end.clone().map(Octets),
                reverse: options.reverse,
                limit: options.limit,
            },
        );
        let result = self.rows(options).await;
        let answer =
            answer_of(&result, |(rows, read_at)| Answer::Rows { rows: rows.clone(), read_at: read_at.0 });
        self.recorder.end(at, answer);
        result.map(|(rows, _)| rows)
    }

    async fn rows(&self, options: ScanOptions) -> Result<(Vec<SeenRow>, Version)> {
        let keys_only = options.keys_only;
        let mut scanner = self.client.scan(options);
        let mut rows = Vec::new();
        while let Some(row) = scanner.next().await? {
            rows.push(SeenRow {
                key: Octets(row.key),
                value: (!keys_only).then_some(Octets(row.value)),
                version: row.version.0,
            });
        }
        Ok((rows, scanner.read_at()))
    }
}

fn answer_of<T>(result: &Result<T, Error>, answer: impl FnOnce(&T) -> Answer) -> Answer {
    match result {
        Ok(value) => answer(value),
        Err(_) => Answer::Refused,
    }
}
