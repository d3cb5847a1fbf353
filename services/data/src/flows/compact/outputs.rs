//! One output of a job: streamed to all its targets at the same time, this node among them or not.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lamina_engine::table::BuiltTable;
use lamina_env::task::{self, JoinHandle};
use lamina_env::time::{self, Duration};
use lamina_peers::data::{CompactionOutput, CopyTarget, Seal, TableWritten, WriteTable, WrittenTable};
use lamina_types::{CopyStamp, Error, NodeId, Reason, Result, TableId};
use tokio::sync::mpsc;

use super::JobError;
use crate::flows::write_table;
use crate::node::Node;

/// Bytes of one piece.
const PIECE_BYTES: usize = 1 << 20;
/// Pieces that a slow target may be behind.
const PIECES_BEHIND: usize = 4;
/// A target that does not take a piece for so long is given up, if enough others are left.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the slower targets are waited for when the quorum has sealed.
const GRACE: Duration = Duration::from_secs(1);

/// A table on its way.
pub(super) struct Writer {
    table: TableId,
    quorum: usize,
    lanes: Vec<Lane>,
    joined: Vec<u8>,
    sent: u64,
}

/// The way to one target.
struct Lane {
    pieces: mpsc::Sender<Piece>,
    sealed: JoinHandle<Result<(NodeId, CopyStamp)>>,
}

#[derive(Clone)]
struct Piece {
    offset: u64,
    bytes: Bytes,
    seal: Option<Seal>,
}

impl Writer {
    /// Begins a table.
    pub fn begin(node: &Arc<Node>, output: &CompactionOutput, quorum: usize) -> Writer {
        let lanes = output.targets.iter().map(|target| Lane::open(node, output.table, target)).collect();
        Writer { table: output.table, quorum, lanes, joined: Vec::new(), sent: 0 }
    }

    /// Streams further bytes.
    pub async fn write(&mut self, data: Vec<Bytes>) -> Result<(), JobError> {
        for bytes in data {
            self.joined.extend_from_slice(&bytes);
            if self.joined.len() >= PIECE_BYTES {
                self.send(None).await?;
            }
        }
        Ok(())
    }

    /// Streams the rest, and waits until the quorum has sealed and the others had a little more time.
    pub async fn finish(mut self, node: Arc<Node>, built: BuiltTable) -> Result<WrittenTable, JobError> {
        let seal = Seal { file_bytes: built.file_bytes, footer_crc: built.footer_crc };
        let mut rest = built.rest;
        while !rest.is_empty() {
            let room = PIECE_BYTES.saturating_sub(self.joined.len()).clamp(1, rest.len());
            self.joined.extend_from_slice(&rest.split_to(room));
            if !rest.is_empty() {
                self.send(None).await?;
            }
        }
        self.send(Some(seal)).await?;
        node.metrics.compaction_output_bytes.inc_by(seal.file_bytes);
        let (table, quorum) = (self.table, self.quorum);
        let copies = self.collect().await;
        if copies.0.len() < quorum {
            let why = copies.1.map_or_else(|| "no target answered".to_owned(), |error| error.to_string());
            let sealed = copies.0.len();
            return Err(JobError::Failed(format!(
                "output {table} is sealed on {sealed} of {quorum} nodes: {why}"
            )));
        }
        let (file_bytes, footer_crc) = (seal.file_bytes, seal.footer_crc);
        Ok(WrittenTable { table, copies: copies.0, index_part: built.index_part, file_bytes, footer_crc })
    }

    async fn collect(self) -> (Vec<(NodeId, CopyStamp)>, Option<Error>) {
        let mut waiting: FuturesUnordered<_> = self
            .lanes
            .into_iter()
            .map(|lane| {
                // The lane ends when its last piece is taken.
                drop(lane.pieces);
                lane.sealed
            })
            .collect();
        let (mut sealed, mut why, mut until) = (Vec::new(), None, None);
        loop {
            let next = match until {
                None => waiting.next().await,
                Some(until) => time::timeout_at(until, waiting.next()).await.unwrap_or(None),
            };
            match next {
                None => break,
                Some(Ok(Ok(copy))) => sealed.push(copy),
                Some(Ok(Err(error))) => why = Some(error),
                Some(Err(_)) => why = Some(crate::fault::stopping()),
            }
            if sealed.len() >= self.quorum && until.is_none() {
                until = Some(time::now() + GRACE);
            }
        }
        sealed.sort_unstable();
        (sealed, why)
    }

    /// Gives what is joined to all targets that are left.
    async fn send(&mut self, seal: Option<Seal>) -> Result<(), JobError> {
        let bytes = Bytes::from(std::mem::take(&mut self.joined));
        let piece = Piece { offset: self.sent, bytes, seal };
        self.sent += piece.bytes.len() as u64;
        let mut alive = self.lanes.iter().filter(|lane| !lane.pieces.is_closed()).count();
        for lane in self.lanes.iter().filter(|lane| !lane.pieces.is_closed()) {
            let taken = if alive > self.quorum {
                time::timeout(PATIENCE, lane.pieces.send(piece.clone())).await.is_ok_and(|sent| sent.is_ok())
            } else {
                lane.pieces.send(piece.clone()).await.is_ok()
            };
            if !taken {
                lane.sealed.abort();
                alive -= 1;
            }
        }
        if alive >= self.quorum {
            return Ok(());
        }
        let why = self.why().await;
        Err(JobError::Failed(format!(
            "output {} cannot be written to {} nodes: {why}",
            self.table, self.quorum
        )))
    }

    /// What the first lane that ended has to say.
    async fn why(&mut self) -> String {
        for lane in &mut self.lanes {
            if lane.sealed.is_finished()
                && let Ok(Err(error)) = (&mut lane.sealed).await
            {
                return error.to_string();
            }
        }
        "targets do not answer".to_owned()
    }
}

impl Lane {
    fn open(node: &Arc<Node>, table: TableId, target: &CopyTarget) -> Lane {
        let (pieces, received) = mpsc::channel(PIECES_BEHIND);
        Lane { pieces, sealed: task::spawn(carry(node.clone(), table, target.clone(), received)) }
    }
}

/// Gives pieces to one target, one at a time, until the table is sealed there.
async fn carry(
    node: Arc<Node>,
    table: TableId,
    target: CopyTarget,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<(NodeId, CopyStamp)> {
    while let Some(piece) = pieces.recv().await {
        let request = WriteTable {
            table,
            stamp: target.stamp,
            offset: piece.offset,
            bytes: piece.bytes,
            seal: piece.seal,
        };
        let written = give(&node, &target, request).await?;
        if written.sealed {
            return Ok((target.node, target.stamp));
        }
    }
    // The job was stopped. What another node has got, it throws away by itself after a while.
    if target.node == node.options.node
        && let Some(write) = node.writes.remove((table, target.stamp))
    {
        write_table::discard(&node, &write).await;
    }
    Err(Error::new(Reason::NotReady, format!("table {table} was not completed")))
}

async fn give(node: &Arc<Node>, target: &CopyTarget, request: WriteTable) -> Result<TableWritten> {
    if target.node == node.options.node {
        return write_table::write_table(node, request).await;
    }
    node.peers.data(&target.address).call(node.peers.context(target.node), request).await
}
