//! Collection: tables that left are deleted; the sweep finds what earlier reigns and lost messages left behind
//! (protocols §7.4).

use std::collections::{BTreeMap, BTreeSet};

use lamina_env::time::{self, Duration, Instant};
use lamina_peers::data::{DataStat, DeleteTables, DropCopy, ListTables, ListedTable};
use lamina_peers::index::Release;
use lamina_peers::view::ClusterView;
use lamina_types::{Error, Incarnation, NodeId, Reason, Result, Role, ShardId, TableId};
use parking_lot::Mutex;

use crate::heart::ledger::Deletable;
use crate::lead::copies::{Repair, repair};
use crate::lead::work::Work;

/// How often the ledger is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often a data node is swept without a cause.
const SWEEP: Duration = Duration::from_secs(3600);
/// Before a data node is swept again that could not be swept, or where something could not be mended.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest that a node which does not answer is left alone.
const PARK_MAX: Duration = Duration::from_secs(60);
/// What one call may take.
const DEADLINE_MS: u64 = 5_000;
/// Tables in one page of a list.
const PAGE: u32 = 1000;

/// Deletes what left, for ever.
pub async fn run(work: Work) {
    let parked = Parked::default();
    loop {
        work.rest(LOOK).await;
        let gone: Vec<Deletable> = work
            .reigning
            .ledger
            .deletable()
            .into_iter()
            .filter(|gone| !work.host.published.is_named(gone.table))
            .collect();
        if gone.is_empty() {
            continue;
        }
        release(&work, &gone, &parked).await;
        delete(&work, &gone, &parked).await;
        time::sleep(LOOK).await;
    }
}

/// Nodes that did not answer, and since when they are left alone: what waits for one of them is not sent each second.
/// A node that nobody hears of is not asked at all; the sweep at its next start finds what it has.
#[derive(Default)]
struct Parked {
    nodes: Mutex<BTreeMap<NodeId, (Instant, Duration)>>,
    /// Tables whose index parts were given up: once is enough.
    released: Mutex<BTreeSet<TableId>>,
}

impl Parked {
    fn is_parked(&self, cluster: &ClusterView, node: NodeId) -> bool {
        let unseen = cluster.node(node).is_some_and(|known| !known.seen);
        unseen || self.nodes.lock().get(&node).is_some_and(|(until, _)| time::now() < *until)
    }

    fn answered(&self, node: NodeId, did: bool) {
        let mut nodes = self.nodes.lock();
        if did {
            nodes.remove(&node);
            return;
        }
        let wait = nodes.get(&node).map_or(LOOK, |(_, wait)| (*wait * 2).min(PARK_MAX));
        nodes.insert(node, (time::now() + wait, wait));
    }

    /// Those that were not given up before.
    fn first_time<'a>(&self, gone: &'a [Deletable]) -> Vec<&'a Deletable> {
        let mut released = self.released.lock();
        released.retain(|table| gone.iter().any(|one| one.table == *table));
        gone.iter().filter(|one| released.insert(one.table)).collect()
    }
}

/// Gives the index parts up. What does not arrive is found by the index nodes' own comparison.
async fn release(work: &Work, gone: &[Deletable], parked: &Parked) {
    let Ok(view) = work.links.view() else { return };
    let mut by_shard: BTreeMap<ShardId, Vec<TableId>> = BTreeMap::new();
    for one in parked.first_time(gone) {
        by_shard.entry(one.shard).or_default().push(one.table);
    }
    let calls = by_shard.into_iter().flat_map(|(shard, tables)| {
        let replicas = view.shard(shard).map(|view| view.replicas.clone()).unwrap_or_default();
        replicas.into_iter().map(move |replica| (replica.node, Release { shard, tables: tables.clone() }))
    });
    let calls = calls.map(|(node, request)| async move {
        let (peer, context) = work.links.index(node, DEADLINE_MS)?;
        within(peer.call(context, request)).await
    });
    futures::future::join_all(calls).await;
}

async fn delete(work: &Work, gone: &[Deletable], parked: &Parked) {
    let Ok(cluster) = work.links.view() else { return };
    let mut by_node: BTreeMap<NodeId, Vec<TableId>> = BTreeMap::new();
    for one in gone {
        if one.nodes.is_empty() {
            work.reigning.ledger.unused(one.table);
        }
        for node in &one.nodes {
            by_node.entry(*node).or_default().push(one.table);
        }
    }
    let due = by_node.into_iter().filter(|(node, _)| !parked.is_parked(&cluster, *node));
    let calls = due.map(|(node, tables)| async move {
        let result = match work.links.data(node, DEADLINE_MS) {
            Ok((peer, context)) => {
                within(peer.call(context, DeleteTables { tables: tables.clone() })).await.map(|_| ())
            }
            // A node that is not part of the cluster any more has nothing that we could delete.
            Err(_) => Ok(()),
        };
        parked.answered(node, result.is_ok());
        if result.is_ok() {
            for table in tables {
                work.reigning.ledger.deleted(table, node);
                work.metrics.collected.inc();
            }
        }
    });
    futures::future::join_all(calls).await;
}

