//! Flush: the memtable that is largest becomes tables (protocols §7.2).
//!
//! Rotate when the active memtables of the group hold a third of the budget; build from the oldest memory view of a
//! tablet; store the tables, install their index parts, and only then say in the log that they replace the memory
//! view. A crash between any two steps leaves orphan bytes, never a hole.

use std::sync::Arc;

use lamina_engine::merge::{Cutter, DropRules, MemoryCursor, Merge, MergeStep, ReadAhead};
use lamina_engine::tree::TableRecord;
use lamina_engine::{BuildError, BuiltTable, Codec, FilterKind, TableBuilder, TableSpec};
use lamina_env::task;
use lamina_env::time::{self, Duration};
use lamina_group::data::entry::{CommitFlush, NewTable, RotateMemtable};
use lamina_group::data::{GroupView, MemoryView, Refusal, TabletView};
use lamina_peers::data::{CopyTarget, Seal};
use lamina_peers::index::Part;
use lamina_types::{Error, Reason, Result, TableId, TabletId, Version};

use crate::hand::tables::TableFile;
use crate::heart::throttle::Fullness;
use crate::host::NotDone;
use crate::lead::work::{Unproposed, Work};
use crate::metrics::Running;

/// How often fullness is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// After a flush that failed.
const RETRY: Duration = Duration::from_millis(500);
/// Where the tables of a flush are cut.
const TABLE_BYTES: u64 = 64 << 20;
/// The bound of runs over one key.
const RUNS_MAX: usize = 20;

/// Flushes for ever.
pub async fn run(work: Work) {
    loop {
        let view = work.view();
        if let Some((tablet, memory)) = oldest_memory(&view) {
            match flush(&work, &view, tablet, memory).await {
                Ok(()) => work.wake.notify_waiters(),
                Err(error) => {
                    work.metrics.flushes_failed.inc();
                    tracing::warn!(group = %work.host.group, tablet = %tablet.id, %error, "a flush failed; it is tried again");
                    time::sleep(RETRY).await;
                }
            }
            continue;
        }
        if active_bytes(&view) >= view.config.memtable_bytes / 3 {
            rotate_largest(&work, &view).await;
            continue;
        }
        time::sleep(LOOK).await;
    }
}

/// Tells the throttle for ever how full the group is: also while a flush takes long, which is when it matters.
pub async fn press(work: Work) {
    loop {
        set_pressure(&work, &work.view());
        time::sleep(LOOK).await;
    }
}

