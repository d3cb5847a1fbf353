use bytes::Bytes;
use lamina_types::Version;
use proptest::prelude::*;

use super::*;
use crate::block::Block;
use crate::cursor::Cursor;
use crate::entry::Entry;
use crate::samples::{self, entries, get, list, table, tablet};

/// A finished table and the bytes of its file.
fn built(spec: TableSpec, entries: &[Entry]) -> (BuiltTable, Bytes) {
    let mut builder = TableBuilder::new(spec);
    let mut file = Vec::new();
    for (n, entry) in entries.iter().enumerate() {
        builder.add(entry).unwrap();
        if n % 7 == 0 {
            builder.take_data().iter().for_each(|block| file.extend_from_slice(block));
        }
    }
    let built = builder.finish().unwrap();
    file.extend_from_slice(&built.rest);
    assert_eq!(file.len() as u64, built.file_bytes);
    (built, Bytes::from(file))
}

fn spec(block_bytes: usize) -> TableSpec {
    TableSpec { block_bytes, ..TableSpec::new(table(9), tablet()) }
}

fn section(file: &Bytes, section: Section) -> Bytes {
    file.slice(section.offset as usize..section.range().end as usize)
}

fn footer(file: &Bytes) -> Footer {
    Footer::parse(&file[file.len() - FOOTER_BYTES..]).unwrap()
}

proptest! {
    #[test]
    fn a_file_gives_back_every_entry(model in entries(1..400), block_bytes in 1..600usize, kind in 0..4u8) {
        let filter = match kind {
            0 => FilterKind::None,
            1 => FilterKind::Fuse16,
            2 => FilterKind::Bloom { bits_per_key: 10 },
            _ => FilterKind::Fuse8,
        };
        let all = list(&model);
        let (built, file) = built(TableSpec { filter, ..spec(block_bytes) }, &all);
        let footer = footer(&file);
        prop_assert_eq!(section(&file, footer.index), &built.index_part);
        prop_assert_eq!(crc32fast::hash(&section(&file, footer.data)), footer.data.crc);
        let part = footer.open_index(built.index_part.clone()).unwrap();
        prop_assert_eq!(part.properties(), &built.properties);
        let mut read = Vec::new();
        for info in part.infos() {
            let handle = info.handle;
            let block = Block::decode(file.slice(handle.offset as usize..handle.end() as usize), table(9), handle.block).unwrap();
            prop_assert_eq!(block.entries(), info.entries);
            let mut cursor = block.cursor();
            cursor.next();
            while let Some(entry) = cursor.to_entry() {
                read.push(entry);
                cursor.next();
            }
        }
        prop_assert_eq!(read, all);
        for (key, version) in model.keys() {
            let handle = part.lookup_at(key, crate::key_hash(key), version.0).unwrap();
            let block = Block::decode(file.slice(handle.offset as usize..handle.end() as usize), table(9), handle.block).unwrap();
            prop_assert_eq!(block.get(key, version.0), get(&model, key, version.0));
        }
    }

    #[test]
    fn random_footers_are_refused(bytes in prop::collection::vec(any::<u8>(), FOOTER_BYTES), good_crc in any::<bool>()) {
        let mut bytes = bytes;
        if good_crc {
            bytes[..10].copy_from_slice(b"LAMTABLE\x01\0");
            let crc = crc32fast::hash(&bytes[..FOOTER_BYTES - 4]);
            bytes[FOOTER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        }
        prop_assert!(Footer::parse(&bytes).is_err());
    }
}

#[test]
fn properties_tell_what_is_in_the_table() {
    let entries = samples::numbered(2000, 40);
    let (built, _) = built(spec(4096), &entries);
    let properties = &built.properties;
    assert_eq!((properties.entries, properties.keys, properties.tombstones), (2000, 1000, 200));
    assert_eq!(properties.expiring, entries.iter().filter(|entry| expiry(entry).is_some()).count() as u64);
    assert_eq!(properties.oldest_expiry_ms, entries.iter().filter_map(expiry).min());
    assert_eq!(
        (properties.smallest.as_ref(), properties.largest.as_ref()),
        (&b"user00000000"[..], &b"user00000999"[..])
    );
    assert_eq!((properties.lowest, properties.highest), (Version(998_001), Version(1_000_000)));
    assert_eq!(properties.raw_bytes(), entries.iter().map(|entry| entry.bytes() as u64).sum::<u64>());
    assert!(properties.range().contains(b"user00000999") && !properties.range().contains(b"user00000999\0"));
    assert_eq!((properties.origin, properties.tablet), (table(9), tablet()));
}

fn expiry(entry: &Entry) -> Option<u64> {
    match &entry.value {
        crate::Value::Put { expires_ms, .. } => *expires_ms,
        crate::Value::Tombstone => None,
    }
}

#[test]
fn blocks_are_near_their_target_and_large_values_stand_alone() {
    let (built, _) = built(spec(BLOCK_BYTES_DEFAULT), &samples::numbered(20_000, 100));
    let raw = built.properties.raw_bytes() / u64::from(built.properties.blocks);
    assert!((13_000..16_384).contains(&raw), "{raw} bytes of keys and values per block");
    let mut builder = TableBuilder::new(spec(BLOCK_BYTES_DEFAULT));
    for n in 0..5u64 {
        builder.add(&Entry::put(format!("{n}"), Version(1), vec![n as u8; 1 << 20])).unwrap();
    }
    assert_eq!(builder.finish().unwrap().properties.blocks, 5);
}

#[test]
fn entries_out_of_order_and_too_large_ones_are_refused() {
    let mut builder = TableBuilder::new(spec(100));
    builder.add(&Entry::put("b", Version(5), "x")).unwrap();
    for entry in
        [Entry::put("a", Version(5), ""), Entry::put("b", Version(5), ""), Entry::put("b", Version(6), "")]
    {
        assert_eq!(builder.add(&entry), Err(BuildError::OutOfOrder));
    }
    assert_eq!(
        builder.add(&Entry::tombstone(vec![b'k'; 4101], Version(1))),
        Err(BuildError::KeyTooLarge(4101))
    );
    let large = Entry::put("c", Version(1), vec![0; (1 << 20) + 1]);
    assert_eq!(builder.add(&large), Err(BuildError::ValueTooLarge((1 << 20) + 1)));
    builder.add(&Entry::put("b", Version(4), "y")).unwrap();
    builder.add(&Entry::put(vec![b'k'; 4100], Version(1), vec![0; 1 << 20])).unwrap();
    assert_eq!(builder.finish().unwrap().properties.entries, 3);
    assert!(matches!(TableBuilder::new(spec(100)).finish(), Err(BuildError::Empty)));
}

#[test]
fn every_flipped_bit_of_a_footer_is_found() {
    let (_, file) = built(spec(300), &samples::numbered(50, 10));
    let good = &file[file.len() - FOOTER_BYTES..];
    for bit in 0..good.len() * 8 {
        let mut bad = good.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Footer::parse(&bad).is_err(), "bit {bit}");
    }
    assert!(Footer::parse(&good[1..]).is_err());
    assert!(Footer::parse(&[]).is_err());
}

