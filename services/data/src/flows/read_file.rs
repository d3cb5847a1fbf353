//! Stretches of sealed files, and index parts, for copies and for index nodes that load.

use lamina_peers::data::{FileRead, ReadFile, ReadTail, TailRead};
use lamina_types::limits::MESSAGE_BYTES_MAX;
use lamina_types::{Error, Reason, Result};

use crate::fault;
use crate::hands::tail::TailError;
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

/// Reads the index part.
pub(crate) async fn read_tail(node: &Node, request: ReadTail) -> Result<TailRead> {
    let table = request.table;
    let open = node.open_table(table).await.map_err(|error| error.into_error(table))?;
    let tail = node.read_tail(&open).await.map_err(|error| match error {
        TailError::Damaged(corruption) => Error::new(
            Reason::DataLoss,
            format!("the tail of this copy is damaged, try another: {corruption}"),
        ),
        TailError::Io(error) => fault::disk(&format!("read the tail of table {table}"), &error),
    })?;
    let index_part = tail.part.bytes().clone();
    if index_part.len() > MESSAGE_BYTES_MAX {
        let why =
            format!("the index part of table {table} has {} bytes; read it with ReadFile", index_part.len());
        return Err(Error::new(Reason::MessageTooLarge, why));
    }
    Ok(TailRead { index_part })
}
