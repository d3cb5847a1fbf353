//! Blocks, lookups from tails, lists.

use bytes::Bytes;
use lamina_engine::entry::Entry;
use lamina_env::disk::memory::MemDisk;
use lamina_env::random;
use lamina_peers::data::{BlockRead, DataStat, ListTables, ReadBlocks, ReadTail};
use lamina_peers::index::{Candidate, Lookup, LookupKey, Seek, SeekRange, SoughtRun};
use lamina_types::{BlockHandle, GroupId, KeyRange, Reason, TableId, Version};

use crate::lan::{Lan, ask, story};
use crate::tables::{GROUP, build, entries, key, one, path, sample, stamp, store, table};

#[test]
fn blocks_come_in_the_order_of_the_request_whatever_it_is() {
    story(40, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(40));
        let node = lan.start(1, &disk).await;
        let files = [sample(table(1), 200), sample(table(2), 200)];
        let mut wanted: Vec<(BlockHandle, Bytes)> = Vec::new();
        for file in &files {
            store(&node, file, stamp(1)).await.unwrap();
            for handle in file.part.infos().map(|info| info.handle) {
                wanted.push((handle, file.bytes.slice(handle.offset as usize..handle.end() as usize)));
            }
        }
        for _ in 0..50 {
            let picked: Vec<_> = (0..random::between(1, 40))
                .map(|_| wanted[random::between(0, wanted.len() as u64) as usize].clone())
                .collect();
            let blocks = picked.iter().map(|(handle, _)| *handle).collect();
            let read = ask(&node, ReadBlocks { blocks }).await.unwrap();
            for ((_, bytes), read) in picked.iter().zip(read.blocks) {
                assert_eq!(read, BlockRead::Stored(bytes.clone()));
            }
        }
        let counted = ask(&node, DataStat {}).await.unwrap();
        assert!(counted.blocks_read > 50 && counted.tables == 2);
    });
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_of_the_batch_comes() {
    story(41, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(41));
        let node = lan.start(1, &disk).await;
        let file = sample(table(1), 100);
        store(&node, &file, stamp(1)).await.unwrap();
        let good = file.part.infos().next().unwrap().handle;
        let blocks = vec![
            BlockHandle { table: table(9), ..good },
            good,
            BlockHandle { offset: u64::MAX - 3, ..good },
            BlockHandle { offset: file.seal.file_bytes - 1, ..good },
        ];
        let read = ask(&node, ReadBlocks { blocks }).await.unwrap().blocks;
        assert_eq!(read[0], BlockRead::TableNotFound);
        assert!(matches!(read[1], BlockRead::Stored(_)));
        assert_eq!(read[2..], [BlockRead::Unreadable, BlockRead::Unreadable]);
        assert!(!one(&node, file.id).await.unwrap().damaged, "a wrong handle says nothing about the copy");

        let large = vec![BlockHandle { length: 1 << 20, ..good }; 8];
        let error = ask(&node, ReadBlocks { blocks: large }).await.unwrap_err();
        assert_eq!(error.reason(), Reason::MessageTooLarge);

        let second = file.part.infos().nth(1).unwrap().handle;
        disk.change_faults(|faults| faults.next_reads_fail = 2);
        let read = ask(&node, ReadBlocks { blocks: vec![good, second] }).await.unwrap().blocks;
        assert_eq!(read[0], BlockRead::Unreadable, "the batch failed, then this one by itself");
        assert!(matches!(read[1], BlockRead::Stored(_)));
        assert!(one(&node, file.id).await.unwrap().damaged);
    });
}

/// Several versions of a few keys, so that one key fills several blocks.
fn versions(id: TableId, base: u64) -> crate::tables::File {
    let mut entries = Vec::new();
    for n in 0..20 {
        for version in (1..=random::between(1, 60)).rev() {
            entries.push(Entry::put(key(n * 2), Version(base + version), vec![7; 30]));
        }
    }
    build(id, entries, 512)
}

