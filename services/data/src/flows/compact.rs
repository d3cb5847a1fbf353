//! Jobs: tables merged next to their data (protocols §7.3).
//!
//! ```text
//! accept ─ wait for a turn ─ open inputs ─┬─ merge a stretch (beside the tasks) ─┐
//!                                         │  fetch what it needs                 │─ all outputs sealed at W ─ done
//!                                         └─ stream what it wrote to the targets ┘
//! ```
//!
//! Everything that a job writes is garbage until the leader commits it, so a job may be stopped at any moment.

mod inputs;
mod outputs;
mod work;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::BoxFuture;
use lamina_env::task::{self, JoinHandle};
use lamina_env::time;
use lamina_peers::data::{Compact, CopyTable, JobId, JobState, WrittenTable};
use lamina_types::{Error, Reason, Result, TableId};

use crate::flows::compact::inputs::Inputs;
use crate::flows::compact::outputs::Writer;
use crate::flows::compact::work::{Fed, Next, Work, WorkError};
use crate::flows::copy;
use crate::heart::catalogue::Condition;
use crate::heart::jobs::{Accepted, Progress, Ticket};
use crate::node::Node;

/// Tables whose last bytes are on their way while the next one is merged.
const FINISHING_MAX: usize = 2;
/// The longest rest between two turns.
const REST_MAX: time::Duration = time::Duration::from_millis(20);
/// Bounds of the size of blocks that a job may ask for.
const BLOCK_BYTES: std::ops::RangeInclusive<u32> = 512..=(1 << 20);

/// Bytes of index parts in the answer to a question about a job: a message holds twice as much.
const INDEX_BYTES_MAX: usize = 4 << 20;

/// The outputs of a job, ascending by keys.
type Written = Result<Vec<WrittenTable>, JobError>;

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    /// No copy of an input is intact.
    #[error("input {table} is intact on no copy: {why}")]
    Damaged { table: TableId, why: String },
    /// Anything else: an input is gone or cannot be reached, too few copies could be written, a defect.
    #[error("{0}")]
    Failed(String),
}

impl From<WorkError> for JobError {
    fn from(error: WorkError) -> JobError {
        match error {
            WorkError::Damaged(table, corruption) => JobError::Damaged { table, why: corruption.to_string() },
            other => JobError::Failed(other.to_string()),
        }
    }
}

/// Takes a job, or says how far it is if it was taken before.
pub(crate) fn compact(node: &Arc<Node>, request: Compact) -> Result<JobState> {
    check(&request)?;
    let job = request.job;
    let limit = node.options.jobs_max + node.options.jobs_waiting_max;
    let (accepted, stopped) = node.jobs.accept(job, limit, time::now());
    node.metrics.jobs_stopped.inc_by(stopped);
    match accepted {
        Accepted::Known(state) => Ok(state),
        Accepted::Stale(highest) => Err(Error::new(
            Reason::StateRefused,
            format!("the job is of reign {}, and reign {highest} of group {} was seen", job.reign, job.group),
        )),
        Accepted::Full => Err(Error::new(
            Reason::Overloaded,
            format!("{limit} jobs wait or merge on this node; ask another one or later"),
        )
        .retry_after_ms(1_000)),
        Accepted::New(ticket) => {
            node.show_totals();
            node.spawn(carry_out(node.clone(), request, ticket));
            Ok(node.jobs.ask(job, time::now()))
        }
    }
}

/// How far a job is; keeps it going.
pub(crate) fn progress(node: &Node, job: JobId) -> JobState {
    node.metrics.jobs_stopped.inc_by(node.jobs.see(job.group, job.reign));
    node.jobs.ask(job, time::now())
}

/// Stops a job.
pub(crate) fn cancel(node: &Node, job: JobId) -> JobState {
    node.metrics.jobs_stopped.inc_by(u64::from(node.jobs.cancel(job)));
    node.show_totals();
    JobState::Unknown
}

fn check(request: &Compact) -> Result<()> {
    let invalid =
        |why: &str| Err(Error::new(Reason::FieldInvalid, format!("the job cannot be carried out: {why}")));
    if request.inputs.iter().all(Vec::is_empty) {
        return invalid("it has no inputs");
    }
    if !BLOCK_BYTES.contains(&request.build.block_bytes) || request.build.table_bytes == 0 {
        return invalid("the size of blocks or tables is out of bounds");
    }
    let quorum = request.build.write_quorum as usize;
    if quorum == 0
        || request.outputs.is_empty()
        || request.outputs.iter().any(|output| output.targets.len() < quorum)
    {
        return invalid("an output has fewer targets than the write quorum, or there are no outputs");
    }
    Ok(())
}

/// The worker of one job.
async fn carry_out(node: Arc<Node>, request: Compact, mut ticket: Ticket) {
    let request = Arc::new(request);
    let work: BoxFuture<'static, _> =
        Box::pin(work_on(node.clone(), request.clone(), ticket.progress.clone()));
    let outcome = tokio::select! {
        biased;
        () = ticket.stopped() => None,
        outcome = work => Some(outcome),
    };
    let job = ticket.job;
    match outcome {
        None => tracing::info!(?job, "a job was stopped"),
        Some((done, damaged)) => {
            settle(&node, job, done);
            repair(&node, &request, &damaged).await;
        }
    }
    node.show_totals();
}

