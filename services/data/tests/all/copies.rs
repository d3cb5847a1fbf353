//! Copies from other nodes: verified block by block, mended from all that have it, never a damaged one.

use std::sync::Arc;

use lamina_data::DataService;
use lamina_env::Disk;
use lamina_env::disk::memory::MemDisk;
use lamina_peers::data::{BlockRead, CopySource, CopyTable, DeleteTables, LinkTable, ReadBlocks};
use lamina_types::{Error, Reason};

use crate::lan::{Lan, ask, eventually, source, story};
use crate::tables::{File, entries, is_whole, listed, one, path, read_file, sample, stamp, store, table};

struct Three {
    lan: Arc<Lan>,
    disks: [MemDisk; 3],
    nodes: Vec<Arc<DataService>>,
    file: File,
}

/// Three nodes; those in `have` hold the table with stamp 1.
async fn three(seed: u64, have: &[u128]) -> Three {
    let lan = Lan::new();
    let disks = [1, 2, 3].map(|n| MemDisk::new(seed + n));
    let mut nodes = Vec::new();
    for (n, disk) in (1..).zip(&disks) {
        nodes.push(lan.start(n, disk).await);
    }
    let file = sample(table(1), 400);
    for n in have {
        store(&nodes[*n as usize - 1], &file, stamp(1)).await.unwrap();
    }
    Three { lan, disks, nodes, file }
}

impl Three {
    fn rot(&self, n: usize, block: usize) {
        let handle = self.file.part.infos().nth(block).unwrap().handle;
        assert!(self.disks[n - 1].rot(&path(self.file.id, stamp(1)), handle.offset + 5, 0x10));
    }

    fn rot_footer(&self, n: usize) {
        assert!(self.disks[n - 1].rot(&path(self.file.id, stamp(1)), self.file.seal.file_bytes - 9, 1));
    }

    async fn copy(&self, to: usize, n: u32, from: &[u128], replace: bool) -> Result<(), Error> {
        let from: Vec<CopySource> = from.iter().map(|n| source(*n)).collect();
        let order = CopyTable { table: self.file.id, stamp: stamp(n), from, replace };
        let sealed = ask(&self.nodes[to - 1], order).await?;
        assert!(sealed.stamp >= stamp(n));
        assert_eq!(read_file(&self.nodes[to - 1], self.file.id).await.unwrap(), self.file.bytes);
        Ok(())
    }
}

#[test]
fn a_copy_is_the_same_file_with_a_stamp_of_its_own() {
    story(20, async {
        let three = three(20, &[1]).await;
        three.copy(2, 8, &[1], false).await.unwrap();
        let seen = one(&three.nodes[1], three.file.id).await.unwrap();
        assert!(seen.stamp == stamp(8) && seen.verified);
        assert_eq!(one(&three.nodes[0], three.file.id).await.unwrap().stamp, stamp(1));
        // Ordered again, it is there: nothing crosses the network, and the stamp rises.
        let before = three.lan.calls("ReadFile");
        three.copy(2, 9, &[1], false).await.unwrap();
        assert_eq!(three.lan.calls("ReadFile"), before);
        assert_eq!(one(&three.nodes[1], three.file.id).await.unwrap().stamp, stamp(9));
    });
}

#[test]
fn a_source_that_is_down_or_has_no_copy_is_passed_over() {
    story(21, async {
        let three = three(21, &[1]).await;
        three.lan.set_down(1, true);
        let error = three.copy(2, 8, &[3, 1], false).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Unreachable, "a silent node may have it");
        three.lan.set_down(1, false);
        three.copy(2, 8, &[3, 1], false).await.unwrap();
        ask(&three.nodes[0], DeleteTables { tables: vec![three.file.id] }).await.unwrap();
        ask(&three.nodes[1], DeleteTables { tables: vec![three.file.id] }).await.unwrap();
        let error = three.copy(2, 9, &[3, 1], false).await.unwrap_err();
        assert_eq!(error.reason(), Reason::TableNotFound);
        assert!(listed(&three.nodes[1]).await.is_empty());
    });
}

#[test]
fn damaged_blocks_are_mended_from_the_other_source() {
    story(22, async {
        let three = three(22, &[1, 3]).await;
        three.rot(1, 0);
        three.rot(1, 7);
        three.rot(3, 2);
        three.copy(2, 8, &[1, 3], false).await.unwrap();
    });
}

/// Waits until a node has found damage in its copy, and says how often it did.
async fn until_damaged(three: &Three, n: usize) -> u64 {
    let node = &three.nodes[n - 1];
    eventually(async || one(node, three.file.id).await.filter(|seen| seen.damaged)).await;
    node.stats().await.damage_found
}

#[test]
fn a_source_of_damaged_bytes_reads_its_own_copy_through_and_says_that_it_is_damaged() {
    story(31, async {
        let three = three(31, &[1, 3]).await;
        three.rot(1, 0);
        three.rot(1, 7);
        three.rot(3, 2);
        three.copy(2, 8, &[1, 3], false).await.unwrap();
        // Its blocks made the copy, though some of them are damaged; nobody else would have told it for a day.
        assert_eq!(until_damaged(&three, 1).await, 1);
        assert_eq!(three.lan.calls("VerifyTable"), 1, "one reading is enough for two blocks");
        assert!(
            !one(&three.nodes[2], three.file.id).await.unwrap().damaged,
            "only two of its blocks were read"
        );
    });
}

#[test]
fn a_source_with_a_damaged_tail_says_so_too() {
    story(32, async {
        let three = three(32, &[1, 3]).await;
        three.rot_footer(1);
        three.copy(2, 8, &[1, 3], false).await.unwrap();
        assert_eq!(until_damaged(&three, 1).await, 1);
    });
}

