use std::cmp::Reverse;

use proptest::prelude::*;

use super::*;
use crate::block::Block;
use crate::cursor::{Cursor, EntryRef};
use crate::entry::{Entry, cmp_entries};
use crate::filter::FilterKind;
use crate::samples::{self, entries, list, table, tablet};
use crate::table::{TableBuilder, TableSpec};

/// A table in memory: its index part, and the entries of each block.
struct Sample {
    part: IndexPart,
    blocks: Vec<Vec<Entry>>,
}

fn sample(entries: &[Entry], block_bytes: usize, filter: FilterKind) -> Sample {
    let mut builder =
        TableBuilder::new(TableSpec { block_bytes, filter, ..TableSpec::new(table(4), tablet()) });
    for entry in entries {
        builder.add(EntryRef::from(entry)).unwrap();
    }
    let built = builder.finish().unwrap();
    let part = IndexPart::parse(built.index_part).unwrap();
    let blocks = part.infos().map(|info| read(&built.rest, info.handle)).collect();
    Sample { part, blocks }
}

fn read(file: &Bytes, handle: BlockHandle) -> Vec<Entry> {
    let stored = file.slice(handle.offset as usize..handle.end() as usize);
    let mut cursor = Block::decode(stored, table(4), handle.block).unwrap().cursor();
    cursor.seek_first();
    let step = || {
        let entry = cursor.to_entry();
        cursor.next();
        entry
    };
    std::iter::from_fn(step).collect()
}

proptest! {
    #[test]
    fn find_names_the_one_block_that_can_hold_the_version(
        model in entries(1..500), block_bytes in 1..400usize, others in prop::collection::vec((samples::key(), samples::version()), 0..40)
    ) {
        let sample = sample(&list(&model), block_bytes, FilterKind::Fuse8);
        for (key, at) in others.iter().cloned().chain(model.keys().map(|(key, version)| (key.clone(), version.0))) {
            for at in [at, Version(at.0 - 1), Version::MAX] {
                let holds = |entries: &Vec<Entry>| entries.iter().any(|entry| entry.key == key && entry.version <= at);
                let expected = sample.blocks.iter().position(holds);
                let found = sample.part.find_at(&key, at).map(|handle| handle.block as usize);
                match expected {
                    Some(_) => prop_assert_eq!(found, expected),
                    None => prop_assert!(!found.is_some_and(|block| holds(&sample.blocks[block]))),
                }
                let filtered = sample.part.lookup_at(&key, key_hash(&key), at);
                prop_assert!(filtered.is_none() || filtered.map(|handle| handle.block as usize) == found);
            }
            let present = model.keys().any(|(k, _)| *k == key);
            prop_assert!(!present || sample.part.may_contain(&key));
            prop_assert_eq!(sample.part.lookup(&key).is_some(), sample.part.may_contain(&key));
        }
    }

    #[test]
    fn seek_names_all_blocks_of_a_range_in_the_order_of_the_scan(
        model in entries(1..400), block_bytes in 1..400usize, start in samples::key(), end in prop::option::of(samples::key()), limit in 0..40usize
    ) {
        let sample = sample(&list(&model), block_bytes, FilterKind::None);
        let range = KeyRange { start, end };
        let needed = |handles: &[BlockHandle]| {
            sample.blocks.iter().enumerate().all(|(n, entries)| {
                !entries.iter().any(|entry| range.contains(&entry.key)) || handles.iter().any(|handle| handle.block as usize == n)
            })
        };
        let all = sample.part.seek(&range, false, usize::MAX);
        prop_assert!(needed(&all));
        prop_assert!(all.windows(2).all(|pair| pair[0].block + 1 == pair[1].block && pair[0].end() == pair[1].offset));
        let inside = sample.blocks.iter().filter(|block| block.iter().any(|entry| range.contains(&entry.key))).count();
        prop_assert!(all.len() <= inside + 2, "{} blocks for {inside} that hold keys of the range", all.len());
        let mut backward = sample.part.seek(&range, true, usize::MAX);
        prop_assert_eq!(&sample.part.seek(&range, true, limit)[..], &backward[..limit.min(backward.len())]);
        prop_assert_eq!(&sample.part.seek(&range, false, limit)[..], &all[..limit.min(all.len())]);
        backward.reverse();
        prop_assert_eq!(backward, all);
    }

    #[test]
    fn infos_count_what_is_in_the_blocks(model in entries(1..300), block_bytes in 1..300usize) {
        let sample = sample(&list(&model), block_bytes, FilterKind::None);
        prop_assert_eq!(sample.part.blocks() as usize, sample.blocks.len());
        let mut last: Option<&Entry> = None;
        for (info, block) in sample.part.infos().zip(&sample.blocks) {
            prop_assert_eq!(info.entries as usize, block.len());
            prop_assert_eq!(info.tombstones as usize, block.iter().filter(|entry| entry.value == crate::Value::Tombstone).count());
            prop_assert_eq!(info.newest_ms, block.iter().map(|entry| entry.version.ms()).max().unwrap());
            prop_assert_eq!(info.spilled, last.is_some_and(|last| last.key == block[0].key));
            last = block.last();
            let next = sample.part.next(info.handle);
            prop_assert_eq!(next.map(|next| next.block), Some(info.handle.block + 1).filter(|n| *n < sample.part.blocks()));
            let spill = next.filter(|next| sample.blocks[next.block as usize][0].key == block[block.len() - 1].key);
            prop_assert_eq!(sample.part.spill(info.handle), spill);
        }
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(IndexPart::parse(Bytes::from(bytes)).is_err());
    }

    #[test]
    fn a_part_changed_under_a_good_checksum_never_panics(
        model in entries(1..200), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), key in samples::key()
    ) {
        let good = sample(&list(&model), 100, FilterKind::Fuse8).part.bytes().clone();
        let mut bad = good[..good.len() - 4].to_vec();
        for (at, byte) in changes {
            let at = at.index(bad.len());
            bad[at] = byte;
        }
        bad.extend_from_slice(&crc32fast::hash(&bad).to_le_bytes());
        if let Ok(part) = IndexPart::parse(Bytes::from(bad)) {
            part.lookup(&key);
            part.find_at(&key, Version(3));
            let range = KeyRange::new(key, None);
            let (forward, backward) = (part.seek(&range, false, 100), part.seek(&range, true, 100));
            prop_assert_eq!(forward.len(), backward.len());
            prop_assert_eq!(part.infos().count(), part.blocks() as usize);
        }
    }
}