/// Waits for its turn and merges. Answers also which copies of this node it found to be damaged.
async fn work_on(node: Arc<Node>, request: Arc<Compact>, progress: Arc<Progress>) -> (Written, Vec<TableId>) {
    let _permit = node.merging.acquire().await;
    let mut inputs = Inputs::default();
    let done = merge(&node, &request, &mut inputs, &progress).await;
    (done, inputs.damaged_here())
}

fn settle(node: &Node, job: JobId, done: Written) {
    let state = match done {
        Ok(mut outputs) => {
            if outputs.iter().map(|output| output.index_part.len()).sum::<usize>() > INDEX_BYTES_MAX {
                outputs.iter_mut().for_each(|output| output.index_part = bytes::Bytes::new());
            }
            node.metrics.jobs_done.inc();
            tracing::info!(?job, outputs = outputs.len(), "a job is done");
            JobState::Done { outputs }
        }
        Err(error) => {
            node.metrics.jobs_failed.inc();
            tracing::warn!(?job, %error, "a job failed");
            let damaged = match &error {
                JobError::Damaged { table, .. } => Some(*table),
                JobError::Failed(_) => None,
            };
            JobState::Failed { why: error.to_string(), damaged }
        }
    };
    node.jobs.finish(job, state);
}

/// Replaces copies of this node in which the job found damage; their stamps stay.
async fn repair(node: &Arc<Node>, request: &Compact, damaged: &[TableId]) {
    for table in damaged {
        let input = request.inputs.iter().flatten().find(|input| input.table == *table);
        let here = node.catalogue.get(*table).filter(|here| here.condition == Condition::Damaged);
        let (Some(input), Some(here)) = (input, here) else { continue };
        let order = CopyTable { table: *table, stamp: here.stamp, from: input.copies.clone(), replace: true };
        if let Err(error) = copy::copy_table(node, order).await {
            tracing::warn!(%table, %error, "a damaged copy could not be replaced; the leader's sweep will see to it");
        }
    }
}

/// Opens the inputs, merges them, and answers when every output is sealed at its write quorum.
async fn merge(node: &Arc<Node>, request: &Compact, inputs: &mut Inputs, progress: &Progress) -> Written {
    inputs.open(node, request).await?;
    let (runs, input_bytes) = inputs.runs(request);
    progress.input_bytes.store(input_bytes, Ordering::Relaxed);
    let mut outputs =
        Outputs { node, request, writer: None, finishing: VecDeque::new(), written: Vec::new() };
    let mut work = Work::new(request, runs);
    let mut fed: Vec<Fed> = Vec::new();
    loop {
        let given = std::mem::take(&mut fed);
        let (reads, began) = (node.metrics.blocks_read.get(), time::now());
        let step = task::compute(move || {
            let turn = work.turn(given);
            (work, turn)
        });
        let (back, turn) =
            step.await.map_err(|error| JobError::Failed(format!("the merge ended: {error}")))?;
        work = back;
        let turn = turn?;
        if node.metrics.blocks_read.get() != reads {
            // Others read here: a job rests as long as it works, so that they find a processor free.
            time::sleep(began.elapsed().min(REST_MAX)).await;
        }
        outputs.write(turn.table, turn.data).await?;
        match turn.next {
            Next::Need(blocks) => {
                fed = inputs.fetch(node, &blocks).await?;
                let bytes = fed.iter().map(|fed| fed.stored.len() as u64).sum();
                progress.read_bytes.fetch_add(bytes, Ordering::Relaxed);
                node.metrics.compacted_bytes.inc_by(bytes);
            }
            Next::More => task::yield_now().await,
            Next::TableDone(built) => outputs.finish(*built).await?,
            Next::Done => return outputs.all().await,
        }
    }
}

/// The tables that a job writes, one after the other; the last bytes of some are on their way at the same time.
struct Outputs<'a> {
    node: &'a Arc<Node>,
    request: &'a Compact,
    writer: Option<Writer>,
    finishing: VecDeque<JoinHandle<Result<WrittenTable, JobError>>>,
    written: Vec<WrittenTable>,
}

impl Outputs<'_> {
    /// Streams bytes of output number `table`.
    async fn write(&mut self, table: usize, data: Vec<bytes::Bytes>) -> Result<(), JobError> {
        if data.is_empty() {
            return Ok(());
        }
        self.writer(table)?.write(data).await
    }

    fn writer(&mut self, table: usize) -> Result<&mut Writer, JobError> {
        if self.writer.is_none() {
            let output = self.request.outputs.get(table);
            let output =
                output.ok_or_else(|| JobError::Failed("there are too few names for outputs".to_owned()))?;
            self.writer = Some(Writer::begin(self.node, output, self.request.build.write_quorum as usize));
        }
        self.writer.as_mut().ok_or_else(|| JobError::Failed("an output has no writer".to_owned()))
    }

    /// The rest of a table: it is sealed while the next one is merged.
    async fn finish(&mut self, built: work::Built) -> Result<(), JobError> {
        self.writer(built.output)?;
        if self.finishing.len() >= FINISHING_MAX {
            self.await_one().await?;
        }
        if let Some(writer) = self.writer.take() {
            self.finishing.push_back(task::spawn(writer.finish(self.node.clone(), built.table)));
        }
        Ok(())
    }

    async fn await_one(&mut self) -> Result<(), JobError> {
        if let Some(finishing) = self.finishing.pop_front() {
            let written =
                finishing.await.map_err(|error| JobError::Failed(format!("an output's writer: {error}")))?;
            self.written.push(written?);
        }
        Ok(())
    }

    async fn all(mut self) -> Written {
        while !self.finishing.is_empty() {
            self.await_one().await?;
        }
        Ok(self.written)
    }
}
