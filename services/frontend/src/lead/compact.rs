//! Compaction: the leader picks and commits, a data node merges next to the data (protocols §7.3).

use bytes::Bytes;
use lamina_engine::compaction::merge_whole;
use lamina_engine::tree::TableRecord;
use lamina_engine::{IndexPart, Policy, Task, TreeStats, pick};
use lamina_env::task;
use lamina_env::time::{self, Duration};
use lamina_group::data::entry::{CommitCompaction, NewTable, RaiseFloor};
use lamina_group::data::{GroupView, Outcome, TabletView};
use lamina_peers::data::{
    BlockCodec, CancelJob, Compact, CompactionInput, CompactionOutput, CopySource, JobId, JobProgress,
    JobState, TableBuild, WrittenTable,
};
use lamina_peers::index::Part;
use lamina_types::{Error, NodeId, Reason, Result, TableId, Version};

use crate::lead::floor::KEEP_MS;
use crate::lead::flush::flush_all;
use crate::lead::parts::tail_on;
use crate::lead::work::{Entered, Unproposed, Work};
use crate::metrics::Running;

/// How often trees are looked at when nothing wakes the flow.
const LOOK: Duration = Duration::from_millis(500);
/// Between two questions about a job.
const ASK: Duration = Duration::from_millis(100);
/// A job whose node does not answer for so long is given up.
const SILENT: Duration = Duration::from_secs(20);
/// What one call may take.
const DEADLINE_MS: u64 = 5_000;
/// Jobs of one group at once.
const JOBS_MAX: usize = 3;
/// After a job that failed.
const RETRY: Duration = Duration::from_secs(1);

/// Compacts for ever.
pub async fn run(work: Work) {
    let policy = policy(&work);
    loop {
        while work.jobs.0.lock().len() < JOBS_MAX {
            let Some((number, tablet, picked)) = next(&work, &policy) else { break };
            let work = work.clone();
            // In the reign's task group: it ends with the reign.
            drop(task::spawn(async move {
                if let Err(error) = compact(&work, number, &tablet, &picked).await {
                    tracing::warn!(tablet = %tablet.id, %error, "a compaction failed; it is picked again");
                    time::sleep(RETRY).await;
                }
                work.jobs.0.lock().remove(&number);
                work.wake.notify_waiters();
            }));
        }
        work.rest(LOOK).await;
    }
}

/// Flushes, then merges everything, one job after the other: for `lamina compact`.
///
/// # Errors
/// The reign is over, or a merge failed.
pub async fn compact_all(work: &Work) -> Result<()> {
    flush_all(work).await?;
    let limit = policy(work).job_bytes_max;
    // Everything before this key is merged.
    let mut from = Bytes::new();
    loop {
        if !work.host.leads() {
            return Err(work.host.not_owner());
        }
        let view = work.view();
        let next = view.tablets.iter().find_map(|tablet| {
            let start = from.clone().max(tablet.range.start.clone());
            let stats =
                TreeStats { tree: &tablet.tree, tables: &view.tables, running: &[], floor: view.read_floor };
            Some((tablet, merge_whole(&stats, &start, limit)?))
        });
        let Some((tablet, picked)) = next else { return Ok(()) };
        if work.jobs.0.lock().values().any(|(busy, _)| *busy == tablet.id) {
            work.rest(LOOK).await;
            continue;
        }
        let number = work.reigning.ledger.job();
        let end = picked.span.end.clone();
        let _entered = Entered::new(work, number, tablet.id, picked.clone());
        compact(work, number, tablet, &picked).await?;
        match end {
            Some(end) => from = end,
            None => return Ok(()),
        }
    }
}

fn policy(work: &Work) -> Policy {
    let table_bytes = work.links.view().map_or(64 << 20, |view| view.settings.table_bytes);
    Policy { table_bytes, ..Policy::default() }
}

/// The next job of the tablet with the highest stack, entered among the running ones.
fn next(work: &Work, policy: &Policy) -> Option<(u32, std::sync::Arc<TabletView>, Task)> {
    let view = work.view();
    let mut tablets: Vec<_> = view.tablets.iter().collect();
    tablets.sort_by_key(|tablet| std::cmp::Reverse(tablet.tree.runs_over_max()));
    let mut jobs = work.jobs.0.lock();
    for tablet in tablets {
        let running: Vec<Task> =
            jobs.values().filter(|(busy, _)| *busy == tablet.id).map(|(_, task)| task.clone()).collect();
        let stats =
            TreeStats { tree: &tablet.tree, tables: &view.tables, running: &running, floor: view.read_floor };
        if let Some(picked) = pick(&stats, policy) {
            let number = work.reigning.ledger.job();
            jobs.insert(number, (tablet.id, picked.clone()));
            return Some((number, tablet.clone(), picked));
        }
    }
    None
}