/// Changes a footer and makes its checksum good again.
fn resealed(file: &Bytes, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut footer = file[file.len() - FOOTER_BYTES..].to_vec();
    change(&mut footer);
    let crc = crc32fast::hash(&footer[..FOOTER_BYTES - 4]);
    footer[FOOTER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    footer
}

#[test]
fn unknown_sections_are_refused_if_required_and_skipped_if_not() {
    let (_, file) = built(spec(300), &samples::numbered(50, 10));
    let good = footer(&file);
    // The list begins behind the fixed fields; a third, empty section goes behind the other two.
    let list = 8 + 2 + 16 + 12 + 1 + 24;
    let third = list + 2 + 2 * 24;
    let with = |flags: u8| {
        resealed(&file, |footer| {
            footer[list] = 3;
            footer[third] = 77;
            footer[third + 2] = flags;
            footer[third + 4..third + 12].copy_from_slice(&good.index.range().end.to_le_bytes());
        })
    };
    assert_eq!(Footer::parse(&with(1)).unwrap_err().what, "a required section of the file is unknown");
    let skipped = Footer::parse(&with(0)).unwrap();
    assert_eq!((skipped.data, skipped.index), (good.data, good.index));
    let format = resealed(&file, |footer| footer[8] = 2);
    assert!(Footer::parse(&format).is_err());
    let overlapping = resealed(&file, |footer| footer[list + 2 + 24 + 4] ^= 1);
    assert!(Footer::parse(&overlapping).is_err());
}

#[test]
fn an_index_part_of_another_table_is_refused() {
    let (_, file) = built(spec(300), &samples::numbered(50, 10));
    let (other, _) = built(TableSpec { id: table(10), ..spec(300) }, &samples::numbered(50, 10));
    assert!(footer(&file).open_index(other.index_part).is_err());
}

#[test]
fn the_same_entries_give_the_same_bytes() {
    let entries = samples::numbered(3000, 30);
    let (one, file_one) = built(spec(4096), &entries);
    let (two, file_two) = built(spec(4096), &entries);
    assert_eq!(file_one, file_two);
    assert_eq!((one.footer_crc, one.index_crc), (two.footer_crc, two.index_crc));
    let footer = footer(&file_one);
    assert_eq!((footer.crc, footer.index.crc), (one.footer_crc, one.index_crc));
}
