//! A copy of a table from other nodes (protocols §7.5): fetch → verify every block → mend single blocks from further
//! sources → sync → seal.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use lamina_engine::block::Block;
use lamina_engine::index_part::IndexPart;
use lamina_peers::data::{CopySource, CopyTable, FileRead, ReadFile, TableSealed};
use lamina_types::{BlockHandle, CopyStamp, Error, Kind, Reason, Result, TableId};

use crate::fault;
use crate::flows::{doubt, seal};
use crate::hands::store::Incoming;
use crate::hands::tail::{Tail, TailError};
use crate::hands::verify;
use crate::heart::catalogue::Condition;
use crate::node::Node;

/// Bytes of one request.
const PIECE_BYTES: u32 = 1 << 20;
/// Requests that are under way at once.
const PIECES_AHEAD: usize = 3;

/// Makes a copy here. Goes on to its end when the caller goes away; asking again finds it.
pub(crate) async fn copy_table(node: &Arc<Node>, request: CopyTable) -> Result<TableSealed> {
    node.metrics.jobs_stopped.inc_by(node.jobs.see(request.table.group, request.stamp.reign));
    let inner = node.clone();
    node.finish(async move { copy(&inner, &request).await }).await
}

async fn copy(node: &Node, request: &CopyTable) -> Result<TableSealed> {
    let _permit = node.copying.acquire().await.map_err(|_| fault::stopping())?;
    if let Some(stamp) = here_already(node, request).await? {
        return Ok(TableSealed { stamp });
    }
    let mut worst: Option<Error> = None;
    for source in request.from.iter().filter(|source| source.node != node.options.node) {
        match copy_from(node, request, source).await {
            Ok(stamp) => return Ok(TableSealed { stamp }),
            Err(error) if is_ours(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(table = %request.table, source = %source.node, %error, "a source gave no copy");
                worst = Some(worse(worst, error));
            }
        }
    }
    let none = || {
        Error::new(Reason::FieldInvalid, format!("no other node is named that has table {}", request.table))
    };
    Err(worst.unwrap_or_else(none))
}

/// Whether the order was carried out before, or the copy was here all along.
async fn here_already(node: &Node, request: &CopyTable) -> Result<Option<CopyStamp>> {
    let _lock = node.locks.lock(request.table).await;
    let Some(here) = node.catalogue.get(request.table) else { return Ok(None) };
    let replaced = here.stamp >= request.stamp && here.condition == Condition::Verified;
    if here.condition == Condition::Damaged || (request.replace && !replaced) {
        return Ok(None);
    }
    if node.seal_of(request.table, here).await.is_none() {
        return Ok(None);
    }
    seal::raise_stamp(node, request.table, request.stamp).await.map(Some)
}

/// Another source would not help against these.
fn is_ours(error: &Error) -> bool {
    matches!(error.reason(), Reason::DiskFull | Reason::TableConflict)
}

/// What the caller should hear of several failures: as long as some source was silent, nobody says that the bytes
/// are lost; as long as some copy is damaged, nobody says that there is none.
fn worse(a: Option<Error>, b: Error) -> Error {
    let rank = |error: &Error| match error.kind() {
        Kind::NotFound => 0,
        Kind::DataLoss => 1,
        _ => 2,
    };
    match a {
        Some(a) if rank(&a) >= rank(&b) => a,
        _ => b,
    }
}

async fn copy_from(node: &Node, request: &CopyTable, source: &CopySource) -> Result<CopyStamp> {
    let table = request.table;
    let incoming =
        node.store.begin().await.map_err(|error| fault::disk(&format!("copy table {table}"), &error))?;
    let result = receive(node, request, source, &incoming).await;
    match result {
        Ok(tail) => {
            let stamp =
                seal::seal(node, &incoming, table, request.stamp, tail.seal(), request.replace).await?;
            node.metrics.copies.inc();
            Ok(stamp)
        }
        Err(error) => {
            node.store.discard(&incoming.path).await;
            Err(error)
        }
    }
}

/// Fetches, verifies, mends and syncs.
async fn receive(node: &Node, request: &CopyTable, source: &CopySource, incoming: &Incoming) -> Result<Tail> {
    let table = request.table;
    let file_bytes = fetch(node, table, source, incoming).await?;
    let tail = Tail::read(incoming.file.as_ref(), file_bytes, table).await.map_err(|error| match error {
        TailError::Damaged(corruption) => {
            doubt::doubt(node, source, table);
            let why = format!("the copy of table {table} on node {} is damaged: {corruption}", source.node);
            Error::new(Reason::DataLoss, why)
        }
        TailError::Io(error) => fault::disk(&format!("verify the copy of table {table}"), &error),
    })?;
    let damaged = verify::verify_blocks(incoming.file.as_ref(), &tail.part).await;
    if !damaged.is_empty() {
        doubt::doubt(node, source, table);
    }
    for block in damaged {
        mend(node, request, source, incoming, &tail.part, block).await?;
    }
    incoming
        .file
        .sync()
        .await
        .map_err(|error| fault::disk(&format!("sync the copy of table {table}"), &error))?;
    Ok(tail)
}

