//! Asks the index service which blocks may hold a key.
//!
//! The replicas of the shard are asked in turn, the next one already when one takes long ([`Hedge`]); a table that none of them has is asked of the data nodes that hold
//! its file, which answer from the file's tail, and its part is installed again in the background. So with all index
//! nodes dead reads go on, only slower.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use lamina_engine::tree::TableRecord;
use lamina_env::time::{self, Duration};
use lamina_node::Links;
use lamina_peers::Operation;
use lamina_peers::index::{
    Candidate, IndexAnswer, IndexRequest, Lookup, LookupKey, Seek, SeekRange, SoughtRun,
};
use lamina_types::{BlockHandle, Error, NodeId, Reason, RequestContext, Result, ShardId, TableId, Version};
use tokio::sync::mpsc;

use crate::hand::health::Health;
use crate::hand::hedge::Hedge;

/// The longest that one index node is waited for before the next one is asked.
const NODE_DEADLINE_MS: u64 = 500;
/// The longest that one data node is waited for.
const TAIL_DEADLINE_MS: u64 = 3_000;

/// The tables of a read by their ids.
pub type Records = BTreeMap<TableId, Arc<TableRecord>>;

/// Asks the index service. One for each frontend.
pub struct Index {
    links: Links,
    health: Health,
    hedge: Hedge,
    absent: mpsc::Sender<AbsentPart>,
}

/// An index node that serves a shard does not have one of its parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbsentPart {
    /// The shard.
    pub shard: ShardId,
    /// The table.
    pub table: TableId,
    /// The index node.
    pub node: NodeId,
}

/// One key with the tables that may hold it, newest first.
#[derive(Clone, Debug)]
pub struct Sought {
    /// The key.
    pub key: Bytes,
    /// The candidates.
    pub tables: Vec<TableId>,
}

/// Why the index cannot be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IndexFault {
    /// No index node and no listed data node has the table: take a new view and read again.
    Gone(TableId),
    /// Some could not be asked.
    Failed(Error),
}

impl Index {
    /// A hand, and the place where it reports parts that are absent where they should be.
    pub fn new(links: Links, health: Health) -> (Index, mpsc::Receiver<AbsentPart>) {
        let (absent, reports) = mpsc::channel(256);
        (Index { links, health, hedge: Hedge::default(), absent }, reports)
    }

    /// For each key, in its order, the blocks that may hold its newest version at or below `at`, newest table first.
    pub async fn lookup(
        &self,
        context: &RequestContext,
        shard: ShardId,
        keys: &[Sought],
        at: Version,
        records: &Records,
    ) -> Result<Vec<Vec<BlockHandle>>, IndexFault> {
        let mut work = LookupWork::new(keys, at);
        let mut nodes = self.replicas(shard);
        while let Some(request) = work.request() {
            let Some((node, answer)) = self.ask_next(context, &mut nodes, request).await else { break };
            for table in work.take(answer.keys) {
                let _ = self.absent.try_send(AbsentPart { shard, table, node });
            }
        }
        self.lookup_in_tails(context, &mut work, records).await?;
        Ok(work.finish())
    }

    async fn lookup_in_tails(
        &self,
        context: &RequestContext,
        work: &mut LookupWork<'_>,
        records: &Records,
    ) -> Result<(), IndexFault> {
        while let Some(table) = work.first_open_table() {
            let mut failed = None;
            let mut answered = false;
            for node in self.holders(table, records) {
                let request = work.request_for(table);
                let answer = match self.links.data(node, TAIL_DEADLINE_MS.min(context.deadline_ms)) {
                    Ok((peer, own)) => {
                        let context = RequestContext { trace: context.trace, ..own };
                        bounded(TAIL_DEADLINE_MS, peer.call(context, request)).await
                    }
                    Err(error) => Err(error),
                };
                match answer {
                    Ok(answer) => {
                        answered = work.take_one(table, answer.keys);
                        if answered {
                            break;
                        }
                    }
                    Err(error) => {
                        self.health.suspect(node);
                        failed = Some(error);
                    }
                }
            }
            if !answered {
                return Err(failed.map_or(IndexFault::Gone(table), IndexFault::Failed));
            }
        }
        Ok(())
    }

    /// The blocks of `range.table` that may hold keys of the range, in the order of the scan, and whether that is all.
    pub async fn seek(
        &self,
        context: &RequestContext,
        shard: ShardId,
        range: &SeekRange,
        records: &Records,
    ) -> Result<(Vec<BlockHandle>, bool), IndexFault> {
        let mut nodes = self.replicas(shard);
        let seek = Seek { seeks: vec![range.clone()] };
        while let Some((node, answer)) = self.ask_next(context, &mut nodes, seek.clone()).await {
            match answer.runs.into_iter().next() {
                Some(SoughtRun::Blocks { handles, exhausted }) => return Ok((handles, exhausted)),
                _ => {
                    let _ = self.absent.try_send(AbsentPart { shard, table: range.table, node });
                }
            }
        }
        self.seek_in_tails(context, range, records).await
    }

