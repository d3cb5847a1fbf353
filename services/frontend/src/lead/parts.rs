//! Index parts that a reader did not find where the map says they are: installed again from the data files.

use std::sync::Arc;

use lamina_env::time::{self, Duration};
use lamina_peers::data::{ReadTail, TailRead};
use lamina_peers::index::Part;
use lamina_peers::pieces;
use lamina_types::{Error, NodeId, Reason, Result, TableId};

use crate::hand::index::AbsentPart;
use crate::lead::work::Work;
use crate::reports::Reports;

/// How often reports are looked at without news.
const LOOK: Duration = Duration::from_secs(2);
/// What one call may take.
const DEADLINE_MS: u64 = 5_000;

/// Installs what is absent, for ever.
pub async fn run(work: Work, reports: Arc<Reports>) {
    loop {
        let _ = time::timeout(LOOK, reports.news.notified()).await;
        for report in reports.take_parts(work.host.group) {
            if let Err(error) = install(&work, report).await {
                tracing::debug!(table = %report.table, node = %report.node, %error, "an index part was not installed");
            }
        }
        // A storm of reports comes from one cause: what was installed meanwhile is not reported again.
        time::sleep(Duration::from_millis(50)).await;
    }
}

async fn install(work: &Work, report: AbsentPart) -> Result<()> {
    let AbsentPart { shard, table, node } = report;
    let cluster = work.links.view()?;
    let serves = |replica: &lamina_peers::view::ShardReplica| replica.node == node && replica.complete;
    // One that is loading fetches it by itself.
    if !cluster.shard(shard).is_some_and(|shard| shard.replicas.iter().any(serves)) {
        return Ok(());
    }
    let bytes = tail(work, table).await?;
    let limit = Duration::from_millis(DEADLINE_MS);
    work.tables.install_on(node, shard, vec![Part { table, bytes }], limit).await
}

/// The index part of a live table, from any data node that holds it.
///
/// # Errors
/// The table left, or no node could give it.
pub async fn tail(work: &Work, table: TableId) -> Result<bytes::Bytes> {
    let view = work.view();
    let record = view
        .table(table)
        .ok_or_else(|| Error::new(Reason::StateMoved, format!("table {table} is not live any more")))?;
    let nodes: Vec<NodeId> = record.copies.keys().copied().collect();
    tail_on(work, table, &nodes).await
}

/// The index part of a table from one of the data nodes on which it is sealed.
///
/// # Errors
/// No node could give it.
pub async fn tail_on(work: &Work, table: TableId, nodes: &[NodeId]) -> Result<bytes::Bytes> {
    let mut last =
        Error::new(Reason::Unreachable, format!("no data node gave the index part of table {table}"));
    for node in nodes {
        let answer = match work.links.data(*node, DEADLINE_MS) {
            Ok((peer, context)) => {
                let read = |offset| {
                    let call = peer.call(context.clone(), ReadTail { table, offset });
                    async {
                        let read = time::timeout(Duration::from_millis(DEADLINE_MS), call).await;
                        read.unwrap_or_else(|_| Err(silent())).map(TailRead::into_piece)
                    }
                };
                pieces::join(read).await
            }
            Err(error) => Err(error),
        };
        match answer {
            Ok(part) => return Ok(part),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn silent() -> Error {
    Error::new(Reason::Unreachable, "the node did not answer in time")
}
