//! C1 and F1 against the model: whatever is flushed, merged, split and joined, a read at any version at or above
//! the floor is what a store that forgets nothing would answer.

use bytes::Bytes;
use lamina_types::{KeyRange, Version};
use proptest::prelude::*;

use super::{Model, Shelf, Tablet};
use crate::compaction::{Policy, TreeStats, pick};
use crate::entry::Value;
use crate::tree::TableView;

#[derive(Clone, Debug)]
enum Op {
    Put {
        key: u8,
        size: u8,
        ttl: Option<u8>,
    },
    Delete {
        key: u8,
    },
    /// Many versions of one key in a row, so that they spill over blocks.
    Hot {
        key: u8,
        times: u8,
    },
    Wait {
        ms: u8,
    },
    Rotate {
        tablet: u8,
    },
    Flush {
        tablet: u8,
    },
    /// Any rectangle: from one run to another, from one key to another.
    Compact {
        tablet: u8,
        runs: (u8, u8),
        keys: (u8, u8),
    },
    Pick {
        tablet: u8,
    },
    RaiseFloor {
        share: u8,
    },
    Split {
        at: u8,
    },
    Join {
        tablet: u8,
    },
    Read {
        at: u8,
        keys: (u8, u8),
        reverse: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (any::<u8>(), any::<u8>(), prop::option::weighted(0.3, 1..12u8))
            .prop_map(|(key, size, ttl)| Op::Put { key, size, ttl }),
        5 => any::<u8>().prop_map(|key| Op::Delete { key }),
        1 => (any::<u8>(), 3..40u8).prop_map(|(key, times)| Op::Hot { key, times }),
        3 => (1..6u8).prop_map(|ms| Op::Wait { ms }),
        3 => any::<u8>().prop_map(|tablet| Op::Rotate { tablet }),
        4 => any::<u8>().prop_map(|tablet| Op::Flush { tablet }),
        4 => (any::<u8>(), any::<(u8, u8)>(), any::<(u8, u8)>())
            .prop_map(|(tablet, runs, keys)| Op::Compact { tablet, runs, keys }),
        3 => any::<u8>().prop_map(|tablet| Op::Pick { tablet }),
        2 => any::<u8>().prop_map(|share| Op::RaiseFloor { share }),
        1 => any::<u8>().prop_map(|at| Op::Split { at }),
        1 => any::<u8>().prop_map(|tablet| Op::Join { tablet }),
        2 => (any::<u8>(), any::<(u8, u8)>(), any::<bool>())
            .prop_map(|(at, keys, reverse)| Op::Read { at, keys, reverse }),
    ]
}

/// 40 keys, some prefixes of others.
fn key(n: u8) -> Bytes {
    let n = n % 40;
    Bytes::from(format!("k{}{}", n / 8, "x".repeat(usize::from(n % 8))))
}

fn span(keys: (u8, u8)) -> KeyRange {
    let (a, b) = (key(keys.0), key(keys.1));
    KeyRange::new(a.clone().min(b.clone()), Some(a.max(b)))
}

struct World {
    shelf: Shelf,
    tablets: Vec<Tablet>,
    model: Model,
    last: Version,
    floor: Version,
    policy: Policy,
}

impl World {
    fn new() -> World {
        World {
            shelf: Shelf::new(300, 64),
            tablets: vec![Tablet::new(KeyRange::all())],
            model: Model::default(),
            last: Version::from_ms(100),
            floor: Version::ZERO,
            policy: Policy {
                table_bytes: 300,
                job_bytes_max: 12_000,
                stack: 2,
                bottom_ratio: 3,
                expired_ms: 5,
                ..Policy::default()
            },
        }
    }

    fn write(&mut self, key: Bytes, value: Value) {
        self.last = self.last.next();
        let tablet = self.tablets.iter().find(|tablet| tablet.range.contains(&key)).unwrap();
        tablet.insert(&key, self.last, value.clone());
        self.model.insert(&key, self.last, value);
    }

