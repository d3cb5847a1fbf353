//! Verification: before the volume of a dead data node may be thrown away, every table that names it must have a copy
//! elsewhere that was read and verified since the node died (protocols §10.5, invariant N2).
//!
//! A data node that lives is asked to read its copy through. With three data nodes and three copies that is the only
//! way: nothing can be made anew before the dead node is replaced.

use std::collections::BTreeMap;

use lamina_engine::tree::TableRecord;
use lamina_env::time::{self, Duration};
use lamina_peers::data::VerifyTable;
use lamina_types::{Error, NodeId, Reason, Result, Role, TableId};

use crate::hand::blocks::DamagedCopy;
use crate::heart::verified::{death_of, holds};
use crate::lead::work::Work;
use crate::reports::Reports;

/// How often dead nodes are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// What reading one table through may take.
const DEADLINE_MS: u64 = 30_000;
/// Before a table is tried again of which no copy could be verified.
const AGAIN: Duration = Duration::from_secs(5);

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
