//! Fills shards, and keeps them equal to what the leaders list (protocols §11).
//!
//! For a shard that is assigned here and not complete: ask the leader of each group for the live and open tables of
//! the shard; what is not resident comes from a peer replica of the shard, else from the tails of data files. When
//! every group has answered by a map at least as new as ours, and everything is there, the shard is complete. New
//! tables are pushed by the leaders meanwhile. Every five minutes complete shards are compared again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use lamina_env::task;
use lamina_env::time::{self, Duration};
use lamina_node::Links;
use lamina_node::membership::Hurry;
use lamina_peers::data::{ReadTail, TailRead};
use lamina_peers::group::{ListShard, ShardListed, ShardTable};
use lamina_peers::index::{FetchParts, FetchPiece, Part};
use lamina_peers::pieces::{self, PIECE_BYTES};
use lamina_peers::view::ClusterView;
use lamina_types::{Epoch, Error, GroupId, NodeId, Reason, Result, ShardId};

use crate::door::served_here;
use crate::residents::{NotInstalled, Residents};

/// Between two attempts at what is not complete.
const RETRY: Duration = Duration::from_millis(200);
/// Between two comparisons of complete shards.
const COMPARE: Duration = Duration::from_secs(300);
/// Shards that are loaded at once.
const SHARDS_AT_ONCE: usize = 4;
/// Tails that are read at once for one shard: below what would disturb reads.
const TAILS_AT_ONCE: usize = 4;
/// Tables named in one request to a peer replica.
const FETCH_TABLES: usize = 64;
/// What one call may take.
const DEADLINE_MS: u64 = 5_000;

/// Keeps the shards of this node loaded.
#[derive(Clone)]
pub struct Loader {
    residents: Arc<Residents>,
    links: Links,
    hurry: Hurry,
}

impl Loader {
    /// A loader for these parts; it sends a heartbeat early when a shard becomes complete.
    pub fn new(residents: Arc<Residents>, links: Links, hurry: Hurry) -> Loader {
        Loader { residents, links, hurry }
    }

    /// Loads and compares for ever.
    pub async fn run(self) {
        let mut views = self.links.views.clone();
        let mut compared = time::now();
        loop {
            let shards = served_here(&self.links);
            self.residents.keep_only(&shards);
            let open: Vec<ShardId> =
                shards.iter().copied().filter(|shard| !self.residents.is_complete(*shard)).collect();
            self.load_all(&open).await;
            if compared.elapsed() >= COMPARE {
                compared = time::now();
                self.load_all(&shards.into_iter().collect::<Vec<_>>()).await;
            }
            let left = served_here(&self.links).iter().any(|shard| !self.residents.is_complete(*shard));
            let wait = if left { RETRY } else { COMPARE.saturating_sub(compared.elapsed()) };
            // A new map may bring new shards; an ended wait brings the next attempt.
            if let Ok(Err(_)) = time::timeout(wait, views.changed()).await {
                return;
            }
        }
    }

    async fn load_all(&self, shards: &[ShardId]) {
        stream::iter(shards.iter().copied())
            .for_each_concurrent(SHARDS_AT_ONCE, |shard| async move {
                match self.load(shard).await {
                    Ok(()) if !self.residents.is_complete(shard) => {
                        self.residents.set_complete(shard, true);
                        self.hurry.hurry();
                    }
                    Ok(()) => {}
                    Err(error) => tracing::debug!(%shard, %error, "the shard is not loaded yet"),
                }
            })
            .await;
    }

    /// Brings one shard to what the leaders list.
    async fn load(&self, shard: ShardId) -> Result<()> {
        let view = self.links.view()?;
        let groups: Vec<GroupId> =
            view.groups.iter().map(|group| group.group).filter(|group| *group != GroupId::META).collect();
        let mut result = Ok(());
        for group in groups {
            // A part that cannot be had keeps the shard from being complete, and not the other groups from being here.
            let loaded = self.load_group(&view, shard, group).await;
            if loaded.is_err() {
                result = loaded;
            }
        }
        result
    }