#[test]
fn a_file_that_is_gone_under_its_node_counts_as_damaged() {
    story(33, async {
        let three = three(33, &[1]).await;
        three.disks[0].mount().remove(&path(three.file.id, stamp(1))).await.unwrap();
        let handle = three.file.part.infos().next().unwrap().handle;
        let read = ask(&three.nodes[0], ReadBlocks { blocks: vec![handle] }).await.unwrap();
        assert_eq!(read.blocks, [BlockRead::Unreadable]);
        assert_eq!(until_damaged(&three, 1).await, 1);
    });
}

#[test]
fn a_block_that_is_damaged_everywhere_is_data_loss_and_never_a_copy() {
    story(23, async {
        let three = three(23, &[1, 3]).await;
        three.rot(1, 4);
        three.rot(3, 4);
        let error = three.copy(2, 8, &[1, 3], false).await.unwrap_err();
        assert_eq!(error.reason(), Reason::DataLoss);
        assert!(listed(&three.nodes[1]).await.is_empty());
        three.lan.set_down(3, true);
        let error = three.copy(2, 8, &[1, 3], false).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Unreachable, "the silent one may be intact");
    });
}

#[test]
fn a_damaged_tail_makes_the_next_source_the_base() {
    story(24, async {
        let three = three(24, &[1, 3]).await;
        three.rot_footer(1);
        three.copy(2, 8, &[1, 3], false).await.unwrap();
    });
}

#[test]
fn the_scrubber_finds_damage_says_so_and_a_replaced_copy_is_sound_again() {
    story(25, async {
        let three = three(25, &[1, 2]).await;
        let node = &three.nodes[0];
        assert_eq!(node.scrub().await, 0);
        assert!(one(node, three.file.id).await.unwrap().verified);
        three.rot(1, 3);
        assert_eq!(node.scrub().await, 1);
        let seen = one(node, three.file.id).await.unwrap();
        assert!(seen.damaged && !seen.verified);
        let stats = node.stats().await;
        assert_eq!(
            (stats.blocks_damaged, stats.scrubbed_blocks),
            (1, 2 * u64::from(three.file.part.blocks()))
        );

        // Without a source nothing is made worse.
        assert!(three.copy(1, 5, &[3], true).await.is_err());
        three.copy(1, 5, &[2], true).await.unwrap();
        let seen = one(node, three.file.id).await.unwrap();
        assert!(!seen.damaged && seen.verified && seen.stamp == stamp(5));
        assert_eq!(three.disks[0].durable_files(), [path(three.file.id, stamp(5))]);
        assert_eq!(node.scrub().await, 0);
        // The order again, late: it was carried out.
        let before = three.lan.calls("ReadFile");
        three.copy(1, 5, &[2], true).await.unwrap();
        assert_eq!(three.lan.calls("ReadFile"), before);
    });
}

#[test]
fn two_damaged_copies_mend_each_other() {
    story(26, async {
        let three = three(26, &[1, 2]).await;
        three.rot(1, 3);
        three.rot(2, 5);
        three.copy(1, 5, &[2], true).await.unwrap();
        three.copy(2, 5, &[1], true).await.unwrap();
        assert_eq!((three.nodes[0].scrub().await, three.nodes[1].scrub().await), (0, 0));
    });
}

#[test]
fn the_same_bytes_sent_again_take_the_place_of_a_damaged_copy() {
    story(27, async {
        let three = three(27, &[1]).await;
        three.rot(1, 3);
        assert_eq!(three.nodes[0].scrub().await, 1);
        store(&three.nodes[0], &three.file, stamp(1)).await.unwrap();
        assert_eq!(three.nodes[0].scrub().await, 0);
        assert_eq!(entries(&three.nodes[0], three.file.id).await, three.file.entries);
    });
}

#[test]
fn a_reader_that_is_under_way_keeps_its_file_when_the_copy_is_replaced_or_deleted() {
    story(28, async {
        let three = three(28, &[1, 2]).await;
        for disk in &three.disks {
            disk.change_faults(|faults| faults.read_ms = Some((1, 9)));
        }
        let node = &three.nodes[0];
        let (read, copied) = futures::join!(entries(node, three.file.id), three.copy(1, 5, &[2], true));
        copied.unwrap();
        assert_eq!(read, three.file.entries);
        let deleted = ask(node, DeleteTables { tables: vec![three.file.id] });
        let (read, deleted) = futures::join!(read_file(node, three.file.id), deleted);
        assert_eq!(deleted.unwrap().deleted, 1);
        if let Ok(bytes) = read {
            assert!(is_whole(&bytes));
        }
    });
}

#[test]
fn a_linked_name_is_copied_with_its_origin() {
    story(29, async {
        let three = three(29, &[1]).await;
        let link = LinkTable { old: three.file.id, new: table(40), stamp: stamp(2) };
        ask(&three.nodes[0], link).await.unwrap();
        let order = CopyTable { table: table(40), stamp: stamp(3), from: vec![source(1)], replace: false };
        ask(&three.nodes[1], order).await.unwrap();
        assert_eq!(entries(&three.nodes[1], table(40)).await, three.file.entries);
    });
}

#[test]
fn a_full_disk_ends_a_copy_cleanly() {
    story(30, async {
        let three = three(30, &[1]).await;
        three.disks[1].change_faults(|faults| faults.capacity = 8192);
        let error = three.copy(2, 8, &[1], false).await.unwrap_err();
        assert_eq!(error.reason(), Reason::DiskFull);
        assert_eq!(three.nodes[1].stats().await.free_bytes, 8192);
        three.disks[1].change_faults(|faults| faults.capacity = 1 << 20);
        three.copy(2, 8, &[1], false).await.unwrap();
    });
}
