//! Stores new tables on data nodes and installs their index parts on index nodes.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lamina_env::time::{self, Duration};
use lamina_node::Links;
use lamina_peers::data::{CopyTarget, Seal, TableWritten, WriteTable};
use lamina_peers::index::{Install, InstallPiece, Part};
use lamina_peers::pieces;
use lamina_types::{CopyStamp, Epoch, Error, NodeId, Reason, Result, ShardId, TableId};
use parking_lot::Mutex;

/// Bytes of one piece of a table on its way to a data node.
const PIECE_BYTES: usize = 1 << 20;
/// The longest that one piece is waited for.
const PIECE_DEADLINE_MS: u64 = 20_000;
/// How long the slower copies are waited for once a write quorum is sealed.
const GRACE: Duration = Duration::from_millis(500);
/// Bytes of index parts in one message. A larger part goes in pieces.
const INSTALL_BYTES: usize = 4 << 20;
/// How long an index node is waited for.
const INSTALL: Duration = Duration::from_secs(2);
/// What an index node is told that one message may take.
const INSTALL_DEADLINE_MS: u64 = 5_000;

/// Stores new tables. One for each frontend.
pub struct Tables {
    links: Links,
    /// Index nodes that missed the bound of an install, with the map epoch at that time: they are not waited for
    /// again until a newer map says that they are complete.
    late: Mutex<BTreeMap<NodeId, Epoch>>,
}

/// The whole file of a new table.
pub struct TableFile {
    /// The table.
    pub table: TableId,
    /// Its bytes in any pieces.
    pub pieces: Vec<Bytes>,
    /// What it must be when it is whole.
    pub seal: Seal,
}

impl Tables {
    /// A hand that knows its cluster through `links`.
    pub fn new(links: Links) -> Tables {
        Tables { links, late: Mutex::new(BTreeMap::new()) }
    }

    /// Writes one copy to each target at the same time, and answers when `quorum` of them are sealed and the others
    /// had a little more time.
    ///
    /// # Errors
    /// Fewer than `quorum` could be sealed: what was written is garbage of the caller's reign.
    pub async fn store(
        &self,
        file: &TableFile,
        targets: &[CopyTarget],
        quorum: usize,
    ) -> Result<BTreeMap<NodeId, CopyStamp>> {
        let mut writes: FuturesUnordered<_> =
            targets.iter().map(|target| self.write_copy(file, target)).collect();
        let mut sealed = BTreeMap::new();
        let mut why = Error::new(Reason::NotReady, "there are too few data nodes for a new table");
        let mut deadline = None;
        loop {
            let next = match deadline {
                None => writes.next().await,
                Some(deadline) => time::timeout_at(deadline, writes.next()).await.unwrap_or(None),
            };
            match next {
                Some(Ok((node, stamp))) => {
                    sealed.insert(node, stamp);
                }
                Some(Err(error)) => why = error,
                None => break,
            }
            if sealed.len() >= quorum && deadline.is_none() {
                deadline = Some(time::now() + GRACE);
            }
        }
        if sealed.len() < quorum { Err(why) } else { Ok(sealed) }
    }

    async fn write_copy(&self, file: &TableFile, target: &CopyTarget) -> Result<(NodeId, CopyStamp)> {
        let mut offset = 0;
        let mut pieces = cut(&file.pieces).into_iter().peekable();
        while let Some(bytes) = pieces.next() {
            let length = bytes.len() as u64;
            let seal = pieces.peek().is_none().then_some(file.seal);
            let (peer, context) = self.links.data(target.node, PIECE_DEADLINE_MS)?;
            let request = WriteTable { table: file.table, stamp: target.stamp, offset, bytes, seal };
            let written: TableWritten = peer.call(context, request).await?;
            if written.sealed {
                return Ok((target.node, target.stamp));
            }
            offset += length;
        }
        Err(Error::new(Reason::Bug, "the data node took the whole table and did not seal it"))
    }