    async fn load_group(&self, view: &ClusterView, shard: ShardId, group: GroupId) -> Result<()> {
        let listed = self.list(view, group, shard).await?;
        let absent: BTreeMap<_, ShardTable> = listed
            .tables
            .iter()
            .filter(|table| !self.residents.claim(shard, table.table))
            .map(|table| (table.table, table.clone()))
            .collect();
        let absent = self.fetch_from_peers(view, shard, absent).await?;
        self.read_tails(shard, absent).await?;
        let names: BTreeSet<_> = listed.tables.iter().map(|table| table.table).collect();
        self.residents.compare(shard, group, &names, listed.mark);
        Ok(())
    }

    /// The list of a group's leader, by a map that is at least as new as ours.
    async fn list(&self, view: &ClusterView, group: GroupId, shard: ShardId) -> Result<ShardListed> {
        let group_view = view.group(group).ok_or_else(|| unavailable("the group is not known any more"))?;
        let leader_first =
            group_view.leader.into_iter().chain(group_view.replicas.iter().map(|replica| replica.node));
        let mut asked = BTreeSet::new();
        let mut last = unavailable("the group has no replicas");
        for node in leader_first {
            if !asked.insert(node) {
                continue;
            }
            match self.ask(node, group, shard).await {
                Ok(listed) if listed.epoch >= map_epoch(view) => return Ok(listed),
                Ok(_) => last = unavailable("the leader does not know the newest map yet"),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask(&self, node: NodeId, group: GroupId, shard: ShardId) -> Result<ShardListed> {
        let (peer, context) = self.links.group(node, DEADLINE_MS)?;
        within(peer.call(context, ListShard { group, shard })).await
    }

    /// Takes what peer replicas of the shard have; returns the rest.
    async fn fetch_from_peers(
        &self,
        view: &ClusterView,
        shard: ShardId,
        mut absent: BTreeMap<lamina_types::TableId, ShardTable>,
    ) -> Result<BTreeMap<lamina_types::TableId, ShardTable>> {
        let me = self.links.me.node();
        let peers = view.shard(shard).into_iter().flat_map(|shard| &shard.replicas);
        for replica in peers.filter(|replica| Some(replica.node) != me) {
            self.fetch_large(shard, replica.node, &mut absent).await?;
            let small = absent.iter().filter(|(_, table)| table.index_bytes <= PIECE_BYTES as u64);
            let mut wanted: Vec<_> = small.map(|(table, _)| *table).collect();
            while !wanted.is_empty() {
                let Ok((peer, context)) = self.links.index(replica.node, DEADLINE_MS) else { break };
                let tables: Vec<_> = wanted.iter().copied().take(FETCH_TABLES).collect();
                let Ok(fetched) = within(peer.call(context, FetchParts { tables })).await else { break };
                for part in fetched.parts {
                    self.take_fetched(shard, part, &mut absent).await?;
                }
                let answered = (fetched.answered as usize).min(wanted.len());
                if answered == 0 {
                    break;
                }
                wanted.drain(..answered);
            }
        }
        Ok(absent)
    }

    /// Takes parts that do not fit into a message from a peer replica, piece by piece.
    async fn fetch_large(
        &self,
        shard: ShardId,
        node: NodeId,
        absent: &mut BTreeMap<lamina_types::TableId, ShardTable>,
    ) -> Result<()> {
        let large = absent.iter().filter(|(_, table)| table.index_bytes > PIECE_BYTES as u64);
        for table in large.map(|(table, _)| *table).collect::<Vec<_>>() {
            let Ok((peer, context)) = self.links.index(node, DEADLINE_MS) else { return Ok(()) };
            let read = |offset| {
                let call = peer.call(context.clone(), FetchPiece { table, offset });
                async { within(call).await.map(|piece| (piece.bytes, piece.part_bytes)) }
            };
            // What this peer does not have, another one or the data files do.
            if let Ok(bytes) = pieces::join(read).await {
                self.take_fetched(shard, Part { table, bytes }, absent).await?;
            }
        }
        Ok(())
    }

    /// Installs what a peer replica sent, if it is what the leader lists.
    async fn take_fetched(
        &self,
        shard: ShardId,
        part: Part,
        absent: &mut BTreeMap<lamina_types::TableId, ShardTable>,
    ) -> Result<()> {
        let table = part.table;
        if absent.get(&table).is_some_and(|listed| is_intact(listed, &part.bytes)) {
            match self.install(shard, part).await {
                Ok(()) => drop(absent.remove(&table)),
                // Its memory lies; the data files have the part too.
                Err(error) if error.reason() == Reason::ChecksumMismatch => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is left from the tails of data files.
    async fn read_tails(
        &self,
        shard: ShardId,
        absent: BTreeMap<lamina_types::TableId, ShardTable>,
    ) -> Result<()> {
        let mut reads = stream::iter(absent.into_values().map(|table| self.read_tail(shard, table)))
            .buffer_unordered(TAILS_AT_ONCE);
        let mut result = Ok(());
        while let Some(read) = reads.next().await {
            if read.is_err() {
                result = read;
            }
        }
        result
    }

    async fn read_tail(&self, shard: ShardId, table: ShardTable) -> Result<()> {
        let mut last = unavailable("no data node has the table");
        let turn = (table.table.n as usize).checked_rem(table.copies.len()).unwrap_or(0);
        for node in table.copies.iter().cycle().skip(turn).take(table.copies.len()) {
            let answer = match self.links.data(*node, DEADLINE_MS) {
                Ok((peer, context)) => {
                    let read = |offset| {
                        let call = peer.call(context.clone(), ReadTail { table: table.table, offset });
                        async { within(call).await.map(TailRead::into_piece) }
                    };
                    pieces::join(read).await
                }
                Err(error) => Err(error),
            };
            match answer {
                Ok(bytes) if is_intact(&table, &bytes) => {
                    match self.install(shard, Part { table: table.table, bytes }).await {
                        // Its bytes changed on the way, or in that node's memory; another copy has the part too.
                        Err(error) if error.reason() == Reason::ChecksumMismatch => last = error,
                        installed => return installed,
                    }
                }
                Ok(_) => last = unavailable("the index part in a data file is damaged"),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Checks and takes in one part; checking a large one takes a while, so it does not hold up lookups.
    async fn install(&self, shard: ShardId, part: Part) -> Result<()> {
        let residents = self.residents.clone();
        task::compute(move || residents.install(shard, &[part]))
            .await
            .map_err(|error| Error::new(Reason::Bug, format!("installing an index part failed: {error}")))?
            .map_err(|error| match error {
                NotInstalled::MemoryLimit { .. } => Error::new(Reason::MemoryLimit, error.to_string()),
                NotInstalled::Corrupt(_) => Error::new(Reason::ChecksumMismatch, error.to_string()),
            })
    }
}

/// The epoch that a leader's list must be made by: that of the map in which we saw our own assignment.
fn map_epoch(view: &ClusterView) -> Epoch {
    view.epoch
}

fn is_intact(table: &ShardTable, bytes: &Bytes) -> bool {
    // The part ends with its own checksum, which the record repeats; the content is checked when it is installed.
    let stored = bytes.last_chunk::<4>().map(|crc| u32::from_le_bytes(*crc));
    bytes.len() as u64 == table.index_bytes && stored == Some(table.index_crc)
}

async fn within<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    time::timeout(Duration::from_millis(DEADLINE_MS), call)
        .await
        .unwrap_or_else(|_| Err(unavailable("the node did not answer in time")))
}

fn unavailable(why: &str) -> Error {
    Error::new(Reason::Unreachable, why)
}

#[cfg(test)]
mod tests;
