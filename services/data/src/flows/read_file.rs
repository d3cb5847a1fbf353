//! Stretches of sealed files, and index parts, for copies and for index nodes that load.

use std::sync::Arc;

use lamina_peers::data::{FileRead, ReadFile, ReadTail, TailRead};
use lamina_peers::pieces;
use lamina_types::{Error, Reason, Result};

use crate::fault;
use crate::hands::tail::{Tail, TailError};
use crate::node::Node;

/// Bytes of one answer at most; a caller who asks for more goes on behind them.
const PIECE_BYTES_MAX: u32 = 4 << 20;

/// Reads a stretch of a file as it is.
pub(crate) async fn read_file(node: &Node, request: ReadFile) -> Result<FileRead> {
    let table = request.table;
    let open = node.open_table(table).await.map_err(|error| error.into_error(table))?;
    let file_bytes = open.sealed.file_bytes;
    let left = file_bytes.saturating_sub(request.offset);
    let length = left.min(u64::from(request.length.min(PIECE_BYTES_MAX))) as usize;
    let bytes = open.file.read_at(request.offset.min(file_bytes), length).await.map_err(|error| {
        node.note_unreadable(table, open.sealed.generation, &error);
        fault::disk(&format!("read table {table}"), &error)
    })?;
    Ok(FileRead { bytes, file_bytes })
}

/// Reads a piece of the index part. The pieces of a large one come from memory, once it was read and checked.
pub(crate) async fn read_tail(node: &Node, request: ReadTail) -> Result<TailRead> {
    let table = request.table;
    let open = node.open_table(table).await.map_err(|error| error.into_error(table))?;
    let large = |tail: &Tail| tail.part.bytes().len() > pieces::PIECE_BYTES;
    let known =
        node.tails.get(table, open.sealed.generation).filter(|tail| request.offset > 0 && large(tail));
    let read = match known {
        Some(tail) => Ok(tail),
        None => node.read_tail(&open).await.map(Arc::new),
    };
    let tail = read.map_err(|error| match error {
        TailError::Damaged(corruption) => Error::new(
            Reason::DataLoss,
            format!("the tail of this copy is damaged, try another: {corruption}"),
        ),
        TailError::Io(error) => fault::disk(&format!("read the tail of table {table}"), &error),
    })?;
    let part = tail.part.bytes();
    let read = TailRead { index_part: pieces::piece(part, request.offset), part_bytes: part.len() as u64 };
    if large(&tail) {
        node.tails.put(table, open.sealed.generation, tail);
    }
    Ok(read)
}