    async fn seek_in_tails(
        &self,
        context: &RequestContext,
        range: &SeekRange,
        records: &Records,
    ) -> Result<(Vec<BlockHandle>, bool), IndexFault> {
        let mut failed = None;
        for node in self.holders(range.table, records) {
            let answer = match self.links.data(node, TAIL_DEADLINE_MS.min(context.deadline_ms)) {
                Ok((peer, own)) => {
                    let context = RequestContext { trace: context.trace, ..own };
                    bounded(TAIL_DEADLINE_MS, peer.call(context, Seek { seeks: vec![range.clone()] })).await
                }
                Err(error) => Err(error),
            };
            match answer.map(|answer| answer.runs.into_iter().next()) {
                Ok(Some(SoughtRun::Blocks { handles, exhausted })) => return Ok((handles, exhausted)),
                Ok(_) => {}
                Err(error) => {
                    self.health.suspect(node);
                    failed = Some(error);
                }
            }
        }
        Err(failed.map_or(IndexFault::Gone(range.table), IndexFault::Failed))
    }

    /// The answer of the first of these nodes that gives one, and who it was; it is taken from the list, like those that
    /// gave none. `None`: none of them answers.
    async fn ask_next<O>(
        &self,
        context: &RequestContext,
        nodes: &mut VecDeque<NodeId>,
        operation: O,
    ) -> Option<(NodeId, O::Answer)>
    where
        O: Operation<IndexRequest, IndexAnswer> + Clone,
    {
        while let Some(node) = nodes.pop_front() {
            let backup = nodes.front().copied().filter(|backup| !self.health.is_suspect(*backup));
            let (call, wait) = self.hedge.begin();
            let started = time::now();
            let mut first = pin!(self.ask(context, node, operation.clone()));
            let mut answer = time::timeout(wait, &mut first).await.ok();
            if answer.is_none()
                && let Some(backup) = backup
                && call.may_hedge()
            {
                let mut second = pin!(self.ask(context, backup, operation.clone()));
                let (by_backup, winner) = tokio::select! {
                    biased;
                    answer = &mut first => (false, answer),
                    answer = &mut second => (true, answer),
                };
                match (by_backup, winner) {
                    (true, Some(winner)) => {
                        call.took(started.elapsed());
                        nodes.pop_front();
                        // It may still have what the backup has not.
                        nodes.push_front(node);
                        return Some((backup, winner));
                    }
                    (true, None) => {
                        nodes.pop_front();
                    }
                    (false, winner) => answer = Some(winner),
                }
            }
            let answer = match answer {
                Some(answer) => answer,
                None => first.await,
            };
            call.took(started.elapsed());
            if let Some(answer) = answer {
                return Some((node, answer));
            }
        }
        None
    }

    /// Asks one index node; `None`: it does not answer.
    async fn ask<O>(&self, context: &RequestContext, node: NodeId, operation: O) -> Option<O::Answer>
    where
        O: Operation<IndexRequest, IndexAnswer>,
    {
        let (peer, own) = self.links.index(node, NODE_DEADLINE_MS.min(context.deadline_ms)).ok()?;
        let context = RequestContext { trace: context.trace, ..own };
        let answer = bounded(NODE_DEADLINE_MS, peer.call(context, operation)).await;
        match answer {
            Ok(answer) => {
                self.health.trust(node);
                Some(answer)
            }
            Err(_) => {
                self.health.suspect(node);
                None
            }
        }
    }

    /// Who serves a shard: complete replicas first, then loading ones, those that did not answer lately last.
    fn replicas(&self, shard: ShardId) -> VecDeque<NodeId> {
        let Ok(view) = self.links.view() else { return VecDeque::new() };
        let Some(shard) = view.shard(shard) else { return VecDeque::new() };
        let complete = shard.replicas.iter().filter(|replica| replica.complete);
        let loading = shard.replicas.iter().filter(|replica| !replica.complete);
        let mut nodes: Vec<NodeId> = complete.chain(loading).map(|replica| replica.node).collect();
        self.health.order(&mut nodes);
        nodes.into()
    }