async fn compact(work: &Work, number: u32, tablet: &TabletView, picked: &Task) -> Result<()> {
    let _running = Running::begin(&work.metrics.compactions_running);
    let compacted = try_compact(work, number, tablet, picked).await;
    match &compacted {
        Ok(()) => {
            work.metrics.compactions.inc();
            work.metrics.compacted_bytes.inc_by(picked.input_bytes);
        }
        Err(_) => {
            work.metrics.compactions_failed.inc();
        }
    }
    compacted
}

async fn try_compact(work: &Work, number: u32, tablet: &TabletView, picked: &Task) -> Result<()> {
    let floor = raise_floor(work).await?;
    let view = work.view();
    let job = JobId { group: work.host.group, reign: work.reigning.reign, n: number };
    let mut names = Unproposed::new(work);
    let request = request(work, &view, tablet, picked, job, floor, &mut names)?;
    let given: Vec<TableId> = request.outputs.iter().map(|output| output.table).collect();
    let written = run_job(work, &view, picked, request).await?;
    for table in given.iter().filter(|table| !written.iter().any(|written| written.table == **table)) {
        work.reigning.ledger.refused(*table);
    }
    commit(work, &view, tablet, picked, floor, written, names).await
}

/// Raises the floor as far as readers allow; what it is after that is the floor of the job.
async fn raise_floor(work: &Work) -> Result<Version> {
    let view = work.view();
    let to = view.floor_target(work.host.scans.lowest(), KEEP_MS);
    if to <= view.read_floor {
        return Ok(view.read_floor);
    }
    match work.propose(RaiseFloor { reign: work.reigning.reign, to }).await? {
        Outcome::FloorRaised { floor } => Ok(floor),
        _ => Ok(view.read_floor),
    }
}

fn request(
    work: &Work,
    view: &GroupView,
    tablet: &TabletView,
    picked: &Task,
    job: JobId,
    floor: Version,
    names: &mut Unproposed,
) -> Result<Compact> {
    let cluster = work.links.view()?;
    let address = |node: NodeId| cluster.node(node).map(|node| node.address.clone()).unwrap_or_default();
    let mut inputs = Vec::new();
    for run in &picked.runs {
        let mut views = Vec::new();
        for input in run {
            let record = view.table(input.table).ok_or_else(|| gone(input.table))?;
            let copies = record
                .copies
                .keys()
                .map(|node| CopySource { node: *node, address: address(*node) })
                .collect();
            views.push(CompactionInput {
                table: input.table,
                origin: record.origin,
                range: input.range.clone(),
                copies,
            });
        }
        inputs.push(views);
    }
    let settings = &cluster.settings;
    // Compressed anew, outputs may come out larger than their inputs: a few names more than the bytes ask for.
    // A job without enough of them fails, and would fail each time that it is picked.
    let full = picked.input_bytes / settings.table_bytes.max(1);
    let count = full + full / 2 + 4;
    let mut outputs = Vec::new();
    for _ in 0..count {
        let named = work.name_table(tablet.id, tablet.shard);
        let (table, targets) = named.ok_or_else(|| {
            Error::new(Reason::NotReady, "fewer data nodes than a write quorum take copies; waiting for more")
        })?;
        names.add(table);
        outputs.push(CompactionOutput { table, targets });
    }
    Ok(Compact {
        job,
        tablet: tablet.id,
        range: tablet.range.clone(),
        inputs,
        floor,
        bottom: picked.bottom,
        outputs,
        build: TableBuild {
            block_bytes: settings.block_bytes,
            table_bytes: settings.table_bytes,
            codec: if picked.bottom { BlockCodec::Zstd } else { BlockCodec::Lz4 },
            write_quorum: view.config.write_quorum(),
            last_run: picked.bottom,
            level: picked.level,
        },
    })
}

/// Gives the job to the data node with most of the inputs, and asks until it is done.
async fn run_job(
    work: &Work,
    view: &GroupView,
    picked: &Task,
    request: Compact,
) -> Result<Vec<WrittenTable>> {
    let node = worker(work, view, picked)?;
    let result = run_on(work, node, request).await;
    if result.is_err() {
        work.room.shun(node);
    }
    result
}

