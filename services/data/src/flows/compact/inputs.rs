//! The inputs of a job: read here where a copy is here, else from other copies; verified in any case.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt, stream};
use lamina_engine::block::Block;
use lamina_engine::corruption::Corruption;
use lamina_engine::index_part::IndexPart;
use lamina_engine::merge::MergeInput;
use lamina_engine::tree::TableView;
use lamina_peers::data::{BlockRead, Compact, CompactionInput, CopySource, ReadBlocks, ReadTail, TailRead};
use lamina_peers::pieces;
use lamina_types::{BlockHandle, Kind, TableId};

use super::JobError;
use super::work::Fed;
use crate::flows::doubt::doubt;
use crate::flows::read_blocks::read_stored;
use crate::hands::files::OpenTable;
use crate::heart::catalogue::Condition;
use crate::node::Node;

/// Tails that are opened at once.
const OPENS: usize = 8;
/// Bytes of blocks in one request to another node, unless one block alone is larger.
const REQUEST_BYTES: u64 = 4 << 20;

/// The inputs of one job.
#[derive(Default)]
pub(super) struct Inputs {
    tables: BTreeMap<TableId, Input>,
}

struct Input {
    part: IndexPart,
    /// The copy of this node, if it is here and its tail is sound.
    local: Option<OpenTable>,
    copies: Vec<CopySource>,
    damaged_here: bool,
}

/// Blocks of one table whose checksums hold.
struct Intact {
    origin: TableId,
    blocks: Vec<Fed>,
}

/// What several copies had to say about some bytes.
#[derive(Default)]
struct Refusals {
    damaged: Option<String>,
    silent: Option<String>,
}

impl Inputs {
    /// Reads the index parts of all inputs.
    pub async fn open(&mut self, node: &Arc<Node>, request: &Compact) -> Result<(), JobError> {
        let mut wanted: BTreeMap<TableId, CompactionInput> = BTreeMap::new();
        for input in request.inputs.iter().flatten() {
            wanted.entry(input.table).or_insert_with(|| input.clone());
        }
        let opens = wanted.into_values().map(|input| open_input(node.clone(), input));
        let mut opened = stream::iter(opens).buffered(OPENS);
        while let Some(input) = opened.next().await {
            let (table, input) = input?;
            self.tables.insert(table, input);
        }
        Ok(())
    }

    /// What the merge reads, and its bytes: each view clipped to the job's range, with all its handles.
    pub fn runs(&self, request: &Compact) -> (Vec<Vec<MergeInput>>, u64) {
        let mut bytes = 0;
        let mut runs = Vec::new();
        for run in &request.inputs {
            let mut views = Vec::new();
            for input in run {
                let range = input.range.intersect(&request.range);
                let (Some(range), Some(opened)) = (range, self.tables.get(&input.table)) else { continue };
                let handles = opened.part.seek(&range, false, usize::MAX);
                bytes += handles.iter().map(|handle| u64::from(handle.length)).sum::<u64>();
                views.push(MergeInput { view: TableView::new(input.table, range), handles: Some(handles) });
            }
            runs.push(views);
        }
        (runs, bytes)
    }

    /// Inputs whose copy on this node turned out to be damaged.
    pub fn damaged_here(&self) -> Vec<TableId> {
        self.tables.iter().filter(|(_, input)| input.damaged_here).map(|(table, _)| *table).collect()
    }

    /// Fetches blocks, each from the first copy that has it intact.
    pub async fn fetch(&mut self, node: &Arc<Node>, blocks: &[BlockHandle]) -> Result<Vec<Fed>, JobError> {
        node.compaction_pace.pay(blocks.iter().map(|handle| u64::from(handle.length)).sum()).await;
        let mut by_table: BTreeMap<TableId, Vec<BlockHandle>> = BTreeMap::new();
        for handle in blocks {
            by_table.entry(handle.table).or_default().push(*handle);
        }
        let tables = by_table.iter().filter_map(|(table, handles)| Some((self.tables.get(table)?, handles)));
        let fetched = join_all(tables.map(|(input, handles)| fetch_table(node, input, handles))).await;
        let mut fed = Vec::with_capacity(blocks.len());
        for (table, fetched) in by_table.keys().zip(fetched) {
            let (blocks, damaged_here) = fetched?;
            if let Some(input) = self.tables.get_mut(table) {
                input.damaged_here |= damaged_here;
            }
            fed.extend(blocks);
        }
        Ok(fed)
    }
}

async fn open_input(node: Arc<Node>, input: CompactionInput) -> Result<(TableId, Input), JobError> {
    let table = input.table;
    let copies: Vec<CopySource> =
        input.copies.iter().filter(|copy| copy.node != node.options.node).cloned().collect();
    let mut damaged_here = false;
    if let Ok(open) = node.open_table(table).await {
        match node.tail(&open).await {
            Ok(tail) if tail.part.origin() == input.origin => {
                let part = tail.part.clone();
                return Ok((table, Input { part, local: Some(open), copies, damaged_here }));
            }
            Ok(_) => {
                let why = format!("the copy of table {table} here was not made as table {}", input.origin);
                return Err(JobError::Failed(why));
            }
            // Noted by whoever read it.
            Err(_) => damaged_here = true,
        }
    }
    let mut refusals = Refusals::default();
    if damaged_here {
        refusals.damaged = Some("the tail of the copy here is damaged".to_owned());
    }
    for copy in &copies {
        let peer = node.peers.data(&copy.address);
        let read = |offset| {
            let call = peer.call(node.peers.context(copy.node), ReadTail { table, offset });
            async { call.await.map(TailRead::into_piece) }
        };
        match pieces::join(read).await.map(IndexPart::parse) {
            Ok(Ok(part)) if part.origin() == input.origin => {
                return Ok((table, Input { part: part.renamed(table), local: None, copies, damaged_here }));
            }
            Ok(Ok(_)) => refusals.damaged = Some("an index part of another table came".to_owned()),
            Ok(Err(corruption)) => {
                doubt(&node, copy, table);
                refusals.damaged = Some(corruption.to_string());
            }
            Err(error) => refusals.note(&error),
        }
    }
    Err(refusals.into_error(table))
}