    fn holders(&self, table: TableId, records: &Records) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> =
            records.get(&table).map(|record| record.copies.keys().copied().collect()).unwrap_or_default();
        let turn = (table.n as usize).checked_rem(nodes.len()).unwrap_or(0);
        nodes.rotate_left(turn);
        self.health.order(&mut nodes);
        nodes
    }
}

async fn bounded<T>(ms: u64, call: impl Future<Output = Result<T>>) -> Result<T> {
    time::timeout(Duration::from_millis(ms), call)
        .await
        .unwrap_or_else(|_| Err(Error::new(Reason::Unreachable, "the node did not answer in time")))
}

/// What is known so far of each key in each of its candidates.
struct LookupWork<'a> {
    keys: &'a [Sought],
    at: Version,
    /// For each key, the candidates that are not known yet.
    open: Vec<BTreeSet<TableId>>,
    /// For each key, the blocks that may hold it, by table.
    found: Vec<BTreeMap<TableId, BlockHandle>>,
    /// The keys of the last request, in its order.
    asked: Vec<usize>,
}

impl<'a> LookupWork<'a> {
    fn new(keys: &'a [Sought], at: Version) -> LookupWork<'a> {
        LookupWork {
            keys,
            at,
            open: keys.iter().map(|key| key.tables.iter().copied().collect()).collect(),
            found: vec![BTreeMap::new(); keys.len()],
            asked: Vec::new(),
        }
    }

    /// A request for all that is open; `None`: nothing is.
    fn request(&mut self) -> Option<Lookup> {
        let mut lists: BTreeMap<Vec<TableId>, u32> = BTreeMap::new();
        let mut candidates = Vec::new();
        let mut keys = Vec::new();
        self.asked.clear();
        for (at, (key, open)) in self.keys.iter().zip(&self.open).enumerate() {
            if open.is_empty() {
                continue;
            }
            let list: Vec<TableId> =
                key.tables.iter().copied().filter(|table| open.contains(table)).collect();
            let position = *lists.entry(list.clone()).or_insert_with(|| {
                candidates.push(list);
                u32::try_from(candidates.len() - 1).unwrap_or(u32::MAX)
            });
            keys.push(LookupKey { candidates: position, key: key.key.clone(), at: self.at });
            self.asked.push(at);
        }
        (!keys.is_empty()).then_some(Lookup { candidates, keys })
    }

    fn request_for(&mut self, table: TableId) -> Lookup {
        self.asked.clear();
        let mut keys = Vec::new();
        for (at, (key, open)) in self.keys.iter().zip(&self.open).enumerate() {
            if open.contains(&table) {
                keys.push(LookupKey { candidates: 0, key: key.key.clone(), at: self.at });
                self.asked.push(at);
            }
        }
        Lookup { candidates: vec![vec![table]], keys }
    }

    /// Takes an answer to [`LookupWork::request`]; gives the tables that the node did not have.
    fn take(&mut self, answers: Vec<Vec<Candidate>>) -> BTreeSet<TableId> {
        let mut missing = BTreeSet::new();
        for (at, answer) in self.asked.iter().zip(answers) {
            let (Some(open), Some(found)) = (self.open.get_mut(*at), self.found.get_mut(*at)) else {
                continue;
            };
            let mut still_open = BTreeSet::new();
            for candidate in answer {
                match candidate {
                    Candidate::Block(handle) => {
                        found.insert(handle.table, handle);
                    }
                    Candidate::Missing(table) => {
                        still_open.insert(table);
                        missing.insert(table);
                    }
                }
            }
            *open = still_open;
        }
        missing
    }

    /// Takes an answer to [`LookupWork::request_for`]; whether the node had the table.
    fn take_one(&mut self, table: TableId, answers: Vec<Vec<Candidate>>) -> bool {
        let absent = |answer: &Vec<Candidate>| answer.contains(&Candidate::Missing(table));
        if answers.len() != self.asked.len() || answers.iter().any(absent) {
            return false;
        }
        for (at, answer) in self.asked.iter().zip(answers) {
            let (Some(open), Some(found)) = (self.open.get_mut(*at), self.found.get_mut(*at)) else {
                continue;
            };
            open.remove(&table);
            if let Some(Candidate::Block(handle)) = answer.first() {
                found.insert(table, *handle);
            }
        }
        true
    }

    fn first_open_table(&self) -> Option<TableId> {
        self.open.iter().find_map(|open| open.first().copied())
    }

    fn finish(self) -> Vec<Vec<BlockHandle>> {
        let ordered = |(key, mut found): (&Sought, BTreeMap<TableId, BlockHandle>)| {
            key.tables.iter().filter_map(|table| found.remove(table)).collect()
        };
        self.keys.iter().zip(self.found).map(ordered).collect()
    }
}

#[cfg(test)]
mod tests;