/// The last sweep of a data node.
struct Swept {
    /// The start of the node that was swept.
    incarnation: Incarnation,
    /// How often that start had found damage before.
    damage_found: u64,
    /// When the next sweep is due.
    due: Instant,
}

/// Sweeps each data node at the beginning of the reign, at each new start of the node, when it has found damage, and
/// hourly.
pub async fn sweep(work: Work) {
    let mut swept: BTreeMap<NodeId, Swept> = BTreeMap::new();
    loop {
        if let Ok(cluster) = work.links.view() {
            for node in cluster.nodes_of(Role::Data).filter(|node| node.seen) {
                // Asked before the list is: what is found in between is swept once more, and never missed.
                let found = learn(&work, node.node).await;
                let last = swept.get(&node.node);
                let due = last.is_none_or(|last| {
                    last.incarnation != node.incarnation
                        || last.due <= time::now()
                        || found.is_some_and(|found| found > last.damage_found)
                });
                if due {
                    let result = sweep_node(&work, node.node).await;
                    if let Err(error) = &result {
                        tracing::debug!(node = %node.node, %error, "a data node could not be swept; it is tried again");
                    }
                    let due = time::now() + if result.is_ok() { SWEEP } else { AGAIN };
                    let (incarnation, damage_found) = (node.incarnation, found.unwrap_or(0));
                    swept.insert(node.node, Swept { incarnation, damage_found, due });
                }
            }
        }
        time::sleep(LOOK).await;
    }
}

/// Learns how much room a data node has, and how often it has found damage; `None`: it does not answer.
async fn learn(work: &Work, node: NodeId) -> Option<u64> {
    let (peer, context) = work.links.data(node, DEADLINE_MS).ok()?;
    let stats = within(peer.call(context, DataStat {})).await.ok()?;
    work.room.set(node, stats.free_bytes, stats.total_bytes);
    Some(stats.damage_found)
}

async fn sweep_node(work: &Work, node: NodeId) -> Result<()> {
    let listed = list(work, node).await?;
    let view = work.view();
    let mut dead = Vec::new();
    let mut bad = Vec::new();
    for one in &listed {
        match view.table(one.table) {
            Some(record) if record.copies.contains_key(&node) => {
                bad.extend(one.damaged.then_some(Repair { table: one.table, node, replace: true }));
            }
            Some(_) => drop_unlisted(work, node, one).await,
            None if work.reigning.ledger.may_delete(one.table)
                && !work.host.published.is_named(one.table) =>
            {
                dead.push(one.table);
            }
            None => {}
        }
    }
    for tables in dead.chunks(PAGE as usize) {
        let (peer, context) = work.links.data(node, DEADLINE_MS)?;
        let deleted = within(peer.call(context, DeleteTables { tables: tables.to_vec() })).await?;
        work.metrics.collected.inc_by(deleted.deleted);
    }
    // What the node should have and does not. The list is older than the view: a copy that came between is only
    // ordered again, which changes nothing.
    let there: BTreeSet<TableId> = listed.iter().map(|one| one.table).collect();
    let lost = view.tables_on(node).map(|(table, _)| table).filter(|table| !there.contains(table));
    bad.extend(lost.map(|table| Repair { table, node, replace: false }));
    let mut left = 0u32;
    for one in bad {
        if !repair(work, one).await && work.view().tables_on(node).any(|(table, _)| table == one.table) {
            left += 1;
        }
    }
    if left == 0 {
        return Ok(());
    }
    Err(Error::new(
        Reason::Unreachable,
        format!("{left} copies that are lost or damaged there were not replaced"),
    ))
}

/// A copy that no record names: left from an order whose outcome nobody waits for any more.
async fn drop_unlisted(work: &Work, node: NodeId, one: &ListedTable) {
    if one.stamp.reign > work.reigning.reign || work.reigning.ledger.is_copying(one.table, node) {
        return;
    }
    // Looked at only now: a copy that was being made when the sweep took its view is listed since (T4).
    let view = work.view();
    if view.table(one.table).is_none_or(|record| record.copies.contains_key(&node)) {
        return;
    }
    if let Ok((peer, context)) = work.links.data(node, DEADLINE_MS) {
        let _ = within(peer.call(context, DropCopy { table: one.table, up_to: one.stamp })).await;
    }
}

async fn list(work: &Work, node: NodeId) -> Result<Vec<ListedTable>> {
    let mut all = Vec::new();
    loop {
        let (peer, context) = work.links.data(node, DEADLINE_MS)?;
        let after = all.last().map(|last: &ListedTable| last.table);
        let request = ListTables { group: work.host.group, after, limit: PAGE };
        let page = within(peer.call(context, request)).await?;
        let empty = page.tables.is_empty();
        all.extend(page.tables);
        if !page.more || empty {
            return Ok(all);
        }
    }
}

async fn within<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    time::timeout(Duration::from_millis(DEADLINE_MS), call)
        .await
        .unwrap_or_else(|_| Err(Error::new(Reason::Unreachable, "the node did not answer in time")))
}