    fn tablet(&mut self, n: u8) -> usize {
        usize::from(n) % self.tablets.len()
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Put { key: k, size, ttl } => {
                let bytes = Bytes::from(vec![size; usize::from(size % 24)]);
                let expires_ms = ttl.map(|ttl| self.last.next().ms() + u64::from(ttl));
                self.write(key(k), Value::Put { bytes, expires_ms });
            }
            Op::Delete { key: k } => self.write(key(k), Value::Tombstone),
            Op::Hot { key: k, times } => {
                for n in 0..times {
                    self.write(key(k), Value::Put { bytes: Bytes::from(vec![n; 9]), expires_ms: None });
                }
            }
            Op::Wait { ms } => self.last = self.last.plus_ms(ms.into()),
            Op::Rotate { tablet } => {
                let n = self.tablet(tablet);
                self.tablets[n].rotate();
            }
            Op::Flush { tablet } => {
                let n = self.tablet(tablet);
                self.tablets[n].flush(&mut self.shelf, self.floor);
            }
            Op::Compact { tablet, runs, keys } => self.compact(tablet, runs, keys),
            Op::Pick { tablet } => self.pick(tablet),
            Op::RaiseFloor { share } => {
                let reach = self.last.0 - self.floor.0;
                self.floor = Version(self.floor.0 + reach / 256 * u64::from(share));
            }
            Op::Split { at } => {
                let at = key(at);
                let inside = |tablet: &Tablet| tablet.range.contains(&at) && tablet.range.start < at;
                if let Some(n) = self.tablets.iter().position(inside) {
                    let (left, right) = self.tablets[n].split(&at);
                    self.tablets.splice(n..=n, [left, right]);
                }
            }
            Op::Join { tablet } => {
                let n = self.tablet(tablet);
                if n + 1 < self.tablets.len() {
                    let joined = self.tablets[n].join(&self.tablets[n + 1]);
                    self.tablets.splice(n..=n + 1, [joined]);
                }
            }
            Op::Read { at, keys, reverse } => {
                let reach = self.last.0 - self.floor.0;
                self.read(Version(self.floor.0 + reach / 255 * u64::from(at)), &span(keys), reverse);
            }
        }
    }

    /// A rectangle that a policy would never choose, but that is legal.
    fn compact(&mut self, tablet: u8, runs: (u8, u8), keys: (u8, u8)) {
        let n = self.tablet(tablet);
        let tree = &self.tablets[n].tree;
        if tree.is_empty() {
            return;
        }
        let count = tree.runs().len();
        let (a, b) = (usize::from(runs.0) % count, usize::from(runs.1) % count);
        let span = if keys.0.is_multiple_of(4) { KeyRange::all() } else { span(keys) };
        let clip = |views: &[TableView]| views.iter().filter_map(|view| view.clip(&span)).collect();
        let chosen: Vec<Vec<TableView>> =
            tree.runs()[a.min(b)..=a.max(b)].iter().map(|run| clip(run.overlapping(&span))).collect();
        let inputs: Vec<TableView> = chosen.iter().flatten().cloned().collect();
        let Ok(rectangle) = tree.rectangle(&inputs) else {
            assert!(inputs.is_empty(), "every rectangle is contiguous");
            return;
        };
        let bottom = tree.below(&rectangle).is_none();
        self.tablets[n].compact(&mut self.shelf, &chosen, self.floor, bottom, 1).unwrap();
    }

    fn pick(&mut self, tablet: u8) {
        let n = self.tablet(tablet);
        let stats = TreeStats {
            tree: &self.tablets[n].tree,
            tables: &self.shelf.records,
            running: &[],
            floor: self.floor,
        };
        if let Some(task) = pick(&stats, &self.policy) {
            self.tablets[n]
                .compact(&mut self.shelf, &task.runs, self.floor, task.bottom, task.level)
                .unwrap();
        }
    }

    fn read(&self, at: Version, range: &KeyRange, reverse: bool) {
        let expected = self.model.rows(range, at, reverse);
        let order: Vec<&Tablet> =
            if reverse { self.tablets.iter().rev().collect() } else { self.tablets.iter().collect() };
        let rows: Vec<_> =
            order.iter().flat_map(|tablet| tablet.scan(&self.shelf, range, at, reverse).0).collect();
        assert_eq!(rows, expected, "scan of {range:?} at {at:?}, reverse: {reverse}");
    }

    /// Everything, at all versions that differ, both ways, and key by key.
    fn check(&self) {
        let step = ((self.last.0 - self.floor.0) / 12).max(1);
        let mut at = self.floor;
        while at <= self.last {
            self.read(at, &KeyRange::all(), false);
            self.read(at, &KeyRange::all(), true);
            for n in 0..40 {
                let key = key(n);
                let only = KeyRange::new(key.clone(), Some([&key[..], &[0]].concat().into()));
                let expected =
                    self.model.rows(&only, at, false).pop().map(|(_, value, version)| (value, version));
                let tablet = self.tablets.iter().find(|tablet| tablet.range.contains(&key)).unwrap();
                assert_eq!(tablet.get(&self.shelf, &key, at), expected, "{key:?} at {at:?}");
            }
            at = Version(at.0 + step);
        }
        self.read(self.last, &KeyRange::all(), false);
    }
}

proptest! {
    #[test]
    fn reads_at_and_above_the_floor_never_change(ops in prop::collection::vec(op(), 1..160)) {
        let mut world = World::new();
        for op in ops {
            world.run(op);
        }
        world.check();
        // Everything into tables, everything into one run, and again.
        for n in 0..world.tablets.len() as u8 {
            for op in [Op::Rotate { tablet: n }, Op::Flush { tablet: n }, Op::Flush { tablet: n }] {
                world.run(op);
            }
            for _ in 0..20 {
                world.run(Op::Pick { tablet: n });
            }
        }
        world.check();
        for n in 0..world.tablets.len() as u8 {
            world.run(Op::Compact { tablet: n, runs: (0, u8::MAX), keys: (0, 0) });
        }
        world.check();
    }
}
