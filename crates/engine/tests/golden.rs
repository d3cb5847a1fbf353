//! Files written by this level of the formats, kept for ever: every later binary has to read them.
//!
//! What is ours to decide (blocks without compression, Bloom filter, index part, footer) must also be written byte
//! for byte as it was. What a library decides (compressed bytes, fingerprints) may change with its version; there
//! only reading is promised. `GOLDEN_WRITE=1 cargo test -p lamina-engine --test golden` writes the files anew, which
//! is right only together with a new level.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::PathBuf;

use bytes::Bytes;
use lamina_engine::{
    Block, Codec, Cursor, Entry, FOOTER_BYTES, FilterKind, Footer, TableBuilder, TableSpec, Value, key_hash,
};
use lamina_types::{GroupId, Reign, TableId, TabletId, Version};

const ORIGIN: TableId = TableId { group: GroupId(3), reign: Reign(0x1_0000_0002), n: 9 };
const TABLET: TabletId = TabletId { group: GroupId(2), index: 77 };

/// Every kind of entry: puts of several lengths, an empty one, expiries, tombstones, keys with many versions that spill
/// over blocks, keys that are prefixes of each other.
fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    for n in 0..120u64 {
        let key = Bytes::from([&[0, 0, 0, 1], format!("tenant-{}/order/{n:05}", n / 40).as_bytes()].concat());
        let versions = if n == 50 { 40 } else { 1 + n % 3 };
        for v in 0..versions {
            let version = Version(((1_700_000_000_000 + n * 977) << 16) + versions - v);
            let bytes = Bytes::from(vec![b'a' + (n % 26) as u8; (n * 7 % 45) as usize]);
            let value = match n % 11 {
                3 => Value::Tombstone,
                5 => Value::Put { bytes, expires_ms: Some(1_700_000_100_000 + n) },
                _ => Value::Put { bytes, expires_ms: None },
            };
            entries.push(Entry { key: key.clone(), version, value });
        }
        if n % 20 == 0 {
            let longer = [key.as_ref(), b"\0"].concat();
            entries.push(Entry::put(longer, Version::from_ms(1_700_000_000_000), "child"));
        }
    }
    entries
}

fn file(codec: Codec, filter: FilterKind) -> Bytes {
    let spec = TableSpec { id: ORIGIN, tablet: TABLET, level: 2, block_bytes: 600, codec, filter };
    let mut builder = TableBuilder::new(spec);
    let mut file = Vec::new();
    for entry in &entries() {
        builder.add(entry).unwrap();
        builder.take_data().iter().for_each(|block| file.extend_from_slice(block));
    }
    file.extend_from_slice(&builder.finish().unwrap().rest);
    Bytes::from(file)
}

fn golden(name: &str, written_now: &Bytes) -> Bytes {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    #[expect(clippy::disallowed_methods, reason = "a test reads and writes its own files")]
    if std::env::var_os("GOLDEN_WRITE").is_some() {
        std::fs::write(&path, written_now).unwrap();
    }
    #[expect(clippy::disallowed_methods, reason = "a test reads and writes its own files")]
    Bytes::from(std::fs::read(path).unwrap())
}

fn reads_as_the_entries(file: &Bytes, filter: &str) {
    let entries = entries();
    let footer = Footer::parse(&file[file.len() - FOOTER_BYTES..]).unwrap();
    assert_eq!((footer.origin, footer.tablet, footer.level), (ORIGIN, TABLET, 2));
    assert_eq!(footer.file_bytes, file.len() as u64);
    let section = footer.index.range();
    let part = footer.open_index(file.slice(section.start as usize..section.end as usize)).unwrap();
    assert_eq!(part.filter_name(), filter);
    assert_eq!(part.properties().entries, entries.len() as u64);
    assert!(part.infos().any(|info| info.spilled));
    let block = |offset: u64, end: u64, number| {
        Block::decode(file.slice(offset as usize..end as usize), ORIGIN, number).unwrap()
    };
    let mut read = Vec::new();
    for info in part.infos() {
        let mut cursor = block(info.handle.offset, info.handle.end(), info.handle.block).cursor();
        cursor.seek_first();
        while let Some(entry) = cursor.to_entry() {
            read.push(entry);
            cursor.next();
        }
    }
    assert_eq!(read, entries);
    for entry in &entries {
        let handle = part.lookup_at(&entry.key, key_hash(&entry.key), entry.version).unwrap();
        let block = block(handle.offset, handle.end(), handle.block);
        assert_eq!(block.get(&entry.key, entry.version).as_ref(), Some(entry));
    }
}

#[test]
fn a_plain_table_is_written_and_read_as_ever() {
    let now = file(Codec::None, FilterKind::Bloom { bits_per_key: 10 });
    let golden = golden("plain-bloom.table", &now);
    assert_eq!(now, golden, "the bytes of a format have changed");
    reads_as_the_entries(&golden, "bloom");
}

#[test]
fn a_table_with_lz4_and_fuse8_is_read_as_ever() {
    let golden = golden("lz4-fuse8.table", &file(Codec::Lz4, FilterKind::Fuse8));
    reads_as_the_entries(&golden, "fuse8");
}

#[test]
fn a_table_with_zstd_and_fuse16_is_read_as_ever() {
    let golden = golden("zstd-fuse16.table", &file(Codec::Zstd, FilterKind::Fuse16));
    reads_as_the_entries(&golden, "fuse16");
}
