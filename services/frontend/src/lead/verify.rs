//! Verification: before the volume of a dead data node may be thrown away, every table that names it must have a copy
//! elsewhere that was read and verified since the node died (protocols §10.5, invariant N2).
//!
//! A data node that lives is asked to read its copy through. With three data nodes and three copies that is the only
//! way: nothing can be made anew before the dead node is replaced.

use std::collections::BTreeMap;

use lamina_engine::tree::TableRecord;
use lamina_env::time::{self, Duration};
use lamina_group::data::GroupView;
use lamina_peers::data::VerifyTable;
use lamina_peers::view::{ClusterView, NodeState};
use lamina_types::{Epoch, Error, NodeId, Reason, Result, Role, TableId};
use parking_lot::Mutex;

use crate::hand::blocks::DamagedCopy;
use crate::lead::work::Work;
use crate::reports::Reports;

/// How often dead nodes are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// What reading one table through may take.
const DEADLINE_MS: u64 = 30_000;
/// Before a table is tried again of which no copy could be verified.
const AGAIN: Duration = Duration::from_secs(5);

/// Copies that were read and verified in this reign: for each the epoch of the cluster's view when that began. A death
/// of that epoch or an earlier one came before it.
#[derive(Default)]
pub struct Verified(Mutex<BTreeMap<(TableId, NodeId), Epoch>>);

impl Verified {
    /// A copy was read and verified, which began under this view.
    pub fn note(&self, table: TableId, node: NodeId, epoch: Epoch) {
        let mut copies = self.0.lock();
        let known = copies.entry((table, node)).or_default();
        *known = (*known).max(epoch);
    }

    /// Whether a copy of the table on a node that takes part, other than the lost ones, was verified since `death`.
    fn has_since(&self, table: TableId, record: &TableRecord, cluster: &ClusterView, death: Epoch) -> bool {
        let copies = self.0.lock();
        let verified = |node: &NodeId| copies.get(&(table, *node)).is_some_and(|epoch| *epoch >= death);
        record.copies.keys().any(|node| holds(cluster, *node) && verified(node))
    }

    fn keep_only_live(&self, view: &GroupView) {
        self.0.lock().retain(|(table, _), _| view.is_live(*table));
    }
}

/// Live tables that name a lost node and have another copy that was verified since that node's death; of a table that
/// names several, since the death of each. `lost` says when each node died; `None`: it is not known to be dead, and
/// nothing counts as verified.
pub fn count_verified(
    verified: &Verified,
    view: &GroupView,
    cluster: &ClusterView,
    lost: &[(NodeId, Option<Epoch>)],
) -> u64 {
    let is_verified = |table: TableId, record: &TableRecord| {
        let mut named = lost.iter().filter(|(node, _)| record.copies.contains_key(node)).peekable();
        let since = |death: Option<Epoch>| {
            death.is_some_and(|death| verified.has_since(table, record, cluster, death))
        };
        named.peek().is_some() && named.all(|(_, death)| since(*death))
    };
    view.live_tables().filter(|(table, record)| is_verified(*table, record)).count() as u64
}

/// When a data node died, if it is dead by both the map and the group's own bans: the later of the two counts.
pub fn death_of(view: &GroupView, cluster: &ClusterView, node: NodeId) -> Option<Epoch> {
    let known = cluster.node(node).filter(|known| known.state == NodeState::Dead)?;
    let ban = view.bans.get(&node).filter(|ban| ban.banned)?;
    Some(known.state_epoch.max(ban.epoch))
}

/// Verifies for ever what tables of dead nodes depend on.
pub async fn run(work: Work, reports: std::sync::Arc<Reports>) {
    let mut failed: BTreeMap<TableId, time::Instant> = BTreeMap::new();
    loop {
        time::sleep(LOOK).await;
        let Ok(cluster) = work.links.view() else { continue };
        failed.retain(|_, until| *until > time::now());
        let view = work.view();
        work.verified.keep_only_live(&view);
        for node in cluster.nodes_of(Role::Data) {
            let Some(death) = death_of(&view, &cluster, node.node) else { continue };
            for (table, record) in view.tables_on(node.node) {
                if failed.contains_key(&table) || work.verified.has_since(table, record, &cluster, death) {
                    continue;
                }
                if !verify(&work, &reports, table, record).await {
                    failed.insert(table, time::now() + AGAIN);
                }
            }
        }
    }
}

/// Has one copy of a table read through; whether one was whole.
async fn verify(work: &Work, reports: &Reports, table: TableId, record: &TableRecord) -> bool {
    let Ok(cluster) = work.links.view() else { return false };
    for node in record.copies.keys().copied().filter(|node| holds(&cluster, *node)) {
        match ask(work, node, table).await {
            Ok(()) => {
                work.verified.note(table, node, cluster.epoch);
                return true;
            }
            Err(error) => {
                tracing::warn!(%table, %node, %error, "a copy that matters now could not be verified");
                let absent = error.reason() == Reason::NotFound || error.reason() == Reason::TableNotFound;
                if absent || error.reason() == Reason::DataLoss {
                    reports.copy(DamagedCopy { table, node, absent });
                }
            }
        }
    }
    false
}

async fn ask(work: &Work, node: NodeId, table: TableId) -> Result<()> {
    let (peer, context) = work.links.data(node, DEADLINE_MS)?;
    let call = peer.call(context, VerifyTable { table });
    let silent = |_| Error::new(Reason::Unreachable, "the data node did not answer in time");
    time::timeout(Duration::from_millis(DEADLINE_MS), call).await.map_err(silent)?.map(drop)
}

fn holds(cluster: &ClusterView, node: NodeId) -> bool {
    let state = cluster.node(node).map(|node| node.state);
    matches!(state, Some(NodeState::Active | NodeState::Joining))
}
