//! A second name for the same bytes (protocols §9.3): the origin stays, so no block changes.

use std::sync::Arc;

use lamina_peers::data::{LinkTable, TableSealed};
use lamina_types::Result;

use crate::fault;
use crate::flows::seal::raise_stamp;
use crate::heart::catalogue::Sealed;
use crate::node::Node;

/// Links. Repeatable: a name that is there already gets the stamp.
pub(crate) async fn link_table(node: &Arc<Node>, request: LinkTable) -> Result<TableSealed> {
    node.metrics.jobs_stopped.inc_by(node.jobs.see(request.new.group, request.stamp.reign));
    let inner = node.clone();
    node.finish(async move { link(&inner, request).await }).await
}

async fn link(node: &Node, request: LinkTable) -> Result<TableSealed> {
    let LinkTable { old, new, stamp } = request;
    let _locks = node.locks.lock_two(old, new).await;
    let source = node.catalogue.get(old);
    if let Some(target) = node.catalogue.get(new) {
        // Without the old name nothing can be compared; the new one was made from it (T1).
        if let Some(source) = source
            && old != new
        {
            same_bytes(node, (old, source), (new, target)).await?;
        }
        return Ok(TableSealed { stamp: raise_stamp(node, new, stamp).await? });
    }
    let source = source.ok_or_else(|| fault::not_here(old))?;
    let seal = node.seal_of(old, source).await;
    let linked = node.store.link((old, source.stamp), (new, stamp)).await;
    if let Err(error) = linked {
        let _ = node.store.remove(new, stamp).await;
        return Err(fault::disk(&format!("link table {old} as {new}"), &error));
    }
    match seal {
        // The condition goes with the bytes.
        Some(seal) => drop(node.catalogue.put(new, stamp, seal, condition(node, old, source))),
        None => {
            let linked = node.catalogue.found(new, stamp, source.file_bytes);
            node.catalogue.set_condition(new, linked.generation, condition(node, old, source));
        }
    }
    node.show_totals();
    Ok(TableSealed { stamp })
}

fn condition(
    node: &Node,
    table: lamina_types::TableId,
    before: Sealed,
) -> crate::heart::catalogue::Condition {
    node.catalogue.get(table).unwrap_or(before).condition
}

async fn same_bytes(
    node: &Node,
    old: (lamina_types::TableId, Sealed),
    new: (lamina_types::TableId, Sealed),
) -> Result<()> {
    let (a, b) = (node.seal_of(old.0, old.1).await, node.seal_of(new.0, new.1).await);
    match (a, b) {
        (Some(a), Some(b)) if a != b => Err(fault::conflict(new.0)),
        _ => Ok(()),
    }
}