/// Fetches the whole file as it is; answers its length.
async fn fetch(node: &Node, table: TableId, source: &CopySource, incoming: &Incoming) -> Result<u64> {
    let first = read_piece(node, table, source, 0, PIECE_BYTES).await?;
    let file_bytes = first.file_bytes;
    if file_bytes > node.options.table_bytes_max {
        let why = format!("table {table} has {file_bytes} bytes, more than this node takes");
        return Err(Error::new(Reason::FieldInvalid, why));
    }
    let mut at = 0;
    at = keep(node, table, incoming, at, file_bytes, first).await?;
    let offsets = std::iter::successors(Some(at), |at| at.checked_add(u64::from(PIECE_BYTES)));
    let offsets: Vec<u64> = offsets.take_while(|at| *at < file_bytes).collect();
    let mut pieces = stream::iter(offsets)
        .map(|at| read_piece(node, table, source, at, PIECE_BYTES))
        .buffered(PIECES_AHEAD);
    while let Some(piece) = pieces.next().await {
        at = keep(node, table, incoming, at, file_bytes, piece?).await?;
    }
    Ok(file_bytes)
}

/// Writes a piece behind those before it.
async fn keep(
    node: &Node,
    table: TableId,
    incoming: &Incoming,
    at: u64,
    file_bytes: u64,
    piece: FileRead,
) -> Result<u64> {
    let wanted = (file_bytes.saturating_sub(at)).min(u64::from(PIECE_BYTES));
    if piece.file_bytes != file_bytes || piece.bytes.len() as u64 != wanted {
        let why = format!("the copy of table {table} changed its length while it was read");
        return Err(Error::new(Reason::StateMoved, why));
    }
    let written = incoming.file.write_at(at, vec![piece.bytes]).await;
    written.map_err(|error| fault::disk(&format!("write the copy of table {table}"), &error))?;
    node.metrics.written_bytes.inc_by(wanted);
    Ok(at + wanted)
}

async fn read_piece(
    node: &Node,
    table: TableId,
    source: &CopySource,
    offset: u64,
    length: u32,
) -> Result<FileRead> {
    let peer = node.peers.data(&source.address);
    peer.call(node.peers.context(source.node), ReadFile { table, offset, length }).await
}

/// Gets one block that is damaged in the fetched copy from another source, or from the copy that is here.
async fn mend(
    node: &Node,
    request: &CopyTable,
    used: &CopySource,
    incoming: &Incoming,
    part: &IndexPart,
    block: BlockHandle,
) -> Result<()> {
    let table = request.table;
    let mut silent = None;
    let mut intact: Option<Bytes> = None;
    for other in
        request.from.iter().filter(|other| other.node != used.node && other.node != node.options.node)
    {
        match read_piece(node, table, other, block.offset, block.length).await {
            Ok(piece) if Block::verify(&piece.bytes, part.origin(), block.block).is_ok() => {
                intact = Some(piece.bytes);
                break;
            }
            Ok(_) => doubt::doubt(node, other, table),
            Err(error) if matches!(error.kind(), Kind::DataLoss | Kind::NotFound) => {}
            Err(error) => silent = Some(error),
        }
    }
    if intact.is_none() {
        intact = own_block(node, table, part, block).await;
    }
    let Some(bytes) = intact else {
        let lost = || {
            Error::new(
                Reason::DataLoss,
                format!("block {} of table {table} is intact on no copy", block.block),
            )
        };
        return Err(silent.unwrap_or_else(lost));
    };
    let written = incoming.file.write_at(block.offset, vec![bytes]).await;
    written.map_err(|error| fault::disk(&format!("write the copy of table {table}"), &error))
}

/// The same block of the copy that is to be replaced: it need not be the damaged one.
async fn own_block(node: &Node, table: TableId, part: &IndexPart, block: BlockHandle) -> Option<Bytes> {
    let open = node.open_table(table).await.ok()?;
    let bytes = verify::read_block(open.file.as_ref(), block).await.ok()?;
    Block::verify(&bytes, part.origin(), block.block).is_ok().then_some(bytes)
}
