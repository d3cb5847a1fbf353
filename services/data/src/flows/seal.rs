//! The one way in which bytes become a sealed table, and in which a stamp rises.

use lamina_peers::data::Seal;
use lamina_types::{CopyStamp, Result, TableId};

use crate::fault;
use crate::hands::store::Incoming;
use crate::heart::catalogue::{Condition, Sealed};
use crate::node::Node;

/// Seals a received file: complete, verified and synced by the caller. It is gone from `incoming` in any case.
///
/// A table that is here with the same bytes stays and its stamp rises, unless it is damaged or `replace` says so:
/// then the new bytes take its place. With other bytes: `TABLE_CONFLICT`, and nothing changes.
pub(crate) async fn seal(
    node: &Node,
    incoming: &Incoming,
    table: TableId,
    stamp: CopyStamp,
    seal: Seal,
    replace: bool,
) -> Result<CopyStamp> {
    let _lock = node.locks.lock(table).await;
    let here = node.catalogue.get(table);
    if let Some(sealed) = here {
        match node.seal_of(table, sealed).await {
            Some(known) if known != seal => {
                node.store.discard(&incoming.path).await;
                return Err(fault::conflict(table));
            }
            Some(_) if !replace && is_sound(node, table) => {
                node.store.discard(&incoming.path).await;
                return raise_stamp(node, table, stamp).await;
            }
            _ => {}
        }
    }
    install(node, incoming, here, table, stamp, seal).await
}

async fn install(
    node: &Node,
    incoming: &Incoming,
    here: Option<Sealed>,
    table: TableId,
    stamp: CopyStamp,
    seal: Seal,
) -> Result<CopyStamp> {
    let stamp = here.map_or(stamp, |here| stamp.max(here.stamp));
    let old_name = here.filter(|here| here.stamp != stamp);
    if let Err(error) = node.store.install(&incoming.path, table, stamp).await {
        node.store.discard(&incoming.path).await;
        // The name may be there or not, and durable or not. Nobody was told that it is.
        match here.filter(|here| here.stamp == stamp) {
            Some(here) => {
                node.catalogue.put(table, stamp, seal, Condition::Unverified);
                node.forget_bytes(table, here);
            }
            None => {
                let _ = node.store.remove(table, stamp).await;
            }
        }
        return Err(fault::disk(&format!("seal table {table}"), &error));
    }
    node.catalogue.put(table, stamp, seal, Condition::Verified);
    node.metrics.sealed.inc();
    match here {
        Some(here) => {
            node.metrics.repairs.inc();
            node.forget_bytes(table, here);
        }
        None => node.show_totals(),
    }
    if let Some(old) = old_name {
        // A crash before this leaves two names; the start keeps the higher stamp.
        let removed = node.store.remove(table, old.stamp).await;
        let synced = node.store.sync_group(table.group).await;
        if let Err(error) = removed.and(synced) {
            tracing::warn!(%table, %error, "the name of a replaced copy cannot be removed; the next start will");
        }
    }
    Ok(stamp)
}

/// Raises the stamp of a table that is here, durably. The caller holds its lock. Answers the stamp it has then.
pub(crate) async fn raise_stamp(node: &Node, table: TableId, stamp: CopyStamp) -> Result<CopyStamp> {
    let here = node.catalogue.get(table).ok_or_else(|| fault::not_here(table))?;
    let failed = |error| fault::disk(&format!("raise the stamp of table {table}"), &error);
    if stamp > here.stamp {
        node.store.restamp(table, here.stamp, stamp).await.map_err(failed)?;
        node.catalogue.set_stamp(table, stamp);
    }
    // Also if it was high enough: an earlier attempt may have failed at this step.
    node.store.sync_group(table.group).await.map_err(failed)?;
    Ok(stamp.max(here.stamp))
}

/// Whether a table is here and nothing bad is known of it.
pub(crate) fn is_sound(node: &Node, table: TableId) -> bool {
    node.catalogue.get(table).is_some_and(|here| here.condition != Condition::Damaged)
}