/// Blocks of one table, and whether the copy of this node is damaged.
async fn fetch_table(
    node: &Arc<Node>,
    input: &Input,
    handles: &[BlockHandle],
) -> Result<(Vec<Fed>, bool), JobError> {
    let mut intact = Intact { origin: input.part.origin(), blocks: Vec::with_capacity(handles.len()) };
    let mut missing: Vec<BlockHandle> = handles.to_vec();
    let mut refusals = Refusals::default();
    let mut damaged_here = false;
    if let Some(open) = &input.local {
        let read = read_stored(node, &missing).await;
        let mut left = Vec::new();
        for (handle, read) in missing.iter().zip(read) {
            match read {
                BlockRead::Stored(stored) => {
                    if let Err(corruption) = intact.take(handle, stored) {
                        node.note_damage(handle.table, open.sealed.generation, &corruption);
                        refusals.damaged = Some(corruption.to_string());
                        left.push(*handle);
                    }
                }
                BlockRead::TableNotFound => left.push(*handle),
                BlockRead::Unreadable => {
                    refusals.damaged = Some("the disk of this node cannot read it".to_owned());
                    left.push(*handle);
                }
            }
        }
        missing = left;
        let condition = node.catalogue.get(open.table).map(|here| here.condition);
        damaged_here = !missing.is_empty() && condition == Some(Condition::Damaged);
    }
    for copy in &input.copies {
        if missing.is_empty() {
            break;
        }
        missing = fetch_from(node, copy, &missing, &mut intact, &mut refusals).await;
    }
    match missing.first() {
        None => Ok((intact.blocks, damaged_here)),
        Some(handle) => Err(refusals.into_error(handle.table)),
    }
}

/// Asks one copy for blocks; answers those that are still missing.
async fn fetch_from(
    node: &Arc<Node>,
    copy: &CopySource,
    wanted: &[BlockHandle],
    intact: &mut Intact,
    refusals: &mut Refusals,
) -> Vec<BlockHandle> {
    let mut left = Vec::new();
    for batch in batches(wanted) {
        let request = ReadBlocks { blocks: batch.to_vec() };
        let read = node.peers.data(&copy.address).call(node.peers.context(copy.node), request).await;
        let read = match read {
            Ok(read) if read.blocks.len() == batch.len() => read.blocks,
            Ok(_) => {
                refusals.silent =
                    Some(format!("node {} answered other blocks than were asked for", copy.node));
                left.extend_from_slice(batch);
                continue;
            }
            Err(error) => {
                refusals.note(&error);
                left.extend_from_slice(batch);
                continue;
            }
        };
        for (handle, read) in batch.iter().zip(read) {
            let refused = match read {
                BlockRead::Stored(stored) => intact.take(handle, stored).err().map(|corruption| {
                    doubt(node, copy, handle.table);
                    corruption.to_string()
                }),
                BlockRead::TableNotFound => {
                    left.push(*handle);
                    continue;
                }
                BlockRead::Unreadable => Some(format!("the disk of node {} cannot read it", copy.node)),
            };
            if let Some(why) = refused {
                refusals.damaged = Some(why);
                left.push(*handle);
            }
        }
    }
    left
}

/// Stretches of about [`REQUEST_BYTES`].
fn batches(handles: &[BlockHandle]) -> impl Iterator<Item = &[BlockHandle]> {
    let mut rest = handles;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|handle| {
            bytes += u64::from(handle.length);
            bytes <= REQUEST_BYTES
        });
        let count = fits.count().max(1).min(rest.len());
        let (batch, behind) = rest.split_at(count);
        rest = behind;
        (!batch.is_empty()).then_some(batch)
    })
}

impl Intact {
    fn take(&mut self, handle: &BlockHandle, stored: Bytes) -> Result<(), Corruption> {
        Block::verify(&stored, self.origin, handle.block)?;
        self.blocks.push(Fed { handle: *handle, origin: self.origin, stored });
        Ok(())
    }
}

impl Refusals {
    fn note(&mut self, error: &lamina_types::Error) {
        match error.kind() {
            Kind::DataLoss => self.damaged = Some(error.to_string()),
            Kind::NotFound => {}
            _ => self.silent = Some(error.to_string()),
        }
    }

    /// As long as some copy was silent, nobody says that the table is damaged everywhere.
    fn into_error(self, table: TableId) -> JobError {
        match (self.silent, self.damaged) {
            (Some(why), _) => JobError::Failed(format!("a copy of input {table} cannot be read now: {why}")),
            (None, Some(why)) => JobError::Damaged { table, why },
            (None, None) => {
                JobError::Failed(format!("input {table} is on none of the nodes that are named for it"))
            }
        }
    }
}
