//! Copies: what is missing is made, what is damaged is replaced, what is lost is struck (protocols §7.5).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lamina_engine::tree::TableRecord;
use lamina_env::time::{self, Duration};
use lamina_group::data::GroupView;
use lamina_group::data::entry::{SetBan, SetCopies};
use lamina_peers::data::{CopySource, CopyTable, DropCopy};
use lamina_peers::view::NodeState;
use lamina_placement::copies::{Standing, audit, repair_target};
use lamina_types::{Error, NodeId, Reason, Result, Role, TableId};

use crate::host::NotDone;
use crate::lead::work::Work;
use crate::reports::Reports;

/// How often all tables are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// What a copy of one table may take.
const COPY_DEADLINE_MS: u64 = 60_000;
/// Copies that are made at once.
const AT_ONCE: usize = 2;

/// One copy to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repair {
    /// The table.
    pub table: TableId,
    /// Where.
    pub node: NodeId,
    /// What is there is damaged.
    pub replace: bool,
}

/// Looks after copies for ever.
pub async fn run(work: Work, reports: Arc<Reports>) {
    loop {
        let _ = time::timeout(LOOK, reports.news.notified()).await;
        ban_lost_nodes(&work).await;
        for report in reports.take_copies(work.host.group) {
            let listed = |record: &Arc<TableRecord>| record.copies.contains_key(&report.node);
            if work.view().table(report.table).is_some_and(listed) {
                let replace = !report.absent;
                let _ = repair(&work, Repair { table: report.table, node: report.node, replace }).await;
            }
        }
        look_after_all(&work).await;
    }
}

/// Forbids new copies on data nodes that were declared lost, and allows them on those that are back.
async fn ban_lost_nodes(work: &Work) {
    let Ok(cluster) = work.links.view() else { return };
    let view = work.view();
    for node in cluster.nodes_of(Role::Data) {
        let banned = matches!(node.state, NodeState::Dead | NodeState::Draining | NodeState::Drained);
        let stored = view.bans.get(&node.node);
        let differs = stored.is_none_or(|ban| ban.epoch < node.state_epoch && (ban.banned || banned));
        if (banned || stored.is_some()) && differs {
            let entry = SetBan { node: node.node, epoch: node.state_epoch, banned };
            if let Err(error) = work.propose(entry).await {
                tracing::debug!(node = %node.node, ?error, "a ban was not taken");
            }
        }
    }
}

async fn look_after_all(work: &Work) {
    let Ok(cluster) = work.links.view() else { return };
    let view = work.view();
    let standing: BTreeMap<NodeId, Standing> = cluster
        .nodes_of(Role::Data)
        .map(|node| {
            let standing = match node.state {
                NodeState::Active | NodeState::Joining => Standing::Holds,
                NodeState::Draining | NodeState::Drained => Standing::Leaves,
                NodeState::Dead | NodeState::Removed => Standing::Lost,
            };
            (node.node, standing)
        })
        .collect();
    let sites = work.sites();
    let mut repairs = Vec::new();
    for tablet in view.tablets.iter() {
        for table in tablet.tree.tables() {
            let Some(record) = view.table(table) else { continue };
            let copies: Vec<NodeId> = record.copies.keys().copied().collect();
            let audit = audit(tablet.id, &copies, view.config.data_replication, &standing, &sites);
            if !audit.superfluous.is_empty() {
                strike(work, &view, table, &audit.superfluous).await;
            } else if audit.missing > 0
                && let Some(node) = repair_target(tablet.id, &copies, &sites)
            {
                repairs.push(Repair { table, node, replace: false });
            }
        }
    }
    for some in repairs.chunks(AT_ONCE) {
        futures::future::join_all(some.iter().map(|one| repair(work, *one))).await;
    }
}

