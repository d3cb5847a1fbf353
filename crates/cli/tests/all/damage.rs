//! Flipped bits in the files of data nodes, below a whole store.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::StreamExt;
use lamina_client::{Batch, Client, Reason, ScanOptions};
use lamina_engine::cursor::Cursor;
use lamina_engine::{Block, FOOTER_BYTES, Footer};
use lamina_types::{BlockHandle, Role, TableId};

use crate::program::{Up, code, free_ports, stderr, until};

const ROWS: u32 = 600;
/// Reads on the way at once.
const IN_FLIGHT: usize = 32;

fn key(n: u32) -> String {
    format!("row/{n:06}")
}

/// Values that do not compress to nothing, so that there are many blocks.
fn value(n: u32) -> String {
    let mut state = u64::from(n) + 1;
    let mut text = String::new();
    for _ in 0..50 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{state:016x}"));
    }
    text
}

/// One table, as it was before anything was damaged.
struct Table {
    id: String,
    bytes: Vec<u8>,
    footer: Footer,
    blocks: Vec<BlockHandle>,
}

impl Table {
    fn read(id: &str, path: &Path) -> Table {
        let bytes = fs::read(path).unwrap();
        let footer = Footer::parse(&bytes[bytes.len() - FOOTER_BYTES..]).unwrap();
        let part = Bytes::copy_from_slice(
            &bytes[footer.index.range().start as usize..][..footer.index.length as usize],
        );
        let blocks = footer.open_index(part).unwrap().infos().map(|info| info.handle).collect();
        Table { id: id.to_owned(), bytes, footer, blocks }
    }

    /// The user's keys in a block, which stand behind four bytes of keyspace.
    fn keys(&self, block: usize) -> BTreeSet<String> {
        let handle = self.blocks[block];
        let stored = &self.bytes[handle.offset as usize..][..handle.length as usize];
        let origin: TableId = self.footer.origin;
        let block = Block::decode(Bytes::copy_from_slice(stored), origin, handle.block).unwrap();
        let mut cursor = block.cursor();
        let mut keys = BTreeSet::new();
        cursor.seek_first();
        while let Some(entry) = cursor.entry() {
            keys.insert(String::from_utf8(entry.key[4..].to_vec()).unwrap());
            cursor.next();
        }
        keys
    }

    /// Its file on a data node, whatever stamp the copy has.
    fn file(&self, store: &Path, node: usize) -> PathBuf {
        let (_, path) =
            files(store, node).into_iter().find(|(id, _)| *id == self.id).expect("the copy is there");
        path
    }

    fn is_whole(&self, store: &Path, node: usize) -> bool {
        fs::read(self.file(store, node)).is_ok_and(|bytes| bytes == self.bytes)
    }

    /// Brings all copies back to what they were.
    fn restore(&self, store: &Path) {
        for node in 0..3 {
            fs::write(self.file(store, node), &self.bytes).unwrap();
        }
    }

    fn flip(&self, store: &Path, node: usize, at: u64) {
        let path = self.file(store, node);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at as usize] ^= 8;
        fs::write(path, bytes).unwrap();
    }

    fn flip_in_block(&self, store: &Path, node: usize, block: usize) {
        let handle = self.blocks[block];
        self.flip(store, node, handle.offset + u64::from(handle.length) / 2);
    }
}

/// The tables of a data node: `<table>@<stamp>`.
fn files(store: &Path, node: usize) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    let Ok(groups) = fs::read_dir(store.join(format!("data-{node}/tables"))) else { return files };
    for file in groups.flat_map(|group| fs::read_dir(group.unwrap().path()).unwrap()) {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if let Some((id, _)) = name.split_once('@') {
            files.push((id.to_owned(), path));
        }
    }
    files.sort();
    files
}

/// Waits until every data node has the same tables, and gives the one with most blocks.
async fn largest(store: &Path) -> Table {
    let names = |node| files(store, node).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let same = async || (!names(0).is_empty() && names(0) == names(1) && names(1) == names(2)).then_some(());
    until("every table has three copies", same).await;
    let tables = files(store, 0).into_iter().map(|(id, path)| Table::read(&id, &path));
    tables.max_by_key(|table| table.blocks.len()).unwrap()
}

/// Reads every row; the keys that are lost.
async fn lost(client: &Client) -> BTreeSet<String> {
    let reads = futures::stream::iter(0..ROWS).map(async |n| (n, client.get(key(n)).await));
    let mut reads = reads.buffer_unordered(IN_FLIGHT);
    let mut lost = BTreeSet::new();
    while let Some((n, read)) = reads.next().await {
        match read {
            Ok(found) => assert_eq!(found.expect("the row is there").value, value(n), "{}", key(n)),
            Err(error) => {
                assert_eq!(error.reason(), Reason::DataLoss, "{}: {error}", key(n));
                lost.insert(key(n));
            }
        }
    }
    lost
}