    /// Installs index parts on the nodes that serve or load the shard; waits, for a bounded time, for those that
    /// are worth waiting for.
    pub async fn install(&self, shard: ShardId, parts: Vec<Part>) {
        let Ok(view) = self.links.view() else { return };
        let Some(shard_view) = view.shard(shard) else { return };
        let batches = batches(parts);
        let installs = shard_view.replicas.iter().map(|replica| {
            let (batches, node) = (batches.clone(), replica.node);
            let (wait, epoch) = (self.is_waited_for(node, replica.complete, view.epoch), view.epoch);
            async move {
                let limit = if wait { INSTALL } else { Duration::from_millis(50) };
                for parts in batches {
                    if self.install_on(node, shard, parts, limit).await.is_err() {
                        self.late.lock().insert(node, epoch);
                        return;
                    }
                }
            }
        });
        futures::future::join_all(installs).await;
    }

    /// Installs parts that fit into one message together, or one that fits into none, on one node; each message is
    /// waited for at most so long.
    ///
    /// # Errors
    /// The node did not answer in time, or did not take the parts.
    pub async fn install_on(
        &self,
        node: NodeId,
        shard: ShardId,
        parts: Vec<Part>,
        limit: Duration,
    ) -> Result<()> {
        let (peer, context) = self.links.index(node, INSTALL_DEADLINE_MS)?;
        let bound = |_| Error::new(Reason::Unreachable, "the index node did not answer in time");
        match parts.as_slice() {
            [Part { table, bytes }] if bytes.len() > pieces::PIECE_BYTES => {
                let (table, part_bytes) = (*table, bytes.len() as u64);
                for offset in (0..part_bytes).step_by(pieces::PIECE_BYTES) {
                    let bytes = pieces::piece(bytes, offset);
                    let piece = InstallPiece { shard, table, part_bytes, offset, bytes };
                    time::timeout(limit, peer.call(context.clone(), piece)).await.map_err(bound)??;
                }
            }
            _ => {
                time::timeout(limit, peer.call(context, Install { shard, parts })).await.map_err(bound)??;
            }
        }
        Ok(())
    }

    fn is_waited_for(&self, node: NodeId, complete: bool, epoch: Epoch) -> bool {
        let mut late = self.late.lock();
        match late.get(&node) {
            Some(then) if *then >= epoch || !complete => false,
            _ => {
                late.remove(&node);
                true
            }
        }
    }
}

/// Parts in stretches of about [`INSTALL_BYTES`].
fn batches(parts: Vec<Part>) -> Vec<Vec<Part>> {
    let mut batches = Vec::new();
    let mut batch: Vec<Part> = Vec::new();
    let mut bytes = 0;
    for part in parts {
        if bytes + part.bytes.len() > INSTALL_BYTES && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += part.bytes.len();
        batch.push(part);
    }
    batches.push(batch);
    batches
}

/// Cuts and joins pieces so that each but the last has about [`PIECE_BYTES`]; large ones are sliced, not copied.
fn cut(pieces: &[Bytes]) -> Vec<Bytes> {
    let mut out = Vec::new();
    let mut joined: Vec<u8> = Vec::new();
    for piece in pieces {
        let mut rest = piece.clone();
        while !rest.is_empty() {
            let room = PIECE_BYTES - joined.len();
            if joined.is_empty() && rest.len() >= PIECE_BYTES {
                out.push(rest.split_to(PIECE_BYTES));
                continue;
            }
            joined.extend_from_slice(&rest.split_to(room.min(rest.len())));
            if joined.len() >= PIECE_BYTES {
                out.push(Bytes::from(std::mem::take(&mut joined)));
            }
        }
    }
    if !joined.is_empty() {
        out.push(Bytes::from(joined));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_their_bytes_and_have_the_right_size() {
        let pieces: Vec<Bytes> = (0..40u8).map(|n| Bytes::from(vec![n; usize::from(n) * 9_001])).collect();
        let cut = cut(&pieces);
        assert_eq!(cut.concat(), pieces.concat());
        assert!(cut.iter().rev().skip(1).all(|piece| piece.len() == PIECE_BYTES));
    }
}