/// Makes one copy, and says in the log that it is there; whether it did, or somebody else does.
pub async fn repair(work: &Work, repair: Repair) -> bool {
    let Repair { table, node, replace } = repair;
    // Somebody else of this process makes it already.
    let Some(stamp) = work.reigning.ledger.begin_copy(table, node) else { return true };
    let result = make_copy(work, repair, stamp).await;
    match &result {
        Ok(()) => {
            work.metrics.repairs.inc();
            tracing::info!(%table, %node, replace, "a copy was made");
        }
        Err(NotDone::Unknown) => {
            // The order stays open in the ledger (rule G4): nothing that it names is dropped in this reign.
            return true;
        }
        Err(error) => tracing::debug!(%table, %node, ?error, "a copy could not be made; it is tried again"),
    }
    work.reigning.ledger.end_copy(table, node);
    result.is_ok()
}

async fn make_copy(work: &Work, repair: Repair, stamp: lamina_types::CopyStamp) -> Result<(), NotDone> {
    let Repair { table, node, replace } = repair;
    let view = work.view();
    let record = view.table(table).ok_or_else(|| NotDone::NotProposed(gone(table)))?;
    let cluster = work.links.view().map_err(NotDone::NotProposed)?;
    let others = record.copies.keys().filter(|other| **other != node);
    let from: Vec<CopySource> = others
        .filter_map(|other| {
            let known = cluster.node(*other).filter(|known| known.state != NodeState::Dead)?;
            Some(CopySource { node: *other, address: known.address.clone() })
        })
        .collect();
    if from.is_empty() {
        return Err(NotDone::NotProposed(Error::new(
            Reason::DataLoss,
            format!("no other copy of table {table} is left to copy from"),
        )));
    }
    let (peer, context) = work.links.data(node, COPY_DEADLINE_MS).map_err(NotDone::NotProposed)?;
    let call = peer.call(context, CopyTable { table, stamp, from, replace });
    let sealed = time::timeout(Duration::from_millis(COPY_DEADLINE_MS), call)
        .await
        .unwrap_or_else(|_| Err(Error::new(Reason::DeadlineExceeded, "the copy took too long")))
        .map_err(NotDone::NotProposed)?;
    // The record may have changed while the bytes were on their way.
    let view = work.view();
    let record = view.table(table).ok_or_else(|| NotDone::NotProposed(gone(table)))?;
    let mut copies = record.copies.clone();
    copies.insert(node, sealed.stamp.max(stamp));
    let entry = SetCopies { reign: work.reigning.reign, table, rev: record.copies_rev, copies };
    work.propose(entry).await.map(|_| ())
}

/// Takes copies out of a record; those on nodes that live are dropped then.
async fn strike(work: &Work, view: &GroupView, table: TableId, superfluous: &[NodeId]) {
    let Some(record) = view.table(table) else { return };
    let mut copies = record.copies.clone();
    let struck: BTreeMap<_, _> =
        superfluous.iter().filter_map(|node| Some((*node, copies.remove(node)?))).collect();
    if copies.is_empty() || struck.is_empty() {
        return;
    }
    let entry = SetCopies { reign: work.reigning.reign, table, rev: record.copies_rev, copies };
    if let Err(error) = work.propose(entry).await {
        tracing::debug!(%table, ?error, "copies were not struck");
        return;
    }
    for (node, up_to) in struck {
        if let Ok((peer, context)) = work.links.data(node, 5_000) {
            // What does not arrive is dropped by the sweep.
            let _ =
                time::timeout(Duration::from_secs(5), peer.call(context, DropCopy { table, up_to })).await;
        }
    }
}

/// Live tables that lack copies on nodes that take part, and the tables of which each has its only one there.
pub fn under_replicated(work_view: &GroupView, alive: &BTreeSet<NodeId>) -> u64 {
    let wanted = work_view.config.data_replication as usize;
    let lacks =
        |record: &Arc<TableRecord>| record.copies.keys().filter(|node| alive.contains(node)).count() < wanted;
    work_view.live_tables().filter(|(_, record)| lacks(record)).count() as u64
}

fn gone(table: TableId) -> Error {
    Error::new(Reason::StateMoved, format!("table {table} left while a copy was made"))
}
