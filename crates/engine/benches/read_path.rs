//! What a read, a scan and a flush cost in the formats. `cargo bench -p lamina-engine --bench read_path`.
//!
//! One table of 500 000 entries: keys of 20 bytes, values of 128 bytes, blocks of 16 KiB.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lamina_engine::{
    Block, BuiltTable, Codec, Cursor, Entry, EntryRef, FilterKind, IndexPart, TableBuilder, TableSpec,
    key_hash,
};
use lamina_types::{GroupId, KeyRange, Reign, TableId, TabletId, Version};

const ORIGIN: TableId = TableId { group: GroupId(1), reign: Reign(1), n: 1 };
const ENTRIES: u64 = 500_000;

fn key(n: u64) -> Bytes {
    Bytes::from([&[0, 0, 0, 1], format!("user{n:012}").as_bytes()].concat())
}

fn entries() -> Vec<Entry> {
    let value = |n: u64| -> Vec<u8> {
        (0..128u64)
            .map(|i| if i % 2 == 0 { b'x' } else { key_hash(&(n * 128 + i).to_le_bytes()) as u8 })
            .collect()
    };
    (0..ENTRIES).map(|n| Entry::put(key(n), Version(n + 1), value(n))).collect()
}

fn build(entries: &[Entry], codec: Codec, filter: FilterKind) -> BuiltTable {
    let spec =
        TableSpec { codec, filter, ..TableSpec::new(ORIGIN, TabletId { group: GroupId(1), index: 1 }) };
    let mut builder = TableBuilder::new(spec);
    for entry in entries {
        builder.add(EntryRef::from(entry)).unwrap();
    }
    builder.finish().unwrap()
}

fn formats(criterion: &mut Criterion) {
    let entries = entries();
    let order: Vec<u64> = (0..ENTRIES).map(|n| key_hash(&n.to_le_bytes()) % ENTRIES).collect();
    let keys: Vec<Bytes> = order.iter().map(|n| key(*n)).collect();
    let mut turn = keys.iter().cycle();

    for (name, codec) in [("none", Codec::None), ("lz4", Codec::Lz4), ("zstd", Codec::Zstd)] {
        let built = build(&entries, codec, FilterKind::Fuse8);
        let part = IndexPart::parse(built.index_part).unwrap();
        let handle = part.infos().nth(1000).unwrap().handle;
        let stored = built.rest.slice(handle.offset as usize..handle.end() as usize);
        criterion.bench_function(&format!("block decode {name}"), |bencher| {
            bencher.iter(|| Block::decode(stored.clone(), ORIGIN, handle.block).unwrap());
        });
    }

    let built = build(&entries, Codec::None, FilterKind::Fuse8);
    let part = IndexPart::parse(built.index_part.clone()).unwrap();
    let handle = part.infos().nth(1000).unwrap().handle;
    let stored = built.rest.slice(handle.offset as usize..handle.end() as usize);
    criterion.bench_function("block verify 16 KiB", |bencher| {
        bencher.iter(|| Block::verify(&stored, ORIGIN, handle.block).unwrap());
    });
    let block = Block::decode(stored, ORIGIN, handle.block).unwrap();
    let mut cursor = block.cursor();
    let mut inside = Vec::new();
    cursor.seek_first();
    while let Some(entry) = cursor.to_entry() {
        inside.push(entry.key);
        cursor.next();
    }
    let mut inside = inside.iter().cycle();
    criterion.bench_function("block find", |bencher| {
        bencher.iter(|| black_box(block.find(inside.next().unwrap(), Version::MAX)));
    });
    criterion.bench_function("block scan, per block", |bencher| {
        bencher.iter(|| {
            cursor.seek_first();
            let mut bytes = 0;
            while let Some(entry) = cursor.entry() {
                bytes += entry.bytes();
                cursor.next();
            }
            black_box(bytes)
        });
    });
    criterion.bench_function("index lookup of a key that is there", |bencher| {
        bencher.iter(|| black_box(part.lookup(turn.next().unwrap())));
    });
    let absent: Vec<Bytes> = keys.iter().map(|key| Bytes::from([key.as_ref(), b"!"].concat())).collect();
    let mut missing = absent.iter().cycle();
    criterion.bench_function("index lookup of a key that is not", |bencher| {
        bencher.iter(|| black_box(part.lookup(missing.next().unwrap())));
    });
    criterion.bench_function("index seek, 10 blocks", |bencher| {
        bencher.iter(|| black_box(part.seek(&KeyRange::new(turn.next().unwrap().clone(), None), false, 10)));
    });
    criterion.bench_function("index parse", |bencher| {
        bencher.iter(|| IndexPart::parse(built.index_part.clone()).unwrap());
    });
}

fn builds(criterion: &mut Criterion) {
    let entries = entries();
    let mut group = criterion.benchmark_group("build");
    group.sample_size(10).throughput(Throughput::Elements(ENTRIES));
    for (name, codec, filter) in [
        ("none, no filter", Codec::None, FilterKind::None),
        ("lz4, no filter", Codec::Lz4, FilterKind::None),
        ("lz4, fuse8", Codec::Lz4, FilterKind::Fuse8),
        ("lz4, bloom", Codec::Lz4, FilterKind::Bloom { bits_per_key: 10 }),
        ("zstd, fuse8", Codec::Zstd, FilterKind::Fuse8),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| build(&entries, codec, filter).file_bytes));
    }
    group.finish();
}

criterion_group!(benches, formats, builds);
criterion_main!(benches);
