//! Finds keys in one view: memtables, then tables by the index service and the data service.

use std::sync::Arc;

use bytes::Bytes;
use lamina_engine::scan::{Look, look};
use lamina_engine::{Block, Value};
use lamina_group::data::{GroupView, TabletView};
use lamina_types::{BlockHandle, Error, Reason, RequestContext, TableId, Version};

use crate::hand::blocks::{BlockFault, Blocks, Wanted};
use crate::hand::index::{Index, IndexFault, Records, Sought};

/// Reads tables. One for each frontend; cheap to clone.
#[derive(Clone)]
pub struct Searcher {
    /// Which blocks may hold a key.
    pub index: Arc<Index>,
    /// The blocks.
    pub blocks: Arc<Blocks>,
}

/// A version of a key.
pub type Found = (Version, Value);

/// Why a search did not come to an end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SearchFault {
    /// No listed node has the table: take a new view and search again (rule G6).
    Gone(TableId),
    /// The bytes are damaged on all copies.
    Damaged(TableId),
    /// Somebody could not be asked.
    Failed(Error),
}

impl Searcher {
    /// The newest version of a key at or below `at` in a tablet of a view, tombstones and expired values included.
    pub async fn find(
        &self,
        context: &RequestContext,
        view: &GroupView,
        tablet: &TabletView,
        key: &Bytes,
        at: Version,
    ) -> Result<Option<Found>, SearchFault> {
        if let Some(entry) = tablet.memory_get(key, at) {
            return Ok(Some((entry.version, entry.value)));
        }
        let tables = candidates(view, tablet, key);
        if tables.is_empty() {
            return Ok(None);
        }
        // Boxed: what is found in memory does not carry the room for what is not.
        Box::pin(self.find_in_tables(context, view, tablet, key, at, tables)).await
    }

    async fn find_in_tables(
        &self,
        context: &RequestContext,
        view: &GroupView,
        tablet: &TabletView,
        key: &Bytes,
        at: Version,
        tables: Vec<TableId>,
    ) -> Result<Option<Found>, SearchFault> {
        let records = records_of(view, &tables);
        let sought = [Sought { key: key.clone(), tables }];
        let handles = self.index.lookup(context, tablet.shard, &sought, at, &records).await?;
        for handle in handles.into_iter().flatten() {
            let blocks = self.blocks.fetch(context, &[wanted(handle, &records)?]).await?;
            if let Some(found) = blocks.first().and_then(|block| in_block(block, key, at)) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// As [`Searcher::find`] for many keys of one tablet, with few calls: one lookup for all, and one fetch for each
    /// depth of candidates.
    pub async fn find_many(
        &self,
        context: &RequestContext,
        view: &GroupView,
        tablet: &TabletView,
        keys: &[Bytes],
        at: Version,
    ) -> Result<Vec<Option<Found>>, SearchFault> {
        let mut found: Vec<Option<Found>> = Vec::with_capacity(keys.len());
        let mut sought = Vec::new();
        let mut positions = Vec::new();
        for (position, key) in keys.iter().enumerate() {
            let entry = tablet.memory_get(key, at).map(|entry| (entry.version, entry.value));
            if entry.is_none() {
                let tables = candidates(view, tablet, key);
                if !tables.is_empty() {
                    sought.push(Sought { key: key.clone(), tables });
                    positions.push(position);
                }
            }
            found.push(entry);
        }
        if sought.is_empty() {
            return Ok(found);
        }
        let records: Records = sought.iter().flat_map(|sought| records_of(view, &sought.tables)).collect();
        let handles = self.index.lookup(context, tablet.shard, &sought, at, &records).await?;
        let mut open: Vec<Open<'_>> = positions
            .into_iter()
            .zip(&sought)
            .zip(handles)
            .map(|((position, sought), handles)| Open {
                position,
                key: &sought.key,
                handles: handles.into_iter(),
            })
            .collect();
        while !open.is_empty() {
            let mut wants = Vec::new();
            let mut asking = Vec::new();
            for mut one in open {
                if let Some(handle) = one.handles.next() {
                    wants.push(wanted(handle, &records)?);
                    asking.push(one);
                }
            }
            let blocks = self.blocks.fetch(context, &wants).await?;
            open = Vec::new();
            for (one, block) in asking.into_iter().zip(blocks) {
                match (in_block(&block, one.key, at), found.get_mut(one.position)) {
                    (Some(version), Some(slot)) => *slot = Some(version),
                    _ => open.push(one),
                }
            }
        }
        Ok(found)
    }
}

/// A key that was not found yet.
struct Open<'a> {
    position: usize,
    key: &'a Bytes,
    handles: std::vec::IntoIter<BlockHandle>,
}

fn candidates(view: &GroupView, tablet: &TabletView, key: &[u8]) -> Vec<TableId> {
    let spans = |table: TableId| {
        view.table(table)
            .is_none_or(|record| record.smallest.as_ref() <= key && key <= record.largest.as_ref())
    };
    tablet.tree.candidates(key).map(|view| view.table).filter(|table| spans(*table)).collect()
}

/// The records of the tables that a view names.
pub fn records_of(view: &GroupView, tables: &[TableId]) -> Records {
    tables.iter().filter_map(|table| Some((*table, view.table(*table)?.clone()))).collect()
}

fn wanted(handle: BlockHandle, records: &Records) -> Result<Wanted, SearchFault> {
    let record = records.get(&handle.table).cloned().ok_or_else(|| {
        SearchFault::Failed(Error::new(
            Reason::Bug,
            "the index named a block of a table that was not asked for",
        ))
    })?;
    Ok(Wanted { handle, record, keep: true })
}

fn in_block(block: &Block, key: &[u8], at: Version) -> Option<Found> {
    match look(block, key, at) {
        Look::Found(version, value) => Some((version, value)),
        // The index was asked with the version, so the block is the only one that can hold it.
        Look::Onward | Look::Absent => None,
    }
}

impl From<IndexFault> for SearchFault {
    fn from(fault: IndexFault) -> SearchFault {
        match fault {
            IndexFault::Gone(table) => SearchFault::Gone(table),
            IndexFault::Failed(error) => SearchFault::Failed(error),
        }
    }
}

impl From<BlockFault> for SearchFault {
    fn from(fault: BlockFault) -> SearchFault {
        match fault {
            BlockFault::Gone(table) => SearchFault::Gone(table),
            BlockFault::Damaged(table) => SearchFault::Damaged(table),
            BlockFault::Failed(error) => SearchFault::Failed(error),
        }
    }
}

/// What the caller hears of a table that is listed in a new view too and cannot be had.
pub fn data_loss(table: TableId) -> Error {
    Error::new(
        Reason::DataLoss,
        format!(
            "the bytes of this key are damaged or absent on all copies of table {table}; other keys are not affected"
        ),
    )
    .with("table", table)
}