#[test]
fn a_key_with_versions_over_many_blocks_is_found_at_each_version() {
    let mut entries: Vec<Entry> =
        (0..500).map(|n| Entry::put("hot", Version(1000 - 2 * n), vec![1; 50])).collect();
    entries.insert(0, Entry::put("a", Version(3), "x"));
    entries.push(Entry::put("z", Version(3), "x"));
    let sample = sample(&entries, 1000, FilterKind::Fuse8);
    assert!(sample.part.blocks() > 20);
    for at in 0..1002 {
        let holds =
            |block: &Vec<Entry>| block.iter().any(|entry| entry.key == "hot" && entry.version <= Version(at));
        let expected = sample.blocks.iter().position(holds).map(|block| block as u32);
        let found = sample.part.find_at(b"hot", Version(at)).map(|handle| handle.block);
        assert!(expected.is_none() || found == expected, "at {at}: {found:?} instead of {expected:?}");
    }
    let mut handle = sample.part.lookup(b"hot").unwrap();
    let first = handle.block;
    while let Some(next) = sample.part.spill(handle) {
        handle = next;
    }
    assert_eq!(handle.block - first, sample.part.infos().filter(|info| info.spilled).count() as u32);
}

#[test]
fn every_flipped_bit_is_found() {
    let good = sample(&samples::numbered(60, 10), 300, FilterKind::Fuse8).part.bytes().clone();
    for bit in 0..good.len() * 8 {
        let mut bad = good.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(IndexPart::parse(Bytes::from(bad)).is_err(), "bit {bit}");
    }
    for length in 0..good.len() {
        assert!(IndexPart::parse(good.slice(..length)).is_err());
    }
}

#[test]
fn a_renamed_part_names_the_new_table_and_keeps_its_origin() {
    let part = sample(&samples::numbered(60, 10), 300, FilterKind::Fuse8).part;
    let renamed = part.renamed(table(77));
    assert_eq!(renamed.lookup(b"user00000003").unwrap().table, table(77));
    assert_eq!((renamed.table(), renamed.origin(), part.table()), (table(77), table(4), table(4)));
    assert_eq!(renamed.bytes().as_ptr(), part.bytes().as_ptr(), "nothing is copied");
}

#[test]
fn unknown_sections_are_refused_if_required_and_skipped_if_not() {
    let good = sample(&samples::numbered(60, 10), 300, FilterKind::Fuse8).part.bytes().clone();
    let with = |flags: u8| {
        let (head, list_end) = (MAGIC.len() + 4, MAGIC.len() + 4 + 3 * 8);
        let mut bytes = good[..list_end].to_vec();
        bytes[head - 2] = 4;
        bytes.extend_from_slice(&[99, 0, flags, 0, 2, 0, 0, 0]);
        bytes.extend_from_slice(&good[list_end..good.len() - 4]);
        bytes.extend_from_slice(b"xy");
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        IndexPart::parse(Bytes::from(bytes))
    };
    assert_eq!(with(1).unwrap_err().what, "a required section of the index part is unknown");
    assert!(with(0).unwrap().lookup(b"user00000003").is_some());
}

#[test]
fn index_entries_are_as_small_as_budgeted() {
    let entries = samples::numbered(40_000, 100);
    let part = sample(&entries, 16 << 10, FilterKind::None).part;
    let per_block = part.bytes().len() as f64 / f64::from(part.blocks());
    println!("{per_block:.1} bytes per block");
    assert!(per_block < 20.0, "{per_block} bytes per block");
}

#[test]
fn a_split_key_has_half_of_the_bytes_on_either_side() {
    let part = sample(&samples::numbered(10_000, 20), 1000, FilterKind::None).part;
    let key = part.split_key(&KeyRange::all()).unwrap();
    assert!(key > "user00002300" && key < "user00002700", "{key:?}");
    let right = KeyRange::new(key.clone(), None);
    assert!(part.split_key(&right).unwrap() > key);
    assert_eq!(part.split_key(&KeyRange::new("user00000001", Some("user00000002".into()))), None);
}

#[test]
fn bounds_separate_the_blocks() {
    let entries = samples::numbered(5000, 10);
    let sample = sample(&entries, 500, FilterKind::None);
    for (n, block) in sample.blocks.iter().enumerate().skip(1) {
        let bound = sample.part.entries.key(n as u32).unwrap();
        let last = sample.blocks[n - 1].last().unwrap();
        assert!(cmp_entries((&bound, Version::MAX), (&block[0].key, block[0].version)).is_le());
        assert!(bound > last.key || bound == block[0].key);
        assert!(bound.len() <= block[0].key.len());
    }
    assert!(sample.blocks.iter().flatten().map(|entry| (&entry.key, Reverse(entry.version))).is_sorted());
}
