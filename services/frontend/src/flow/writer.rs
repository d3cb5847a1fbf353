//! From many client writes to few log entries: natural batching.
//!
//! The writer takes everything that has arrived while the entries before were on their way, makes it one entry, and
//! proposes it. No timer, no delay: an idle store writes at once, a busy one in large batches. A few entries may be
//! on their way at the same time, so that the log is never idle while a majority answers.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lamina_consensus::ProposeError;
use lamina_env::time;
use lamina_group::data::entry::{ClientWrite, Writes};
use lamina_group::data::{Entry, Outcome, WriteOutcome};
use lamina_types::{Error, Reason, Result};
use tokio::sync::oneshot;

use crate::heart::inbox::{Pending, Queue};
use crate::heart::refusals::{disk_full, outcome_unknown};
use crate::host::DataHost;

/// Client writes in one entry at most.
const BATCH_WRITES: usize = 4 << 10;
/// Bytes of one entry at which the next one begins.
const BATCH_BYTES: usize = 1 << 20;
/// Entries on their way at once.
const IN_FLIGHT: usize = 3;

/// Makes entries of client writes. Runs as long as its host.
pub struct Writer {
    host: Arc<DataHost>,
    queue: Queue,
}

impl Writer {
    /// A writer for a host.
    pub fn new(host: Arc<DataHost>, queue: Queue) -> Writer {
        Writer { host, queue }
    }

    /// Writes for ever.
    pub async fn run(self) {
        let Writer { host, mut queue } = self;
        let mut in_flight = FuturesUnordered::new();
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                Some(()) = in_flight.next(), if !in_flight.is_empty() => {}
                taken = queue.take(&mut batch, BATCH_WRITES), if in_flight.len() < IN_FLIGHT => {
                    if taken == 0 {
                        return;
                    }
                    for entry in cut(std::mem::take(&mut batch)) {
                        in_flight.push(propose(host.clone(), entry));
                    }
                }
            }
        }
    }
}

/// Cuts what was taken into entries of at most about [`BATCH_BYTES`].
fn cut(batch: Vec<Pending>) -> Vec<Vec<Pending>> {
    let mut entries = Vec::new();
    let mut entry = Vec::new();
    let mut bytes = 0;
    for pending in batch {
        let length = pending.write.encoded_len();
        if bytes + length > BATCH_BYTES && !entry.is_empty() {
            entries.push(std::mem::take(&mut entry));
            bytes = 0;
        }
        bytes += length;
        entry.push(pending);
    }
    if !entry.is_empty() {
        entries.push(entry);
    }
    entries
}

async fn propose(host: Arc<DataHost>, batch: Vec<Pending>) {
    let (writes, answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|pending| (pending.write, pending.answer)).unzip();
    let started = time::now();
    let count = writes.len();
    let result = match host.reigning() {
        Ok(reigning) => propose_in(&host, reigning.term, writes).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(outcomes) if outcomes.len() == count => {
            host.metrics.wrote(count, started.elapsed());
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                let _ = answer.send(Ok(outcome));
            }
        }
        Ok(_) => {
            answer_all(answers, &Error::new(Reason::Bug, "apply gave another number of results than writes"))
        }
        Err(error) => answer_all(answers, &error),
    }
}

async fn propose_in(host: &DataHost, term: u64, writes: Vec<ClientWrite>) -> Result<Vec<WriteOutcome>> {
    let entry = Entry::Writes(Writes { hint: host.hint(), writes });
    let bytes = entry.encode().map_err(|error| Error::new(Reason::Bug, error.to_string()))?;
    match host.replica.propose(term, bytes).await {
        Ok((_, Outcome::Writes(outcomes))) => Ok(outcomes),
        Ok(_) => Err(Error::new(Reason::Bug, "apply answered writes with something else")),
        Err(ProposeError::NotLeader { .. }) => Err(host.not_owner()),
        Err(ProposeError::Full) => Err(disk_full()),
        Err(ProposeError::Unknown | ProposeError::Stopped) => Err(outcome_unknown()),
    }
}

fn answer_all(answers: Vec<oneshot::Sender<Result<WriteOutcome>>>, error: &Error) {
    for answer in answers {
        // Who is gone does not want the answer any more.
        let _ = answer.send(Err(error.clone()));
    }
}
