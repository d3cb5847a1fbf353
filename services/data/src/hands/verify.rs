//! Reads tables through and says which of their bytes are not what was written.

use std::io;

use bytes::Bytes;
use lamina_engine::block::Block;
use lamina_engine::index_part::IndexPart;
use lamina_env::disk::File;
use lamina_env::task;
use lamina_types::{BlockHandle, TableId};

/// Bytes that are read at once.
pub(crate) const SPAN_BYTES: u64 = 1 << 20;

/// All blocks of a table in stretches of about [`SPAN_BYTES`], without gaps.
pub(crate) fn spans(part: &IndexPart) -> Vec<Vec<BlockHandle>> {
    let mut spans: Vec<Vec<BlockHandle>> = Vec::new();
    for handle in part.infos().map(|info| info.handle) {
        let start = spans.last().and_then(|span| span.first()).map(|first| first.offset);
        match (spans.last_mut(), start) {
            (Some(span), Some(start)) if handle.end() - start <= SPAN_BYTES => span.push(handle),
            _ => spans.push(vec![handle]),
        }
    }
    spans
}

/// Reads a stretch of blocks that follow each other and answers those that are damaged or cannot be read.
pub(crate) async fn verify_span(file: &dyn File, origin: TableId, span: &[BlockHandle]) -> Vec<BlockHandle> {
    let (Some(first), Some(last)) = (span.first(), span.last()) else { return Vec::new() };
    let read = file.read_at(first.offset, (last.end() - first.offset) as usize).await;
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(_) if span.len() > 1 => return verify_singly(file, origin, span).await,
        Err(error) => {
            tracing::warn!(table = %first.table, block = first.block, %error, "a block cannot be read");
            return span.to_vec();
        }
    };
    let damaged = |handle: &&BlockHandle| {
        let start = (handle.offset - first.offset) as usize;
        let stored = bytes.get(start..start + handle.length as usize);
        stored.is_none_or(|stored| Block::verify(stored, origin, handle.block).is_err())
    };
    span.iter().filter(damaged).copied().collect()
}

async fn verify_singly(file: &dyn File, origin: TableId, span: &[BlockHandle]) -> Vec<BlockHandle> {
    let mut damaged = Vec::new();
    for handle in span {
        match read_block(file, *handle).await {
            Ok(stored) if Block::verify(&stored, origin, handle.block).is_ok() => {}
            _ => damaged.push(*handle),
        }
    }
    damaged
}

/// Reads all blocks of a table and answers those that are damaged or cannot be read.
pub(crate) async fn verify_blocks(file: &dyn File, part: &IndexPart) -> Vec<BlockHandle> {
    let mut damaged = Vec::new();
    for span in spans(part) {
        damaged.extend(verify_span(file, part.origin(), &span).await);
        // A checksum over a megabyte takes a moment; others may go first.
        task::yield_now().await;
    }
    damaged
}

/// Reads one block as stored.
pub(crate) async fn read_block(file: &dyn File, handle: BlockHandle) -> io::Result<Bytes> {
    let bytes = file.read_at(handle.offset, handle.length as usize).await?;
    if bytes.len() == handle.length as usize { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