#[test]
fn lookups_from_tails_are_those_of_the_index_part() {
    story(42, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(42));
        let node = lan.start(1, &disk).await;
        let files: Vec<_> = (1..=6).map(|n| versions(table(n), u64::from(n) * 1000)).collect();
        for file in &files {
            store(&node, file, stamp(1)).await.unwrap();
        }
        let candidates =
            vec![(1..=6).rev().map(table).collect::<Vec<_>>(), vec![table(2), table(77), table(4)]];
        let keys: Vec<LookupKey> = (0..200)
            .map(|_| LookupKey {
                candidates: random::between(0, 2) as u32,
                key: key(random::between(0, 45) as u32),
                at: Version(random::between(900, 7000)),
            })
            .collect();
        let found = ask(&node, Lookup { candidates: candidates.clone(), keys: keys.clone() }).await.unwrap();
        let mut hits = 0;
        for (asked, found) in keys.iter().zip(found.keys) {
            let hash = lamina_engine::key_hash(&asked.key);
            let expected: Vec<Candidate> = candidates[asked.candidates as usize]
                .iter()
                .filter_map(|id| match files.iter().find(|file| file.id == *id) {
                    None => Some(Candidate::Missing(*id)),
                    Some(file) => file.part.lookup_at(&asked.key, hash, asked.at).map(Candidate::Block),
                })
                .collect();
            hits += expected.iter().filter(|found| matches!(found, Candidate::Block(_))).count();
            assert_eq!(found, expected);
        }
        assert!(hits > 100, "{hits}");
        let wrong = vec![LookupKey { candidates: 2, key: key(1), at: Version::MAX }];
        let error = ask(&node, Lookup { candidates, keys: wrong }).await.unwrap_err();
        assert_eq!(error.reason(), Reason::FieldInvalid);
    });
}

#[test]
fn seeks_from_tails_are_those_of_the_index_part_and_say_when_there_is_no_more() {
    story(43, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(43));
        let node = lan.start(1, &disk).await;
        let file = versions(table(1), 1000);
        store(&node, &file, stamp(1)).await.unwrap();
        for _ in 0..200 {
            let (a, b) = (random::between(0, 45) as u32, random::between(0, 45) as u32);
            let range = KeyRange::new(key(a), (a % 5 != 0).then(|| key(b)));
            let limit = random::between(1, 30) as u32;
            let reverse = random::between(0, 2) == 1;
            let seek = SeekRange { table: file.id, range: range.clone(), reverse, limit };
            let missing = SeekRange { table: table(8), ..seek.clone() };
            let runs = ask(&node, Seek { seeks: vec![seek, missing] }).await.unwrap().runs;
            let all = file.part.seek(&range, reverse, usize::MAX);
            let expected = SoughtRun::Blocks {
                handles: all.iter().copied().take(limit as usize).collect(),
                exhausted: all.len() <= limit as usize,
            };
            assert_eq!(runs, [expected, SoughtRun::Missing]);
        }
    });
}

#[test]
fn a_damaged_tail_is_missing_and_noted() {
    story(44, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(44));
        let node = lan.start(1, &disk).await;
        let file = sample(table(1), 100);
        store(&node, &file, stamp(1)).await.unwrap();
        let index = file.seal.file_bytes - 256 - 40;
        assert!(disk.rot(&path(file.id, stamp(1)), index, 4));
        let keys = vec![LookupKey { candidates: 0, key: key(3), at: Version::MAX }];
        let found = ask(&node, Lookup { candidates: vec![vec![file.id]], keys }).await.unwrap();
        assert_eq!(found.keys, [[Candidate::Missing(file.id)]]);
        assert!(one(&node, file.id).await.unwrap().damaged);
        let error = ask(&node, ReadTail { table: file.id, offset: 0 }).await.unwrap_err();
        assert_eq!(error.reason(), Reason::DataLoss);
    });
}

#[test]
fn small_caches_only_cost_time() {
    story(45, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(45));
        let node = lan
            .start_with(1, &disk, |options| {
                options.open_files_max = 2;
                options.tail_cache_bytes = 1;
            })
            .await;
        let files: Vec<_> = (1..=8).map(|n| sample(table(n), 40)).collect();
        for file in &files {
            store(&node, file, stamp(1)).await.unwrap();
        }
        let candidates = vec![files.iter().map(|file| file.id).collect::<Vec<_>>()];
        for n in 0..40 {
            let keys = vec![LookupKey { candidates: 0, key: key(n), at: Version::MAX }];
            let found = ask(&node, Lookup { candidates: candidates.clone(), keys }).await.unwrap();
            assert_eq!(found.keys[0].len(), files.len());
        }
        for file in &files {
            assert_eq!(entries(&node, file.id).await, file.entries);
        }
    });
}

#[test]
fn a_list_has_the_tables_of_its_group_only_page_by_page() {
    story(46, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(46));
        let node = lan.start(1, &disk).await;
        let mut ids = Vec::new();
        for n in 0..9 {
            let mut id = table(n);
            id.group = GroupId(if n % 3 == 0 { 2 } else { 1 });
            let mut file = sample(id, 10);
            file.id = id;
            store(&node, &file, stamp(n)).await.unwrap();
            ids.push(id);
        }
        ids.retain(|id| id.group == GROUP);
        let mut seen = Vec::new();
        loop {
            let list = ListTables { group: GROUP, after: seen.last().copied(), limit: 2 };
            let page = ask(&node, list).await.unwrap();
            assert!(page.tables.len() <= 2);
            seen.extend(page.tables.iter().map(|listed| listed.table));
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, ids);
    });
}