async fn run_on(work: &Work, node: NodeId, request: Compact) -> Result<Vec<WrittenTable>> {
    let job = request.job;
    let cancel = CancelOnDrop { work: work.clone(), node, job, done: false };
    let mut state = call(work, node, request).await?;
    let mut heard = time::now();
    let mut cancel = cancel;
    loop {
        match state {
            JobState::Running { .. } => {}
            JobState::Done { outputs } => {
                cancel.done = true;
                return Ok(outputs);
            }
            JobState::Failed { why, damaged } => {
                cancel.done = true;
                let error = Error::new(Reason::Unreachable, why);
                return Err(match damaged {
                    Some(table) => error.with("damaged", table),
                    None => error,
                });
            }
            JobState::Unknown => {
                cancel.done = true;
                return Err(Error::new(Reason::NotFound, "the data node does not know the job any more"));
            }
        }
        time::sleep(ASK).await;
        state = match call(work, node, JobProgress { job }).await {
            Ok(state) => {
                heard = time::now();
                state
            }
            Err(error) if heard.elapsed() > SILENT => return Err(error),
            Err(_) => JobState::Running { read_bytes: 0, input_bytes: 0 },
        };
    }
}

async fn call<O>(work: &Work, node: NodeId, operation: O) -> Result<O::Answer>
where
    O: lamina_peers::Operation<lamina_peers::data::DataRequest, lamina_peers::data::DataAnswer>,
{
    let (peer, context) = work.links.data(node, DEADLINE_MS)?;
    time::timeout(Duration::from_millis(DEADLINE_MS), peer.call(context, operation))
        .await
        .unwrap_or_else(|_| Err(Error::new(Reason::Unreachable, "the data node did not answer in time")))
}

/// The data node that holds most of the inputs, in turn among equals; one that failed lately only if all did: else a
/// node that hangs or is full would get the same job again and again.
fn worker(work: &Work, view: &GroupView, picked: &Task) -> Result<NodeId> {
    let tables: std::collections::BTreeSet<TableId> =
        picked.runs.iter().flatten().map(|input| input.table).collect();
    let bytes_on = |node: NodeId| -> u64 {
        let records = tables.iter().filter_map(|table| view.table(*table));
        records.filter(|record| record.copies.contains_key(&node)).map(|record| record.file_bytes).sum()
    };
    let sites = work.sites();
    let turn = work.reigning.ledger.job() as usize;
    let count = sites.len().max(1);
    let ranked = sites.iter().enumerate().map(|(at, site)| (at, site.site.node));
    ranked
        .max_by_key(|(at, node)| (!work.room.is_shunned(*node), bytes_on(*node), (at + turn) % count))
        .map(|(_, node)| node)
        .ok_or_else(|| Error::new(Reason::NotReady, "no data node takes jobs"))
}

async fn commit(
    work: &Work,
    view: &GroupView,
    tablet: &TabletView,
    picked: &Task,
    floor: Version,
    written: Vec<WrittenTable>,
    unproposed: Unproposed,
) -> Result<()> {
    let names: Vec<TableId> = written.iter().map(|written| written.table).collect();
    let mut outputs = Vec::new();
    let mut parts = Vec::new();
    for mut one in written {
        if one.index_part.is_empty() {
            let nodes: Vec<NodeId> = one.copies.iter().map(|(node, _)| *node).collect();
            one.index_part = tail_on(work, one.table, &nodes).await?;
        }
        let part = IndexPart::parse(one.index_part.clone()).map_err(|corruption| {
            Error::new(Reason::ChecksumMismatch, format!("the index part of a merged table: {corruption}"))
        })?;
        let mut record = TableRecord::new(
            part.properties(),
            one.file_bytes,
            one.index_part.len() as u64,
            one.footer_crc,
            part.crc(),
        );
        record.copies = one.copies.into_iter().collect();
        outputs.push(NewTable { table: one.table, record });
        parts.push(Part { table: one.table, bytes: one.index_part });
    }
    if !parts.is_empty() {
        work.tables.install(tablet.shard, parts).await;
    }
    let entry = CommitCompaction {
        reign: work.reigning.reign,
        tablet: tablet.id,
        inputs: picked.inputs(),
        outputs,
        floor,
        bottom: picked.bottom,
    };
    unproposed.propose();
    let result = work.propose(entry).await;
    work.settle(names, &result);
    if let Outcome::Compacted { left } = result? {
        work.left(view, tablet.shard, left);
    }
    Ok(())
}

/// Tells the data node when the job is not wanted any more.
struct CancelOnDrop {
    work: Work,
    node: NodeId,
    job: JobId,
    done: bool,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let Ok((peer, context)) = self.work.links.data(self.node, DEADLINE_MS) else { return };
        let job = self.job;
        // If it does not arrive, the job ends by itself because nobody asks.
        drop(task::spawn(async move { peer.call(context, CancelJob { job }).await }));
    }
}

fn gone(table: TableId) -> Error {
    Error::new(Reason::StateMoved, format!("table {table} left while its compaction was prepared"))
}