/// Flushes everything that is in memory now: for `lamina flush`, and before a split of hot tablets.
///
/// # Errors
/// The reign is over, or the store cannot write tables.
pub async fn flush_all(work: &Work) -> Result<()> {
    let view = work.view();
    for tablet in view.tablets.iter().filter(|tablet| !tablet.active.is_empty()) {
        loop {
            match work.propose(RotateMemtable { reign: work.reigning.reign, tablet: tablet.id }).await {
                Err(NotDone::Refused(Refusal::TooManyImmutables { .. })) => time::sleep(LOOK).await,
                Ok(_) | Err(NotDone::Refused(_)) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    // The flow above takes it from here. What became immutable later is not waited for.
    let last = work.view().applied;
    let is_flushed = |tablet: &Arc<TabletView>| tablet.memory.iter().all(|memory| memory.rotated_at > last);
    while !work.view().tablets.iter().all(is_flushed) {
        if !work.host.leads() {
            return Err(work.host.not_owner());
        }
        time::sleep(LOOK).await;
    }
    Ok(())
}

fn set_pressure(work: &Work, view: &GroupView) {
    let runs = view.tablets.iter().map(|tablet| tablet.tree.runs_over_max()).max().unwrap_or(0);
    work.host.throttle.set(Fullness {
        memtable_bytes: view.memtable_bytes(),
        memtable_bytes_max: view.config.memtable_bytes,
        runs,
        runs_max: RUNS_MAX,
    });
}

/// The oldest memory view of the tablet with the most memory in such views.
fn oldest_memory(view: &GroupView) -> Option<(&Arc<TabletView>, &MemoryView)> {
    let waiting = view.tablets.iter().filter(|tablet| !tablet.memory.is_empty());
    let fullest =
        waiting.max_by_key(|tablet| tablet.memory.iter().map(|it| it.memtable.bytes()).sum::<usize>())?;
    Some((fullest, fullest.oldest_memory()?))
}

fn active_bytes(view: &GroupView) -> u64 {
    view.tablets.iter().map(|tablet| tablet.active.bytes() as u64).sum()
}

async fn rotate_largest(work: &Work, view: &GroupView) {
    let Some(largest) = view.tablets.iter().max_by_key(|tablet| tablet.active.bytes()) else { return };
    let entry = RotateMemtable { reign: work.reigning.reign, tablet: largest.id };
    if let Err(error) = work.propose(entry).await {
        tracing::debug!(tablet = %largest.id, ?error, "the memtable was not rotated");
        time::sleep(LOOK).await;
    }
}

async fn flush(work: &Work, view: &GroupView, tablet: &TabletView, memory: &MemoryView) -> Result<()> {
    let started = time::now();
    let _running = Running::begin(&work.metrics.flushes_running);
    let bytes = memory.memtable.bytes() as u64;
    let floor = view.read_floor;
    let mut unproposed = Unproposed::new(work);
    let built = build_all(work, tablet, memory, floor, &mut unproposed).await?;
    let mut tables = Vec::new();
    let mut parts = Vec::new();
    for one in built {
        let stored = store(work, view, one).await?;
        work.metrics.flushed_bytes.inc_by(stored.table.record.file_bytes);
        parts.push(stored.part);
        tables.push(stored.table);
    }
    if !parts.is_empty() {
        work.tables.install(tablet.shard, parts).await;
    }
    let names: Vec<TableId> = tables.iter().map(|table| table.table).collect();
    let entry = CommitFlush {
        reign: work.reigning.reign,
        tablet: tablet.id,
        rotated_at: memory.rotated_at,
        range: memory.range.clone(),
        floor,
        tables,
    };
    unproposed.propose();
    let result = work.propose(entry).await;
    work.settle(names, &result);
    result?;
    work.host.throttle.flushed(bytes, started.elapsed());
    work.metrics.flushes.inc();
    tracing::debug!(tablet = %tablet.id, bytes, took = ?started.elapsed(), "flushed");
    Ok(())
}

/// A table that was built, with its name and where its copies go.
struct Built {
    table: TableId,
    targets: Vec<CopyTarget>,
    pieces: Vec<bytes::Bytes>,
    built: BuiltTable,
}

/// Builds the tables of a memory view: several if it is larger than one.
async fn build_all(
    work: &Work,
    tablet: &TabletView,
    memory: &MemoryView,
    floor: Version,
    unproposed: &mut Unproposed,
) -> Result<Vec<Built>> {
    let (shard, tablet) = (tablet.shard, tablet.id);
    let settings = work.links.view()?.settings.clone();
    let count = (memory.memtable.bytes() as u64 / TABLE_BYTES) as usize + 2;
    let mut names = Vec::new();
    for _ in 0..count {
        let named = work.name_table(tablet, shard).ok_or_else(|| {
            Error::new(Reason::NotReady, "fewer data nodes than a write quorum take copies; waiting for more")
        })?;
        unproposed.add(named.0);
        names.push(named);
    }
    let cursor = memory.memtable.cursor(memory.range.clone());
    let unused: Vec<TableId> = names.iter().map(|(table, _)| *table).collect();
    let block_bytes = settings.block_bytes as usize;
    let build = move || build(Box::new(cursor), names, tablet, block_bytes, floor);
    let built = task::compute(build)
        .await
        .map_err(|error| Error::new(Reason::Bug, format!("building a table failed: {error}")))?
        .map_err(|error| Error::new(Reason::Bug, format!("building a table failed: {error}")))?;
    for table in unused {
        if !built.iter().any(|built| built.table == table) {
            work.reigning.ledger.unused(table);
        }
    }
    Ok(built)
}

fn build(
    cursor: MemoryCursor,
    names: Vec<(TableId, Vec<CopyTarget>)>,
    tablet: TabletId,
    block_bytes: usize,
    floor: Version,
) -> Result<Vec<Built>, BuildError> {
    let rules = DropRules { floor, bottom: false };
    let mut merge = Merge::new(vec![cursor], Vec::new(), rules, ReadAhead::SCAN);
    let mut cutter = Cutter::new(TABLE_BYTES);
    let mut names = names.into_iter();
    let mut open: Option<(TableId, Vec<CopyTarget>, TableBuilder, Vec<bytes::Bytes>)> = None;
    let mut done = Vec::new();
    // Memory needs nothing from elsewhere, so a step is an entry or the end.
    while let MergeStep::Entry(entry) = merge.step() {
        let bytes = open.as_ref().map_or(0, |(_, _, builder, _)| builder.data_bytes());
        // Without a further name the table in work grows beyond its target.
        if cutter.cuts_before(&entry.key, bytes)
            && names.len() > 0
            && let Some((table, targets, builder, pieces)) = open.take()
        {
            done.push(Built { table, targets, pieces, built: builder.finish()? });
        }
        if open.is_none() {
            let Some((table, targets)) = names.next() else { break };
            let mut spec = TableSpec::new(table, tablet);
            spec.block_bytes = block_bytes;
            spec.codec = Codec::Lz4;
            // A key has many runs over it up here, and few keys are in them: the filter that hardly ever errs.
            spec.filter = FilterKind::Fuse16;
            open = Some((table, targets, TableBuilder::new(spec), Vec::new()));
        }
        if let Some((_, _, builder, pieces)) = &mut open {
            builder.add(&entry)?;
            pieces.append(&mut builder.take_data());
        }
    }
    if let Some((table, targets, builder, pieces)) = open {
        done.push(Built { table, targets, pieces, built: builder.finish()? });
    }
    Ok(done)
}

struct Stored {
    table: NewTable,
    part: Part,
}

/// Stores one table at a write quorum of its data nodes.
async fn store(work: &Work, view: &GroupView, built: Built) -> Result<Stored> {
    let Built { table, targets, mut pieces, built } = built;
    pieces.push(built.rest.clone());
    let seal = Seal { file_bytes: built.file_bytes, footer_crc: built.footer_crc };
    let file = TableFile { table, pieces, seal };
    let quorum = view.config.write_quorum() as usize;
    let copies = work.tables.store(&file, &targets, quorum).await?;
    let mut record = TableRecord::new(
        &built.properties,
        built.file_bytes,
        built.index_part.len() as u64,
        built.footer_crc,
        built.index_crc,
    );
    record.copies = copies;
    Ok(Stored { table: NewTable { table, record }, part: Part { table, bytes: built.index_part } })
}
