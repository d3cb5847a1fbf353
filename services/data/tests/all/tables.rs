//! Tables to store, and what a node says of those that it has.

use std::sync::Arc;

use bytes::Bytes;
use lamina_data::DataService;
use lamina_engine::block::Block;
use lamina_engine::entry::Entry;
use lamina_engine::index_part::IndexPart;
use lamina_engine::table::{Footer, TableBuilder, TableSpec};
use lamina_engine::{Codec, Cursor, FOOTER_BYTES};
use lamina_env::random;
use lamina_peers::data::{
    BlockRead, ListTables, ListedTable, ReadBlocks, ReadFile, ReadTail, Seal, TableWritten, WriteTable,
};
use lamina_types::{CopyStamp, GroupId, Reign, Result, TableId, TabletId, Version};

use crate::lan::ask;

pub const GROUP: GroupId = GroupId(1);
pub const TABLET: TabletId = TabletId { group: GROUP, index: 3 };

pub fn table(n: u32) -> TableId {
    TableId { group: GROUP, reign: Reign(5), n }
}

pub fn stamp(n: u32) -> CopyStamp {
    CopyStamp { reign: Reign(5), n }
}

/// A whole table file.
#[derive(Clone)]
pub struct File {
    pub id: TableId,
    pub bytes: Bytes,
    pub seal: Seal,
    pub part: IndexPart,
    pub entries: Vec<Entry>,
}

/// Builds a table of these entries, which are in order.
pub fn build(id: TableId, entries: Vec<Entry>, block_bytes: usize) -> File {
    let mut builder =
        TableBuilder::new(TableSpec { block_bytes, codec: Codec::Lz4, ..TableSpec::new(id, TABLET) });
    let mut bytes = Vec::new();
    for entry in &entries {
        builder.add(entry).unwrap();
        builder.take_data().iter().for_each(|block| bytes.extend_from_slice(block));
    }
    let built = builder.finish().unwrap();
    bytes.extend_from_slice(&built.rest);
    let seal = Seal { file_bytes: built.file_bytes, footer_crc: built.footer_crc };
    assert_eq!(bytes.len() as u64, seal.file_bytes);
    let part = IndexPart::parse(built.index_part).unwrap();
    File { id, bytes: Bytes::from(bytes), seal, part, entries }
}

/// A table of `keys` keys with values of no pattern.
pub fn sample(id: TableId, keys: u32) -> File {
    let entry = |n: u32| {
        let value: Vec<u8> = (0..random::between(20, 120)).map(|_| random::u64() as u8).collect();
        Entry::put(key(n), Version(1000 + u64::from(n)), value)
    };
    build(id, (0..keys).map(entry).collect(), 1024)
}

pub fn key(n: u32) -> Bytes {
    Bytes::from(format!("\0\0\0\x01key-{n:06}"))
}

/// Stores a file in pieces.
pub async fn store(service: &Arc<DataService>, file: &File, stamp: CopyStamp) -> Result<TableWritten> {
    store_bytes(service, file, file.bytes.clone(), stamp).await
}

/// Stores a file under its name and seal, but with these bytes.
pub async fn store_bytes(
    service: &Arc<DataService>,
    file: &File,
    bytes: Bytes,
    stamp: CopyStamp,
) -> Result<TableWritten> {
    let third = bytes.len() / 3 + 1;
    let (mut offset, mut rest) = (0, bytes);
    loop {
        let piece = rest.split_to(third.min(rest.len()));
        let seal = rest.is_empty().then_some(file.seal);
        let length = piece.len() as u64;
        let written = ask(service, WriteTable { table: file.id, stamp, offset, bytes: piece, seal }).await?;
        if seal.is_some() {
            return Ok(written);
        }
        offset += length;
        assert_eq!(written, TableWritten { received: offset, sealed: false });
    }
}

/// All sealed tables of the group.
pub async fn listed(service: &Arc<DataService>) -> Vec<ListedTable> {
    let listed = ask(service, ListTables { group: GROUP, after: None, limit: 1000 }).await.unwrap();
    assert!(!listed.more);
    listed.tables
}

/// What is listed of one table.
pub async fn one(service: &Arc<DataService>, table: TableId) -> Option<ListedTable> {
    listed(service).await.into_iter().find(|listed| listed.table == table)
}

/// The whole file as the node gives it to others.
pub async fn read_file(service: &Arc<DataService>, table: TableId) -> Result<Bytes> {
    let mut bytes = Vec::new();
    loop {
        let request = ReadFile { table, offset: bytes.len() as u64, length: 1000 };
        let read = ask(service, request).await?;
        bytes.extend_from_slice(&read.bytes);
        if bytes.len() as u64 >= read.file_bytes {
            return Ok(Bytes::from(bytes));
        }
    }
}

/// Reads a table through its index part and its blocks, as a reader does; every checksum is verified.
pub async fn entries(service: &Arc<DataService>, table: TableId) -> Vec<Entry> {
    let tail = ask(service, ReadTail { table, offset: 0 }).await.unwrap();
    let part = IndexPart::parse(tail.index_part).unwrap().renamed(table);
    let handles: Vec<_> = part.infos().map(|info| info.handle).collect();
    let mut entries = Vec::new();
    for some in handles.chunks(50) {
        let read = ask(service, ReadBlocks { blocks: some.to_vec() }).await.unwrap();
        for (handle, block) in some.iter().zip(read.blocks) {
            let BlockRead::Stored(stored) = block else { panic!("{handle:?}: {block:?}") };
            let mut cursor = Block::decode(stored, part.origin(), handle.block).unwrap().cursor();
            cursor.seek_first();
            while let Some(entry) = cursor.to_entry() {
                entries.push(entry);
                cursor.next();
            }
        }
    }
    assert_eq!(entries.len() as u64, part.properties().entries);
    entries
}

/// Whether a file is a whole table, down to each block.
pub fn is_whole(bytes: &Bytes) -> bool {
    let footer = Footer::parse(&bytes[bytes.len() - FOOTER_BYTES..]).unwrap();
    let index = footer.index.range();
    let part = footer.open_index(bytes.slice(index.start as usize..index.end as usize)).unwrap();
    footer.file_bytes == bytes.len() as u64
        && part.infos().all(|info| {
            let handle = info.handle;
            let stored = &bytes[handle.offset as usize..handle.end() as usize];
            Block::verify(stored, part.origin(), handle.block).is_ok()
        })
}

/// Where the file of a copy lies.
pub fn path(table: TableId, stamp: CopyStamp) -> String {
    format!("store/tables/{:x}/{table}@{stamp}", table.group.0)
}
