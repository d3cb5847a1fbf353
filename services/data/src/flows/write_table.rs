//! A new table comes in pieces: receive → verify every block → sync → name → sync the directory → sealed.

use std::sync::Arc;

use lamina_env::time;
use lamina_peers::data::{Seal, TableWritten, WriteTable};
use lamina_types::{Error, Reason, Result, TableId};

use crate::fault;
use crate::flows::seal;
use crate::hands::store::Incoming;
use crate::hands::tail::{Tail, TailError};
use crate::hands::verify;
use crate::hands::writes::{OpenWrite, Received};
use crate::node::Node;

/// Takes one piece.
pub(crate) async fn write_table(node: &Arc<Node>, request: WriteTable) -> Result<TableWritten> {
    let stopped = node.jobs.see(request.table.group, request.stamp.reign);
    node.metrics.jobs_stopped.inc_by(stopped);
    let inner = node.clone();
    node.finish(async move { take_piece(&inner, request).await }).await
}

/// Ends a write and removes its file.
pub(crate) async fn discard(node: &Node, write: &OpenWrite) {
    if let Some(incoming) = write.lock().await.incoming.take() {
        node.store.discard(&incoming.path).await;
    }
}

async fn take_piece(node: &Node, request: WriteTable) -> Result<TableWritten> {
    let table = request.table;
    let end = request.offset.checked_add(request.bytes.len() as u64);
    let end = end.filter(|end| *end <= node.options.table_bytes_max).ok_or_else(|| {
        let max = node.options.table_bytes_max;
        Error::new(
            Reason::FieldInvalid,
            format!("table {table} is longer than the {max} bytes that a node takes"),
        )
    })?;
    if let Some(written) = known_already(node, &request).await? {
        return Ok(written);
    }
    let key = (table, request.stamp);
    let open = node.writes.get(key, request.offset == 0, node.options.writes_max, time::now());
    let open = open.map_err(|_| {
        let why = format!("{} tables are being received; table {table} has to wait", node.options.writes_max);
        Error::new(Reason::TooManyOpen, why).retry_after_ms(200)
    })?;
    let open = open.ok_or_else(|| out_of_order(table, 0))?;
    let mut received = open.lock().await;
    if received.incoming.is_none() && request.offset != 0 {
        // The last piece was under way twice, and the other one has come to its end.
        drop(received);
        return known_already(node, &request).await?.ok_or_else(|| out_of_order(table, 0));
    }
    let taken = take_bytes(node, &mut received, &request, end).await;
    if let Ok(Piece::Repeated) = taken {
        return Ok(TableWritten { received: received.bytes, sealed: false });
    }
    match (taken, request.seal) {
        (Ok(_), None) => Ok(TableWritten { received: end, sealed: false }),
        (Ok(_), Some(wanted)) => {
            let incoming = received.incoming.take();
            node.writes.remove(key);
            let incoming = incoming.ok_or_else(|| out_of_order(table, 0))?;
            seal_received(node, &incoming, &request, wanted, end).await
        }
        // What was received stays: the caller may go on where it is.
        (Err(error), _) if error.reason() == Reason::StateRefused => Err(error),
        (Err(error), _) => {
            node.writes.remove(key);
            if let Some(incoming) = received.incoming.take() {
                node.store.discard(&incoming.path).await;
            }
            Err(error)
        }
    }
}

/// The last piece again, or the last piece of a table that came here in another way: nothing has to be received.
async fn known_already(node: &Node, request: &WriteTable) -> Result<Option<TableWritten>> {
    let (Some(wanted), Some(here)) = (request.seal, node.catalogue.get(request.table)) else {
        return Ok(None);
    };
    let known = node.seal_of(request.table, here).await;
    if known.is_none() || !seal::is_sound(node, request.table) {
        return Ok(None);
    }
    // Not under the lock of the table: whoever seals holds the write and waits for that lock.
    if let Some(write) = node.writes.remove((request.table, request.stamp)) {
        discard(node, &write).await;
    }
    if known != Some(wanted) {
        return Err(fault::conflict(request.table));
    }
    let _lock = node.locks.lock(request.table).await;
    if node.catalogue.get(request.table).is_none_or(|now| now.generation != here.generation) {
        return Err(Error::new(Reason::StateRefused, format!("table {} changed; begin anew", request.table)));
    }
    seal::raise_stamp(node, request.table, request.stamp).await?;
    Ok(Some(TableWritten { received: wanted.file_bytes, sealed: true }))
}

enum Piece {
    Written,
    Repeated,
}

async fn take_bytes(node: &Node, received: &mut Received, request: &WriteTable, end: u64) -> Result<Piece> {
    let failed = |error| fault::disk(&format!("write table {}", request.table), &error);
    if request.offset == 0 {
        if let Some(old) = received.incoming.take() {
            node.store.discard(&old.path).await;
        }
        received.bytes = 0;
        received.incoming = Some(node.store.begin().await.map_err(failed)?);
    }
    let Some(incoming) = &received.incoming else { return Err(out_of_order(request.table, 0)) };
    if request.offset != received.bytes {
        let repeated = end <= received.bytes && request.seal.is_none();
        return if repeated { Ok(Piece::Repeated) } else { Err(out_of_order(request.table, received.bytes)) };
    }
    if !request.bytes.is_empty() {
        incoming.file.write_at(request.offset, vec![request.bytes.clone()]).await.map_err(failed)?;
    }
    node.metrics.written_bytes.inc_by(request.bytes.len() as u64);
    received.bytes = end;
    Ok(Piece::Written)
}

async fn seal_received(
    node: &Node,
    incoming: &Incoming,
    request: &WriteTable,
    wanted: Seal,
    received: u64,
) -> Result<TableWritten> {
    // The disk works while we read what it was given.
    let (synced, checked) =
        futures::join!(incoming.file.sync(), check(incoming, request.table, wanted, received));
    let synced = synced.map_err(|error| fault::disk(&format!("sync table {}", request.table), &error));
    if let Err(error) = checked.and(synced) {
        node.store.discard(&incoming.path).await;
        return Err(error);
    }
    seal::seal(node, incoming, request.table, request.stamp, wanted, false).await?;
    Ok(TableWritten { received, sealed: true })
}

/// Whether what was received is what the sender meant, down to every block.
async fn check(incoming: &Incoming, table: TableId, wanted: Seal, received: u64) -> Result<()> {
    let refuse = |why: String| {
        Err(Error::new(Reason::ChecksumMismatch, format!("table {table} is not sealed: {why}")))
    };
    if wanted.file_bytes != received {
        return refuse(format!("{received} bytes came, {} were announced", wanted.file_bytes));
    }
    let tail = match Tail::read(incoming.file.as_ref(), received, table).await {
        Ok(tail) => tail,
        Err(TailError::Damaged(corruption)) => return refuse(corruption.to_string()),
        Err(TailError::Io(error)) => return Err(fault::disk(&format!("verify table {table}"), &error)),
    };
    if tail.seal() != wanted {
        return refuse("its footer has another checksum than was announced".to_owned());
    }
    if tail.footer.origin != table {
        return refuse(format!("its bytes were made as table {}", tail.footer.origin));
    }
    match verify::verify_blocks(incoming.file.as_ref(), &tail.part).await.first() {
        Some(damaged) => refuse(format!("block {} is damaged", damaged.block)),
        None => Ok(()),
    }
}

fn out_of_order(table: TableId, received: u64) -> Error {
    let why =
        format!("a piece of table {table} does not begin where the one before ended, at byte {received}");
    Error::new(Reason::StateRefused, why).with("received", received)
}