/// The two data nodes that are asked first for a table: copies are asked in the order of their nodes' ids, beginning
/// with another one for each table.
async fn asked_first(client: &Client, table: &Table) -> [usize; 2] {
    let status = client.status().await.unwrap();
    let mut nodes: Vec<_> =
        status.view.nodes_of(Role::Data).map(|node| (node.node, node.name.clone())).collect();
    nodes.sort();
    let id: TableId = table.id.parse().unwrap();
    let turn = id.n as usize % nodes.len();
    nodes.rotate_left(turn);
    let number = |at: usize| nodes[at].1.strip_prefix("data-").unwrap().parse().unwrap();
    [number(0), number(1)]
}

async fn scanned(client: &Client) -> u32 {
    let mut scanner = client.scan(ScanOptions::prefix("row/"));
    let mut rows = 0;
    while let Some(row) = scanner.next().await.unwrap() {
        assert_eq!((row.key.as_ref(), row.value.as_ref()), (key(rows).as_bytes(), value(rows).as_bytes()));
        rows += 1;
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_are_repaired_from_other_copies_and_else_cost_exactly_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let (store, port) = (dir.path().join("store"), free_ports());
    let up = Up::start(&store, port, &["--memtables", "6MiB"]);
    let client = up.client(20);
    for batch in 0..ROWS / 100 {
        let rows = batch * 100..(batch + 1) * 100;
        client.write(rows.fold(Batch::new(), |batch, n| batch.put(key(n), value(n)))).await.unwrap();
    }
    client.flush(true).await.unwrap();
    let table = largest(&store).await;
    assert!(table.blocks.len() >= 9, "{} blocks", table.blocks.len());
    up.kill();

    // Each copy has another damaged block, so that whichever is read first shows damage.
    for node in 0..3 {
        table.flip_in_block(&store, node, 2 + node);
    }
    let up = Up::start(&store, port, &[]);
    assert_eq!(lost(&client).await, BTreeSet::new());
    assert_eq!(scanned(&client).await, ROWS);
    let repaired = async || (0..3).any(|node| table.is_whole(&store, node)).then_some(());
    until("a damaged copy is replaced", repaired).await;
    up.kill();

    // One block, on all of them.
    table.restore(&store);
    for node in 0..3 {
        table.flip_in_block(&store, node, 5);
    }
    let up = Up::start(&store, port, &[]);
    let gone = table.keys(5);
    assert!((1..200).contains(&gone.len()), "{}", gone.len());
    assert_eq!(lost(&client).await, gone);
    let get = up.lamina(&["get", gone.first().unwrap()]);
    assert_eq!((code(&get), stderr(&get).lines().count()), (5, 1), "{}", stderr(&get));
    assert!(stderr(&get).contains("DATA_LOSS") && get.stdout.is_empty(), "{}", stderr(&get));
    let scan = up.lamina(&["scan", "--prefix", "row/"]);
    assert_eq!(code(&scan), 5, "{}", stderr(&scan));
    let status = up.lamina(&["status"]);
    assert_eq!(code(&status), 0, "{}", stderr(&status));
    // Writing the rows anew heals them.
    for n in (0..ROWS).filter(|n| gone.contains(&key(*n))) {
        client.put(key(n), value(n)).await.unwrap();
    }
    assert_eq!(lost(&client).await, BTreeSet::new());
    up.kill();
    let doctor = crate::program::lamina(&["doctor", store.to_str().unwrap()]);
    assert_eq!(code(&doctor), 5);
    let words = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert_eq!(words.lines().filter(|line| line.starts_with("DAMAGED")).count(), 3, "{words}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_an_index_part_costs_index_nodes_nothing_and_is_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let (store, port) = (dir.path().join("store"), free_ports());
    let up = Up::start(&store, port, &["--memtables", "6MiB"]);
    let client = up.client(20);
    for batch in 0..ROWS / 100 {
        let rows = batch * 100..(batch + 1) * 100;
        client.write(rows.fold(Batch::new(), |batch, n| batch.put(key(n), value(n)))).await.unwrap();
    }
    client.flush(true).await.unwrap();
    let table = largest(&store).await;
    let damaged = asked_first(&client, &table).await;
    up.kill();
    for node in &damaged {
        table.flip(&store, *node, table.footer.index.offset + table.footer.index.length / 2);
    }
    // All index nodes begin with nothing and load the part from the files.
    let up = Up::start(&store, port, &[]);
    assert_eq!(lost(&client).await, BTreeSet::new());
    assert_eq!(scanned(&client).await, ROWS);
    let complete = async || {
        let status = client.status().await.ok()?;
        let shards = &status.view.shards;
        let all = !shards.is_empty()
            && shards.iter().flat_map(|shard| &shard.replicas).all(|replica| replica.complete);
        all.then_some(())
    };
    until("every index shard is complete", complete).await;
    let repaired = async || damaged.iter().all(|node| table.is_whole(&store, *node)).then_some(());
    until("both damaged copies are replaced", repaired).await;
    up.kill();
}
