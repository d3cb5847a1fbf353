//! Which structure a memtable is: the one of `lamina_engine::Memtable` against what one would take otherwise.
//!
//! `cargo bench -p lamina-engine --bench memtable`. Random keys of 20 bytes, values of 128 bytes, 400 000 entries.
//! The candidates store what the memtable stores (key, version, value; bytes copied once). Inserts and gets run in
//! one thread; `mixed` is a writer beside a reader, and counts the time in which both have done their share.
//!
//! First readings, as CPU time per operation at 100 000 entries on a loaded machine with two cores, best of three (so
//! only the ratios mean something):
//!
//! | ns | insert | get | insert beside a reader | get beside a writer | scan |
//! |---|---|---|---|---|---|
//! | memtable | 866 | 813 | 1318 | 712 | 39 |
//! | one lock around a `BTreeMap` | 1388 | 1988 | 2607 | 2961 | |
//! | 16 of them, by hash | 1359 | 1960 | 2853 | 2340 | |
//! | `crossbeam_skiplist::SkipMap` | 2568 | 3727 | 3681 | 3385 | 304 |
//!
//! Tried before: the same leaves with a `BTreeMap` of their starts as index and without heads; inserts and gets were
//! then no faster than those of one `BTreeMap`, because nearly every comparison was a cache miss.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing
)]

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_skiplist::SkipMap;
use lamina_engine::{Cursor, Memtable, Value};
use lamina_types::{KeyRange, Version};
use parking_lot::RwLock;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const ENTRIES: usize = 400_000;
const SHARDS: usize = 16;

type InternalKey = (Bytes, Reverse<Version>);

trait Candidate: Send + Sync + 'static {
    fn new() -> Self;
    fn insert(&self, key: &[u8], version: Version, value: &Bytes);
    fn get(&self, key: &[u8], at: Version) -> Option<Bytes>;
}

struct OneLock(RwLock<BTreeMap<InternalKey, Bytes>>);

impl Candidate for OneLock {
    fn new() -> Self {
        OneLock(RwLock::default())
    }
    fn insert(&self, key: &[u8], version: Version, value: &Bytes) {
        let key = (Bytes::copy_from_slice(key), Reverse(version));
        self.0.write().insert(key, Bytes::copy_from_slice(value));
    }
    fn get(&self, key: &[u8], at: Version) -> Option<Bytes> {
        let from = (Bytes::copy_from_slice(key), Reverse(at));
        let map = self.0.read();
        map.range(from..).next().filter(|((found, _), _)| found == key).map(|(_, value)| value.clone())
    }
}

/// Fast, but a scan has to merge all shards.
struct Sharded([OneLock; SHARDS]);

impl Sharded {
    fn shard(&self, key: &[u8]) -> &OneLock {
        &self.0[lamina_engine::key_hash(key) as usize % SHARDS]
    }
}

impl Candidate for Sharded {
    fn new() -> Self {
        Sharded(std::array::from_fn(|_| OneLock::new()))
    }
    fn insert(&self, key: &[u8], version: Version, value: &Bytes) {
        self.shard(key).insert(key, version, value);
    }
    fn get(&self, key: &[u8], at: Version) -> Option<Bytes> {
        self.shard(key).get(key, at)
    }
}

struct SkipList(SkipMap<InternalKey, Bytes>);

impl Candidate for SkipList {
    fn new() -> Self {
        SkipList(SkipMap::new())
    }
    fn insert(&self, key: &[u8], version: Version, value: &Bytes) {
        self.0.insert((Bytes::copy_from_slice(key), Reverse(version)), Bytes::copy_from_slice(value));
    }
    fn get(&self, key: &[u8], at: Version) -> Option<Bytes> {
        let from = (Bytes::copy_from_slice(key), Reverse(at));
        self.0.range(from..).next().filter(|entry| entry.key().0 == key).map(|entry| entry.value().clone())
    }
}

impl Candidate for Memtable {
    fn new() -> Self {
        Memtable::new()
    }
    fn insert(&self, key: &[u8], version: Version, value: &Bytes) {
        Memtable::insert(self, key, version, Value::Put { bytes: value.clone(), expires_ms: None });
    }
    fn get(&self, key: &[u8], at: Version) -> Option<Bytes> {
        match Memtable::get(self, key, at)?.value {
            Value::Put { bytes, .. } => Some(bytes),
            Value::Tombstone => None,
        }
    }
}

fn keys() -> Vec<[u8; 20]> {
    let mut random = SmallRng::seed_from_u64(42);
    let key = |_| {
        let mut key = [0, 0, 0, 1, b'u', b's', b'e', b'r', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        random.fill(&mut key[8..]);
        key
    };
    (0..ENTRIES).map(key).collect()
}

fn fill<C: Candidate>(target: &C, keys: &[[u8; 20]], value: &Bytes) {
    for (n, key) in keys.iter().enumerate() {
        target.insert(key, Version(n as u64 + 1), value);
    }
}

fn read<C: Candidate>(source: &C, keys: &[[u8; 20]]) -> usize {
    keys.iter().filter(|key| source.get(*key, Version::MAX).is_some()).count()
}

fn candidate<C: Candidate>(criterion: &mut Criterion, name: &str) {
    let (keys, value) = (keys(), Bytes::from(vec![7; 128]));
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).throughput(Throughput::Elements(ENTRIES as u64));
    group.bench_function("insert", |bencher| {
        bencher.iter_batched(
            C::new,
            |target| {
                fill(&target, &keys, &value);
                target
            },
            BatchSize::PerIteration,
        );
    });
    let full = C::new();
    fill(&full, &keys, &value);
    group.bench_function("get", |bencher| bencher.iter(|| black_box(read(&full, &keys))));
    let (before, after) = keys.split_at(ENTRIES / 2);
    group.bench_function("mixed", |bencher| {
        let half_full = || {
            let target = Arc::new(C::new());
            fill(&*target, before, &value);
            target
        };
        let both = |target: Arc<C>| {
            thread::scope(|scope| {
                scope.spawn(|| fill(&*target, after, &value));
                read(&*target, before);
            });
            target
        };
        bencher.iter_batched(half_full, both, BatchSize::PerIteration);
    });
    group.finish();
}

fn scans(criterion: &mut Criterion) {
    let (keys, value) = (keys(), Bytes::from(vec![7; 128]));
    let memtable = Arc::new(Memtable::new());
    fill(&*memtable, &keys, &value);
    let list = SkipList::new();
    fill(&list, &keys, &value);
    let mut group = criterion.benchmark_group("scan");
    group.sample_size(10).throughput(Throughput::Elements(ENTRIES as u64));
    group.bench_function("memtable", |bencher| {
        bencher.iter(|| {
            let mut cursor = memtable.cursor(KeyRange::all());
            let mut bytes = 0;
            cursor.seek_first();
            while let Some(entry) = cursor.entry() {
                bytes += entry.bytes();
                cursor.next();
            }
            black_box(bytes)
        });
    });
    group.bench_function("skiplist", |bencher| {
        bencher.iter(|| list.0.iter().map(|entry| entry.key().0.len() + entry.value().len()).sum::<usize>());
    });
    group.finish();
}

fn all(criterion: &mut Criterion) {
    candidate::<Memtable>(criterion, "memtable");
    candidate::<OneLock>(criterion, "one-lock-btree");
    candidate::<Sharded>(criterion, "sharded-btree");
    candidate::<SkipList>(criterion, "crossbeam-skiplist");
    scans(criterion);
}

criterion_group!(benches, all);
criterion_main!(benches);
