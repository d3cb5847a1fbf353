//! Splits: tablets are cut in two early, so that all index nodes work, and later when they grow (protocols §9.1).
//!
//! Both halves view the same tables with clipped ranges and stay on the same index shard at first; then a half gets
//! the least loaded shard: its parts are installed there, the log says so, and the old shard releases them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lamina_engine::{Cursor, IndexPart, Memtable};
use lamina_env::task;
use lamina_env::time::{self, Duration, Instant};
use lamina_group::data::entry::{SetShard, SplitTablet};
use lamina_group::data::{GroupView, TabletView};
use lamina_peers::index::{Part, Release};
use lamina_peers::view::NodeState;
use lamina_placement::shards::shard_for_tablet;
use lamina_placement::tablets::{SplitPolicy, TabletLoad, split_next};
use lamina_types::{KeyRange, NodeId, Result, Role, ShardId, TableId, TabletId};

use crate::lead::parts::tail;
use crate::lead::work::Work;

/// How often tablets are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Before a tablet is tried again that could not be split: one key may fill it.
const REST: Duration = Duration::from_secs(10);

/// Splits for ever.
pub async fn run(work: Work) {
    let mut tried: BTreeMap<TabletId, Instant> = BTreeMap::new();
    loop {
        time::sleep(LOOK).await;
        let view = work.view();
        tried.retain(|_, until| *until > time::now());
        if let Some(tablet) = next_split(&work, &view, &tried) {
            tried.insert(tablet.id, time::now() + REST);
            match split(&work, &view, &tablet).await {
                Ok(true) => drop(tried.remove(&tablet.id)),
                Ok(false) => {}
                Err(error) => tracing::debug!(tablet = %tablet.id, %error, "a tablet was not split"),
            }
        } else if let Some((tablet, shard)) = next_shard(&work, &view)
            && let Err(error) = set_shard(&work, &tablet, shard).await
        {
            tracing::debug!(tablet = %tablet.id, %error, "a tablet did not get its own shard");
        }
    }
}

fn next_split(work: &Work, view: &GroupView, tried: &BTreeMap<TabletId, Instant>) -> Option<Arc<TabletView>> {
    let cluster = work.links.view().ok()?;
    let policy = SplitPolicy::for_tables_of(cluster.settings.table_bytes);
    let frontends = cluster.nodes_of(Role::Frontend).filter(|node| node.state == NodeState::Active).count();
    let busy = work.jobs.0.lock().values().map(|(tablet, _)| *tablet).collect::<Vec<_>>();
    // A table that both halves of an earlier split view counts for each by its share.
    let mut viewers: BTreeMap<TableId, u64> = BTreeMap::new();
    for named in view.tablets.iter().flat_map(|tablet| tablet.tree.views()) {
        *viewers.entry(named.table).or_default() += 1;
    }
    let share = |table: TableId| {
        let bytes = view.table(table).map_or(0, |record| record.file_bytes);
        bytes / viewers.get(&table).copied().unwrap_or(1).max(1)
    };
    let loads: Vec<TabletLoad> = view
        .tablets
        .iter()
        .map(|tablet| TabletLoad {
            tablet: tablet.id,
            bytes: tablet.tree.views().map(|named| share(named.table)).sum::<u64>() + tablet.memtable_bytes(),
            cores: 0.0,
            splittable: !busy.contains(&tablet.id) && !tried.contains_key(&tablet.id),
        })
        .collect();
    let id = split_next(&policy, u32::try_from(frontends).unwrap_or(u32::MAX), &loads)?;
    view.tablet(id).cloned()
}

/// Splits a tablet; whether it has a key to split at.
async fn split(work: &Work, view: &GroupView, tablet: &Arc<TabletView>) -> Result<bool> {
    let Some(at) = split_key(work, view, tablet).await? else { return Ok(false) };
    let entry =
        SplitTablet { reign: work.reigning.reign, tablet: tablet.id, generation: tablet.generation, at };
    work.propose(entry).await?;
    tracing::info!(tablet = %tablet.id, "a tablet was split");
    Ok(true)
}

