//! A table is sealed whole or not at all.

use bytes::Bytes;
use lamina_env::disk::Disk;
use lamina_env::disk::memory::MemDisk;
use lamina_env::time::{self, Duration};
use lamina_peers::data::{DeleteTables, DropCopy, LinkTable, TableSealed, TableWritten, WriteTable};
use lamina_types::{Reason, RequestContext};

use crate::lan::{Lan, ask, id, story};
use crate::tables::{
    entries, is_whole, listed, one, path, read_file, sample, stamp, store, store_bytes, table,
};

async fn incoming(disk: &MemDisk) -> usize {
    disk.list("store/incoming").await.unwrap().len()
}

#[test]
fn a_table_that_came_in_pieces_is_sealed_and_reads_back() {
    story(1, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(1));
        let node = lan.start(1, &disk).await;
        let file = sample(table(1), 300);
        let written = store(&node, &file, stamp(1)).await.unwrap();
        assert_eq!(written, TableWritten { received: file.seal.file_bytes, sealed: true });
        assert_eq!(read_file(&node, file.id).await.unwrap(), file.bytes);
        assert_eq!(entries(&node, file.id).await, file.entries);
        let seen = one(&node, file.id).await.unwrap();
        assert!(seen.verified && !seen.damaged && seen.stamp == stamp(1));
        assert_eq!((incoming(&disk).await, node.stats().await.tables), (0, 1));
        assert!(disk.durable(&path(file.id, stamp(1))).is_some_and(|bytes| is_whole(&bytes)));
    });
}

#[test]
fn the_same_bytes_again_raise_the_stamp_and_other_bytes_are_a_conflict() {
    story(2, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(2));
        let node = lan.start(1, &disk).await;
        let (file, other) = (sample(table(1), 100), sample(table(1), 101));
        store(&node, &file, stamp(3)).await.unwrap();
        assert!(store(&node, &file, stamp(2)).await.unwrap().sealed);
        assert_eq!(one(&node, file.id).await.unwrap().stamp, stamp(3), "a stamp never falls");
        assert!(store(&node, &file, stamp(7)).await.unwrap().sealed);
        assert_eq!(disk.durable_files(), [path(file.id, stamp(7))]);
        assert_eq!(store(&node, &other, stamp(9)).await.unwrap_err().reason(), Reason::TableConflict);
        assert_eq!(read_file(&node, file.id).await.unwrap(), file.bytes);
        assert_eq!((one(&node, file.id).await.unwrap().stamp, incoming(&disk).await), (stamp(7), 0));

        drop(node);
        disk.crash();
        let node = lan.start(1, &disk).await;
        let seen = one(&node, file.id).await.unwrap();
        assert!(seen.stamp == stamp(7) && !seen.verified);
        assert_eq!(store(&node, &other, stamp(9)).await.unwrap_err().reason(), Reason::TableConflict);
    });
}

#[test]
fn no_flipped_bit_of_a_table_gets_past_the_seal() {
    story(3, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(3));
        let node = lan.start(1, &disk).await;
        let file = sample(table(1), 60);
        for at in (0..file.bytes.len()).step_by(7).chain(file.bytes.len() - 260..file.bytes.len()) {
            let mut bytes = file.bytes.to_vec();
            bytes[at] ^= 1 << (at % 8);
            let error = store_bytes(&node, &file, Bytes::from(bytes), stamp(1)).await.unwrap_err();
            assert_eq!(error.reason(), Reason::ChecksumMismatch, "byte {at}: {error}");
        }
        let short = file.bytes.slice(..file.bytes.len() - 1);
        assert_eq!(
            store_bytes(&node, &file, short, stamp(1)).await.unwrap_err().reason(),
            Reason::ChecksumMismatch
        );
        assert!(listed(&node).await.is_empty());
        assert_eq!(incoming(&disk).await, 0);
        assert!(store(&node, &file, stamp(1)).await.unwrap().sealed);
    });
}

#[test]
fn bytes_of_another_table_are_not_sealed_under_this_name() {
    story(4, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(4));
        let node = lan.start(1, &disk).await;
        let mut file = sample(table(1), 60);
        file.id = table(2);
        assert_eq!(store(&node, &file, stamp(1)).await.unwrap_err().reason(), Reason::ChecksumMismatch);
        assert!(listed(&node).await.is_empty());
    });
}

