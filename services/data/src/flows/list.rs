//! What is here.

use lamina_peers::data::{DataStats, ListTables, TablesListed};

use crate::node::Node;

/// Tables in one answer at most.
const LIMIT_MAX: u32 = 10_000;

/// A page of the tables of a group.
pub(crate) fn list_tables(node: &Node, request: &ListTables) -> TablesListed {
    let limit = request.limit.clamp(1, LIMIT_MAX) as usize;
    let (tables, more) = node.catalogue.list(request.group, request.after, limit);
    TablesListed { tables, more }
}

/// Figures of the node.
pub(crate) async fn stats(node: &Node) -> DataStats {
    let totals = node.catalogue.totals();
    let space = node.store.space().await.ok();
    DataStats {
        tables: totals.tables,
        file_bytes: totals.file_bytes,
        free_bytes: space.map_or(0, |space| space.free),
        total_bytes: space.map_or(0, |space| space.total),
        blocks_read: node.metrics.blocks_read.get(),
        blocks_damaged: node.metrics.blocks_damaged.get(),
        compacted_bytes: node.metrics.compacted_bytes.get(),
        jobs: node.jobs.unfinished(),
        scrubbed_blocks: node.metrics.scrubbed_blocks.get(),
        damage_found: totals.damage_found,
    }
}
