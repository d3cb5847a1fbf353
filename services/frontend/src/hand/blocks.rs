//! Fetches data blocks: from the cache, else from data nodes, verified here, from another copy if one is bad.
//!
//! A table that one node does not have is asked of the other copies; only when none has it, or none has it intact,
//! the caller hears of it (rule G6). A copy that turned out bad is reported for repair.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::join_all;
use lamina_engine::Block;
use lamina_engine::tree::TableRecord;
use lamina_node::Links;
use lamina_peers::data::{BlockRead, ReadBlocks};
use lamina_types::{BlockHandle, Error, NodeId, Reason, RequestContext, TableId};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::mpsc;

use crate::hand::health::Health;

/// The longest that one node is waited for.
const NODE_DEADLINE_MS: u64 = 3_000;
/// Bytes of blocks in one request, unless one block alone is larger: an answer must fit into a message.
const REQUEST_BYTES: u64 = 4 << 20;

/// Fetches data blocks. One for each frontend.
pub struct Blocks {
    links: Links,
    health: Health,
    cache: Cache<CacheKey, Block, ByBytes>,
    hits: AtomicU64,
    misses: AtomicU64,
    damaged: mpsc::Sender<DamagedCopy>,
}

/// A copy of a table that is not what it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DamagedCopy {
    /// The table.
    pub table: TableId,
    /// Whose copy.
    pub node: NodeId,
    /// The node does not have the table at all.
    pub absent: bool,
}

/// Why blocks cannot be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BlockFault {
    /// No listed node has the table: take a new view and read again.
    Gone(TableId),
    /// All copies were read, and none is intact.
    Damaged(TableId),
    /// Some copies could not be asked.
    Failed(Error),
}

