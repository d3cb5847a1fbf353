//! Names go away: all copies of dead tables (protocols §7.4), or one unlisted copy (§7.5).

use std::collections::BTreeSet;
use std::sync::Arc;

use lamina_peers::data::{DeleteTables, DropCopy, TablesDeleted};
use lamina_types::{Error, GroupId, Reason, Result, TableId};

use crate::fault;
use crate::flows::write_table::discard;
use crate::node::Node;

/// Deletes tables whatever their stamps. A table that is not here counts as deleted.
pub(crate) async fn delete_tables(node: &Arc<Node>, request: DeleteTables) -> Result<TablesDeleted> {
    let inner = node.clone();
    node.finish(async move { delete(&inner, &request.tables).await }).await
}

async fn delete(node: &Node, tables: &[TableId]) -> Result<TablesDeleted> {
    let mut deleted = 0;
    let mut groups: BTreeSet<GroupId> = BTreeSet::new();
    let mut failed = None;
    for table in tables {
        // What is deletable stays deletable (T3): a write of it that is under way can only make garbage.
        for write in node.writes.remove_table(*table) {
            discard(node, &write).await;
        }
        let _lock = node.locks.lock(*table).await;
        match remove(node, *table).await {
            Ok(true) => {
                deleted += 1;
                groups.insert(table.group);
            }
            Ok(false) => {}
            Err(error) => failed = Some(error),
        }
    }
    for group in groups {
        sync(node, group).await?;
    }
    failed.map_or(Ok(TablesDeleted { deleted }), Err)
}

/// Deletes one copy unless its stamp is higher than named.
pub(crate) async fn drop_copy(node: &Arc<Node>, request: DropCopy) -> Result<TablesDeleted> {
    let inner = node.clone();
    node.finish(async move { drop_one(&inner, request).await }).await
}

async fn drop_one(node: &Node, request: DropCopy) -> Result<TablesDeleted> {
    let DropCopy { table, up_to } = request;
    let _lock = node.locks.lock(table).await;
    let Some(here) = node.catalogue.get(table) else { return Ok(TablesDeleted { deleted: 0 }) };
    if here.stamp > up_to {
        let why =
            format!("the copy of table {table} has stamp {}, which is above {up_to}: it stays", here.stamp);
        return Err(Error::new(Reason::StampTooHigh, why).with("stamp", here.stamp));
    }
    remove(node, table).await?;
    sync(node, table.group).await?;
    Ok(TablesDeleted { deleted: 1 })
}

/// Removes the name of a table; the caller holds its lock. Open readers go on reading.
async fn remove(node: &Node, table: TableId) -> Result<bool> {
    let Some(here) = node.catalogue.get(table) else { return Ok(false) };
    let removed = node.store.remove(table, here.stamp).await;
    removed.map_err(|error| fault::disk(&format!("delete table {table}"), &error))?;
    node.catalogue.remove(table);
    node.forget_bytes(table, here);
    Ok(true)
}

/// If this fails the tables may be back after a crash: as garbage that the next sweep of the leader finds.
async fn sync(node: &Node, group: GroupId) -> Result<()> {
    let synced = node.store.sync_group(group).await;
    synced.map_err(|error| fault::disk(&format!("make deletions of group {group} durable"), &error))
}