/// The middle of the largest table's part, by bytes; of the largest memtable if that is larger.
async fn split_key(work: &Work, view: &GroupView, tablet: &Arc<TabletView>) -> Result<Option<Bytes>> {
    let table_bytes = |table: TableId| view.table(table).map_or(0, |record| record.file_bytes);
    let largest = tablet.tree.views().max_by_key(|named| table_bytes(named.table));
    let memtable = tablet.memtables().max_by_key(|memtable| memtable.bytes());
    let memtable_bytes = memtable.map_or(0, |memtable| memtable.bytes() as u64);
    if let Some(named) = largest
        && table_bytes(named.table) >= memtable_bytes
    {
        let part = tail(work, named.table).await?;
        let key = IndexPart::parse(part).ok().and_then(|part| part.split_key(&named.range));
        return Ok(key.filter(|key| is_inside(&tablet.range, key)));
    }
    let Some(memtable) = memtable.cloned() else { return Ok(None) };
    let range = tablet.range.clone();
    let median = task::compute(move || median(&memtable, &range)).await.ok().flatten();
    Ok(median.filter(|key| is_inside(&tablet.range, key)))
}

/// The key in the middle of what a memtable holds of a range.
fn median(memtable: &Arc<Memtable>, range: &KeyRange) -> Option<Bytes> {
    let count = |cursor: &mut dyn Cursor| {
        let mut entries = 0usize;
        cursor.seek_first();
        while cursor.entry().is_some() {
            entries += 1;
            cursor.next();
        }
        entries
    };
    let mut cursor = memtable.cursor(range.clone());
    let middle = count(&mut cursor) / 2;
    cursor.seek_first();
    for _ in 0..middle {
        cursor.next();
    }
    cursor.entry().map(|entry| Bytes::copy_from_slice(entry.key))
}

fn is_inside(range: &KeyRange, key: &Bytes) -> bool {
    *key > range.start && range.contains(key)
}

/// A tablet that shares its shard with another one while some shard has none.
fn next_shard(work: &Work, view: &GroupView) -> Option<(Arc<TabletView>, ShardId)> {
    let cluster = work.links.view().ok()?;
    let map: Vec<Vec<NodeId>> = cluster
        .shards
        .iter()
        .map(|shard| shard.replicas.iter().map(|replica| replica.node).collect())
        .collect();
    let mut loads = vec![0u64; map.len()];
    let mut shared = None;
    for tablet in view.tablets.iter() {
        let load = loads.get_mut(usize::from(tablet.shard.0))?;
        if *load > 0 {
            shared = Some(tablet.clone());
        }
        *load += 1;
    }
    let shard = shard_for_tablet(&map, &loads)?;
    let is_free = loads.get(usize::from(shard.0)) == Some(&0);
    is_free.then_some(())?;
    Some((shared?, shard))
}

async fn set_shard(work: &Work, tablet: &TabletView, shard: ShardId) -> Result<()> {
    let tables: Vec<TableId> = tablet.tree.tables().into_iter().collect();
    for table in &tables {
        let bytes = tail(work, *table).await?;
        work.tables.install(shard, vec![Part { table: *table, bytes }]).await;
    }
    let entry =
        SetShard { reign: work.reigning.reign, tablet: tablet.id, generation: tablet.generation, shard };
    work.propose(entry).await?;
    tracing::info!(tablet = %tablet.id, %shard, "a tablet has a shard of its own");
    release_old(work, tablet.shard, &tables).await;
    Ok(())
}

/// Releases at the old shard what no tablet of it names any more.
async fn release_old(work: &Work, old: ShardId, tables: &[TableId]) {
    let view = work.view();
    let still = view.tables_of_shard(old);
    let tables: Vec<TableId> = tables.iter().copied().filter(|table| !still.contains(table)).collect();
    let Ok(cluster) = work.links.view() else { return };
    let Some(shard) = cluster.shard(old) else { return };
    for replica in &shard.replicas {
        if let Ok((peer, context)) = work.links.index(replica.node, 5_000) {
            let call = peer.call(context, Release { shard: old, tables: tables.clone() });
            let _ = time::timeout(Duration::from_secs(5), call).await;
        }
    }
}