#[test]
fn pieces_come_in_order_and_a_repeated_one_does_no_harm() {
    story(5, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(5));
        let node = lan.start(1, &disk).await;
        let file = sample(table(1), 100);
        let piece = |from: usize, to: usize, last: bool| WriteTable {
            table: file.id,
            stamp: stamp(1),
            offset: from as u64,
            bytes: file.bytes.slice(from..to),
            seal: last.then_some(file.seal),
        };
        let (all, seal) = (file.bytes.len(), true);
        let error = ask(&node, piece(100, 200, false)).await.unwrap_err();
        assert_eq!((error.reason(), error.detail("received")), (Reason::StateRefused, Some("0")));
        ask(&node, piece(0, 100, false)).await.unwrap();
        ask(&node, piece(100, 200, false)).await.unwrap();
        let again = ask(&node, piece(100, 200, false)).await.unwrap();
        assert_eq!(again, TableWritten { received: 200, sealed: false });
        let error = ask(&node, piece(300, 400, false)).await.unwrap_err();
        assert_eq!((error.reason(), error.detail("received")), (Reason::StateRefused, Some("200")));
        assert!(ask(&node, piece(200, all, seal)).await.unwrap().sealed);
        assert!(ask(&node, piece(200, all, seal)).await.unwrap().sealed, "its answer may have been lost");
        assert_eq!(read_file(&node, file.id).await.unwrap(), file.bytes);

        // Begun anew in the middle, with other bytes before.
        let second = sample(table(2), 100);
        let noise = Bytes::from(vec![7; 500]);
        let begin = |bytes, seal| WriteTable { table: second.id, stamp: stamp(1), offset: 0, bytes, seal };
        ask(&node, begin(noise, None)).await.unwrap();
        assert!(ask(&node, begin(second.bytes.clone(), Some(second.seal))).await.unwrap().sealed);
        assert_eq!((read_file(&node, second.id).await.unwrap(), incoming(&disk).await), (second.bytes, 0));
    });
}

#[test]
fn the_last_piece_twice_at_the_same_time_seals_once() {
    story(6, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(6));
        disk.change_faults(|faults| {
            faults.sync_ms = Some((5, 20));
            faults.write_ms = Some((1, 5));
        });
        let node = lan.start(1, &disk).await;
        let file = sample(table(1), 100);
        let piece = |offset: usize, bytes: Bytes, seal| WriteTable {
            table: file.id,
            stamp: stamp(1),
            offset: offset as u64,
            bytes,
            seal,
        };
        ask(&node, piece(0, file.bytes.slice(..900), None)).await.unwrap();
        let last = || ask(&node, piece(900, file.bytes.slice(900..), Some(file.seal)));
        let (a, b, c) = futures::join!(last(), last(), last());
        assert!(a.unwrap().sealed && b.unwrap().sealed && c.unwrap().sealed);
        assert_eq!(read_file(&node, file.id).await.unwrap(), file.bytes);
    });
}

#[test]
fn a_failed_sync_is_never_answered_with_a_sealed_table() {
    story(7, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(7));
        let node = lan.start(1, &disk).await;
        let file = sample(table(1), 100);
        disk.change_faults(|faults| faults.next_syncs_fail = 1);
        assert!(store(&node, &file, stamp(1)).await.is_err());
        assert!(listed(&node).await.is_empty());
        assert_eq!(incoming(&disk).await, 0);
        assert!(store(&node, &file, stamp(1)).await.unwrap().sealed);
        disk.crash();
        let node = lan.start(1, &disk).await;
        assert_eq!(read_file(&node, file.id).await.unwrap(), file.bytes);
    });
}

#[test]
fn a_full_disk_is_said_so_leaves_nothing_and_passes() {
    story(8, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(8));
        let node = lan.start(1, &disk).await;
        let (first, second) = (sample(table(1), 200), sample(table(2), 400));
        store(&node, &first, stamp(1)).await.unwrap();
        let used = first.bytes.len().next_multiple_of(4096) as u64;
        disk.change_faults(|faults| faults.capacity = used + 8192);
        let error = store(&node, &second, stamp(1)).await.unwrap_err();
        assert_eq!(error.reason(), Reason::DiskFull);
        assert_eq!((incoming(&disk).await, node.stats().await.free_bytes), (0, 8192));
        assert_eq!(entries(&node, first.id).await, first.entries, "reads go on");
        ask(&node, DeleteTables { tables: vec![first.id] }).await.unwrap();
        disk.change_faults(|faults| faults.capacity = 1 << 20);
        assert!(store(&node, &second, stamp(1)).await.unwrap().sealed);
    });
}

