//! Blocks as stored: neighbours of one table in one read, all reads of a table at once. The receiver verifies.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures::future::join_all;
use lamina_peers::data::{BlockRead, BlocksRead, ReadBlocks};
use lamina_types::limits::MESSAGE_BYTES_MAX;
use lamina_types::{BlockHandle, Error, Reason, Result};

use crate::hands::files::{OpenError, OpenTable};
use crate::hands::verify;
use crate::node::Node;

/// A gap of so many bytes between two blocks is read along: cheaper than a second read.
const GAP_BYTES: u64 = 4 << 10;
/// Bytes of one read at most.
const READ_BYTES_MAX: u64 = 1 << 20;
/// What a message may hold beside its blocks.
const MESSAGE_OVERHEAD: usize = 64 << 10;

/// Reads a batch.
pub(crate) async fn read_blocks(node: &Node, request: &ReadBlocks) -> Result<BlocksRead> {
    let bytes: u64 = request.blocks.iter().map(|handle| u64::from(handle.length)).sum();
    if bytes > (MESSAGE_BYTES_MAX - MESSAGE_OVERHEAD) as u64 {
        let why = format!("{} blocks of {bytes} bytes in all do not fit in one answer", request.blocks.len());
        return Err(Error::new(Reason::MessageTooLarge, why));
    }
    let blocks = read_stored(node, &request.blocks).await;
    node.metrics.blocks_read.inc_by(blocks.len() as u64);
    node.metrics.blocks_read_bytes.inc_by(bytes);
    Ok(BlocksRead { blocks })
}

/// Reads blocks of this node, in the order of the handles.
pub(crate) async fn read_stored(node: &Node, handles: &[BlockHandle]) -> Vec<BlockRead> {
    let mut order: Vec<(usize, BlockHandle)> = handles.iter().copied().enumerate().collect();
    order.sort_by_key(|(at, handle)| (handle.table, handle.offset, *at));
    let tables = order.chunk_by(|(_, a), (_, b)| a.table == b.table);
    let read = join_all(tables.map(|handles| read_table(node, handles))).await;
    let mut blocks = vec![BlockRead::TableNotFound; handles.len()];
    for (at, block) in read.into_iter().flatten() {
        if let Some(slot) = blocks.get_mut(at) {
            *slot = block;
        }
    }
    blocks
}

/// The blocks of one table, which come in the order of their offsets.
async fn read_table(node: &Node, handles: &[(usize, BlockHandle)]) -> Vec<(usize, BlockRead)> {
    let all = |answer: BlockRead| handles.iter().map(|(at, _)| (*at, answer.clone())).collect();
    let Some((_, first)) = handles.first() else { return Vec::new() };
    let open = match node.open_table(first.table).await {
        Ok(open) => open,
        Err(OpenError::NotHere) => return all(BlockRead::TableNotFound),
        Err(OpenError::Io(error)) => {
            tracing::warn!(table = %first.table, %error, "a table cannot be opened");
            match node.catalogue.get(first.table) {
                // Its file is gone, though nobody removed it. Whatever else is wrong may pass.
                Some(sealed) if error.kind() == io::ErrorKind::NotFound => {
                    node.note_unreadable(first.table, sealed.generation, &error);
                }
                _ => {
                    node.metrics.read_errors.inc();
                }
            }
            return all(BlockRead::Unreadable);
        }
    };
    let (inside, outside): (Vec<_>, Vec<_>) =
        handles.iter().copied().partition(|(_, handle)| lies_in(handle, open.sealed.file_bytes));
    let mut read: Vec<(usize, BlockRead)> =
        outside.iter().map(|(at, _)| (*at, BlockRead::Unreadable)).collect();
    let groups = coalesce(&inside);
    let spans: Vec<(u64, usize)> =
        groups.iter().map(|(span, _)| (span.start, (span.end - span.start) as usize)).collect();
    match open.file.read_many(&spans).await {
        Ok(bytes) => {
            for ((span, members), bytes) in groups.iter().zip(bytes) {
                read.extend(members.iter().map(|(at, handle)| (*at, cut(&bytes, span.start, handle))));
            }
        }
        Err(_) => read.extend(read_singly(node, &open, &inside).await),
    }
    read
}

/// Something in the batch cannot be read: find out which.
async fn read_singly(
    node: &Node,
    open: &OpenTable,
    handles: &[(usize, BlockHandle)],
) -> Vec<(usize, BlockRead)> {
    let mut read = Vec::with_capacity(handles.len());
    for (at, handle) in handles {
        read.push(match verify::read_block(open.file.as_ref(), *handle).await {
            Ok(bytes) => (*at, BlockRead::Stored(bytes)),
            Err(error) => {
                node.note_unreadable(open.table, open.sealed.generation, &error);
                (*at, BlockRead::Unreadable)
            }
        });
    }
    read
}

/// A handle comes from an index part, but it came over a network.
fn lies_in(handle: &BlockHandle, file_bytes: u64) -> bool {
    handle.offset.checked_add(u64::from(handle.length)).is_some_and(|end| end <= file_bytes)
}

type Group = (Range<u64>, Vec<(usize, BlockHandle)>);

/// Puts neighbours together.
fn coalesce(handles: &[(usize, BlockHandle)]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (at, handle) in handles {
        match groups.last_mut() {
            Some((span, members))
                if handle.offset <= span.end.saturating_add(GAP_BYTES)
                    && handle.end().saturating_sub(span.start) <= READ_BYTES_MAX =>
            {
                span.end = span.end.max(handle.end());
                members.push((*at, *handle));
            }
            _ => groups.push((handle.offset..handle.end(), vec![(*at, *handle)])),
        }
    }
    groups
}

fn cut(bytes: &Bytes, start: u64, handle: &BlockHandle) -> BlockRead {
    let from = (handle.offset - start) as usize;
    let to = from + handle.length as usize;
    if to <= bytes.len() { BlockRead::Stored(bytes.slice(from..to)) } else { BlockRead::Unreadable }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamina_types::{GroupId, Reign, TableId};

    #[test]
    fn neighbours_are_read_together_and_far_blocks_apart() {
        let table = TableId { group: GroupId(1), reign: Reign(1), n: 1 };
        let at = |offset: u64, length: u32| (0, BlockHandle { table, offset, length, block: 0 });
        let spans = |handles: &[_]| {
            let spans = coalesce(handles).into_iter().map(|(span, _)| (span.start, span.end));
            spans.collect::<Vec<_>>()
        };
        assert_eq!(spans(&[at(0, 100), at(100, 50), at(150, 10)]), [(0, 160)]);
        assert_eq!(spans(&[at(0, 100), at(100 + GAP_BYTES, 50)]), [(0, 150 + GAP_BYTES)]);
        assert_eq!(spans(&[at(0, 100), at(101 + GAP_BYTES, 50)]).len(), 2);
        assert_eq!(spans(&[at(0, 100), at(0, 100)]), [(0, 100)], "the same block twice is read once");
        assert_eq!(spans(&[at(0, 1 << 20), at(1 << 20, 1)]).len(), 2);
    }

    #[test]
    fn a_handle_beyond_the_file_is_seen_whatever_its_numbers() {
        let table = TableId { group: GroupId(1), reign: Reign(1), n: 1 };
        let handle = |offset, length| BlockHandle { table, offset, length, block: 0 };
        assert!(lies_in(&handle(90, 10), 100));
        assert!(!lies_in(&handle(90, 11), 100));
        assert!(!lies_in(&handle(u64::MAX, 11), 100));
    }
}