/// A block to fetch, with the record of its table.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The block.
    pub handle: BlockHandle,
    /// Where the table is.
    pub record: Arc<TableRecord>,
    /// Whether the block is kept for the next reader.
    pub keep: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct CacheKey {
    origin: TableId,
    offset: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<CacheKey, Block> for ByBytes {
    fn weight(&self, _: &CacheKey, block: &Block) -> u64 {
        // The cache's own bookkeeping is part of the budget.
        block.memory_bytes() as u64 + 64
    }
}

impl Blocks {
    /// A hand with a cache of this many bytes, and the place where it reports damaged copies.
    pub fn new(links: Links, health: Health, cache_bytes: u64) -> (Blocks, mpsc::Receiver<DamagedCopy>) {
        let (damaged, reports) = mpsc::channel(64);
        let expected = usize::try_from(cache_bytes / (16 << 10)).unwrap_or(usize::MAX).max(16);
        let cache = Cache::with_weighter(expected, cache_bytes, ByBytes);
        let (hits, misses) = (AtomicU64::new(0), AtomicU64::new(0));
        (Blocks { links, health, cache, hits, misses, damaged }, reports)
    }

    /// Bytes in the cache.
    pub fn cache_bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// Bytes in the cache at most.
    pub fn cache_bytes_max(&self) -> u64 {
        self.cache.capacity()
    }

    /// Blocks that were found in the cache, and those that were not, since the start.
    pub fn cache_hits(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// The block if it is cached.
    pub fn cached(&self, wanted: &Wanted) -> Option<Block> {
        let found = self.cache.get(&key_of(wanted));
        let counted = if found.is_some() { &self.hits } else { &self.misses };
        counted.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Fetches blocks, in the order in which they are wanted.
    pub async fn fetch(&self, context: &RequestContext, wanted: &[Wanted]) -> Result<Vec<Block>, BlockFault> {
        let mut blocks: Vec<Option<Block>> = wanted.iter().map(|wanted| self.cached(wanted)).collect();
        let mut search = Search::new(wanted, &self.health);
        loop {
            let rest =
                blocks.iter().enumerate().filter(|(_, block)| block.is_none()).map(|(at, _)| at).collect();
            let calls = search.next_round(rest, wanted)?;
            if calls.is_empty() {
                break;
            }
            let calls = calls.into_iter().flat_map(|(node, at)| batches(node, at, wanted));
            let answers = calls.map(|(node, at)| self.ask(context, node, at, wanted));
            for (node, at, answer) in join_all(answers).await {
                self.take(node, &at, answer, wanted, &mut blocks, &mut search);
            }
        }
        blocks.into_iter().map(|block| block.ok_or_else(missing_answer)).collect()
    }

    async fn ask(
        &self,
        context: &RequestContext,
        node: NodeId,
        at: Vec<usize>,
        wanted: &[Wanted],
    ) -> (NodeId, Vec<usize>, Result<Vec<BlockRead>, Error>) {
        let handles: Vec<BlockHandle> =
            at.iter().filter_map(|at| wanted.get(*at)).map(|it| it.handle).collect();
        let deadline = NODE_DEADLINE_MS.min(context.deadline_ms);
        let answer = match self.links.data(node, deadline) {
            Ok((peer, own)) => {
                let context = RequestContext { trace: context.trace, ..own };
                peer.call(context, ReadBlocks { blocks: handles }).await.map(|read| read.blocks)
            }
            Err(error) => Err(error),
        };
        (node, at, answer)
    }

    fn take(
        &self,
        node: NodeId,
        at: &[usize],
        answer: Result<Vec<BlockRead>, Error>,
        wanted: &[Wanted],
        blocks: &mut [Option<Block>],
        search: &mut Search,
    ) {
        let reads = match answer {
            Ok(reads) => {
                self.health.trust(node);
                reads
            }
            Err(error) => {
                self.health.suspect(node);
                search.failed = Some(error);
                return;
            }
        };
        for (at, read) in at.iter().zip(reads) {
            let (Some(wanted), Some(slot)) = (wanted.get(*at), blocks.get_mut(*at)) else { continue };
            let table = wanted.handle.table;
            match read {
                BlockRead::Stored(stored) => match self.decode(wanted, stored) {
                    Some(block) => *slot = Some(block),
                    None => self.report(search, DamagedCopy { table, node, absent: false }),
                },
                BlockRead::Unreadable => self.report(search, DamagedCopy { table, node, absent: false }),
                BlockRead::TableNotFound => self.report(search, DamagedCopy { table, node, absent: true }),
            }
        }
    }

    fn decode(&self, wanted: &Wanted, stored: Bytes) -> Option<Block> {
        let block = Block::decode(stored, wanted.record.origin, wanted.handle.block).ok()?;
        if wanted.keep {
            self.cache.insert(key_of(wanted), block.clone());
        }
        Some(block)
    }

    fn report(&self, search: &mut Search, copy: DamagedCopy) {
        if copy.absent {
            search.absent = Some(copy.table);
        } else {
            tracing::warn!(table = %copy.table, node = %copy.node, "a block of this copy is damaged");
            search.damaged = Some(copy.table);
        }
        // A full queue means that repair is busy with others; the next reader reports again.
        let _ = self.damaged.try_send(copy);
    }
}

/// Cuts what a node is asked for into requests of about [`REQUEST_BYTES`].
fn batches(node: NodeId, at: Vec<usize>, wanted: &[Wanted]) -> Vec<(NodeId, Vec<usize>)> {
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    let mut bytes = 0;
    for at in at {
        let length = wanted.get(at).map_or(0, |wanted| u64::from(wanted.handle.length));
        if bytes + length > REQUEST_BYTES && !batch.is_empty() {
            batches.push((node, std::mem::take(&mut batch)));
            bytes = 0;
        }
        bytes += length;
        batch.push(at);
    }
    batches.push((node, batch));
    batches
}

fn key_of(wanted: &Wanted) -> CacheKey {
    CacheKey { origin: wanted.record.origin, offset: wanted.handle.offset }
}

fn missing_answer() -> BlockFault {
    BlockFault::Failed(Error::new(Reason::Bug, "a data node answered fewer blocks than were asked"))
}

/// Which copy of which table is asked next.
struct Search {
    /// For each table the copies in the order in which they are asked.
    copies: BTreeMap<TableId, Vec<NodeId>>,
    round: usize,
    absent: Option<TableId>,
    damaged: Option<TableId>,
    failed: Option<Error>,
}

impl Search {
    fn new(wanted: &[Wanted], health: &Health) -> Search {
        let mut copies = BTreeMap::new();
        for wanted in wanted {
            copies.entry(wanted.handle.table).or_insert_with(|| {
                let mut nodes: Vec<NodeId> = wanted.record.copies.keys().copied().collect();
                // Spreads the tables over the nodes; blocks of one table stay on one node, where they are neighbours.
                let turn = (wanted.handle.table.n as usize).checked_rem(nodes.len()).unwrap_or(0);
                nodes.rotate_left(turn);
                health.order(&mut nodes);
                nodes
            });
        }
        Search { copies, round: 0, absent: None, damaged: None, failed: None }
    }

    /// The calls of the next round: for each node the positions of the blocks that it is asked for.
    fn next_round(
        &mut self,
        rest: Vec<usize>,
        wanted: &[Wanted],
    ) -> Result<BTreeMap<NodeId, Vec<usize>>, BlockFault> {
        let mut calls: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        for at in rest {
            let Some(wanted) = wanted.get(at) else { continue };
            let table = wanted.handle.table;
            let node = self.copies.get(&table).and_then(|nodes| nodes.get(self.round)).copied();
            calls.entry(node.ok_or_else(|| self.fault(table))?).or_default().push(at);
        }
        self.round += 1;
        Ok(calls)
    }

    /// No copy is left to ask. What could not be asked may still have it; so that counts first.
    fn fault(&self, table: TableId) -> BlockFault {
        match (&self.failed, self.damaged, self.absent) {
            (Some(error), _, _) => BlockFault::Failed(error.clone()),
            (None, Some(damaged), _) => BlockFault::Damaged(damaged),
            (None, None, absent) => BlockFault::Gone(absent.unwrap_or(table)),
        }
    }
}