#[test]
fn a_write_without_pieces_for_long_is_thrown_away() {
    story(9, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(9));
        let node = lan.start_with(1, &disk, |options| options.writes_max = 1).await;
        let (file, other) = (sample(table(1), 50), sample(table(2), 50));
        let begin = |file: &crate::tables::File, seal| WriteTable {
            table: file.id,
            stamp: stamp(1),
            offset: 0,
            bytes: file.bytes.clone(),
            seal,
        };
        ask(&node, begin(&file, None)).await.unwrap();
        let error = ask(&node, begin(&other, None)).await.unwrap_err();
        assert_eq!(error.reason(), Reason::TooManyOpen);
        time::sleep(Duration::from_secs(130)).await;
        assert_eq!(incoming(&disk).await, 0);
        assert!(ask(&node, begin(&other, Some(other.seal))).await.unwrap().sealed);
    });
}

#[test]
fn a_drop_deletes_no_copy_of_a_higher_stamp_however_late_it_comes() {
    story(10, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(10));
        let node = lan.start(1, &disk).await;
        let file = sample(table(1), 50);
        let drop_up_to = |n| DropCopy { table: file.id, up_to: stamp(n) };
        store(&node, &file, stamp(4)).await.unwrap();
        let error = ask(&node, drop_up_to(3)).await.unwrap_err();
        assert_eq!(error.reason(), Reason::StampTooHigh);
        // The order comes late: the copy was ordered again meanwhile, and is listed.
        store(&node, &file, stamp(6)).await.unwrap();
        assert_eq!(ask(&node, drop_up_to(4)).await.unwrap_err().reason(), Reason::StampTooHigh);
        disk.crash();
        let node = lan.start(1, &disk).await;
        assert_eq!(
            ask(&node, drop_up_to(5)).await.unwrap_err().reason(),
            Reason::StampTooHigh,
            "after a crash, too"
        );
        assert_eq!(ask(&node, drop_up_to(6)).await.unwrap().deleted, 1);
        assert_eq!(ask(&node, drop_up_to(6)).await.unwrap().deleted, 0);
        assert_eq!(read_file(&node, file.id).await.unwrap_err().reason(), Reason::TableNotFound);
        assert!(disk.durable_files().is_empty());
    });
}

#[test]
fn a_linked_table_outlives_its_first_name_and_keeps_its_origin() {
    story(11, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(11));
        let node = lan.start(1, &disk).await;
        let file = sample(table(1), 80);
        let mut new = table(9);
        new.group = lamina_types::GroupId(2);
        let link = |n| LinkTable { old: file.id, new, stamp: stamp(n) };
        assert_eq!(ask(&node, link(1)).await.unwrap_err().reason(), Reason::TableNotFound);
        store(&node, &file, stamp(1)).await.unwrap();
        assert_eq!(ask(&node, link(5)).await.unwrap(), TableSealed { stamp: stamp(5) });
        assert_eq!(ask(&node, link(4)).await.unwrap(), TableSealed { stamp: stamp(5) }, "repeated");
        ask(&node, DeleteTables { tables: vec![file.id] }).await.unwrap();
        assert_eq!(
            ask(&node, link(6)).await.unwrap(),
            TableSealed { stamp: stamp(6) },
            "repeated when the old is gone"
        );
        disk.crash();
        let node = lan.start(1, &disk).await;
        assert_eq!(entries(&node, new).await, file.entries);
        assert_eq!(disk.durable_files(), [path(new, stamp(6))]);

        let other = sample(table(2), 81);
        store(&node, &other, stamp(1)).await.unwrap();
        let wrong = LinkTable { old: other.id, new, stamp: stamp(7) };
        assert_eq!(ask(&node, wrong).await.unwrap_err().reason(), Reason::TableConflict);
    });
}

#[test]
fn a_call_for_another_node_is_refused_and_a_late_one_too() {
    story(12, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(12));
        let node = lan.start(1, &disk).await;
        let stat = lamina_peers::data::DataStat {};
        let mut context = RequestContext::new(1, 1000);
        context.to = Some(id(2));
        let error = node.peer().call(context.clone(), stat).await.unwrap_err();
        assert_eq!(error.reason(), Reason::NodeMismatch);
        context.to = Some(id(1));
        assert!(node.peer().call(context, stat).await.is_ok());
    });
}

#[test]
fn strange_names_in_the_directory_are_left_alone() {
    story(13, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(13));
        let node = lan.start(1, &disk).await;
        let file = sample(table(1), 50);
        store(&node, &file, stamp(1)).await.unwrap();
        drop(node);
        let strange = "store/tables/1/notes.txt";
        let made = disk.open(strange, lamina_env::disk::OpenMode::Create).await.unwrap();
        made.write_and_sync(0, vec![Bytes::from_static(b"mine")]).await.unwrap();
        disk.sync_dir("store/tables/1").await.unwrap();
        let node = lan.start(1, &disk).await;
        assert_eq!(listed(&node).await.len(), 1);
        assert!(disk.durable(strange).is_some());
    });
}
