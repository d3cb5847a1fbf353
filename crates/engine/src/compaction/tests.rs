//! The policy over weeks of virtual data: tables are ranges and bytes, jobs take time, nothing is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lamina_types::{GroupId, KeyRange, Reign, TableId, Version};

use super::{Lane, Policy, Pressure, Task, TreeStats, Why, pick};
use crate::tree::{TableRecord, TableView, Tree};

const MIB: u64 = 1 << 20;
/// Keys are numbers below this one.
const KEYS: u64 = 1 << 40;

/// Bytes that lie evenly between two keys.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    low: u64,
    high: u64,
    bytes: f64,
}

impl Stretch {
    fn within(&self, low: u64, high: u64) -> f64 {
        let (from, to) = (self.low.max(low), self.high.min(high));
        if from >= to { 0.0 } else { self.bytes * (to - from) as f64 / (self.high - self.low) as f64 }
    }
}

fn key(n: u64) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

fn numbers(range: &KeyRange) -> (u64, u64) {
    let number = |key: &Bytes| {
        let mut bytes = [0; 8];
        let length = key.len().min(8);
        bytes[..length].copy_from_slice(&key[..length]);
        // The end of a table is its largest key and a zero byte.
        u64::from_be_bytes(bytes) + u64::from(key.len() > 8)
    };
    (number(&range.start), range.end.as_ref().map_or(KEYS, number))
}

struct Job {
    task: Task,
    left: f64,
}

struct Simulation {
    policy: Policy,
    tree: Tree,
    contents: BTreeMap<TableId, Vec<Stretch>>,
    records: BTreeMap<TableId, Arc<TableRecord>>,
    jobs: Vec<Job>,
    /// Bytes that each job merges while 64 MiB are flushed.
    speed: f64,
    /// The most bytes that there can be per key: what lies above is overwritten.
    density_max: f64,
    next: u32,
    flushed: f64,
    merged: f64,
    stalls: usize,
    runs_max: usize,
    job_bytes_max: u64,
    commits: BTreeMap<String, usize>,
}

impl Simulation {
    fn new(policy: Policy, speed: f64) -> Simulation {
        Simulation {
            policy,
            tree: Tree::new(),
            contents: BTreeMap::new(),
            records: BTreeMap::new(),
            jobs: Vec::new(),
            speed: speed * (64 * MIB) as f64,
            density_max: f64::MAX,
            next: 0,
            flushed: 0.0,
            merged: 0.0,
            stalls: 0,
            runs_max: 0,
            job_bytes_max: 0,
            commits: BTreeMap::new(),
        }
    }

    fn table(&mut self, stretches: Vec<Stretch>, level: u8, tombstones: bool) -> TableView {
        self.next += 1;
        let table = TableId { group: GroupId(1), reign: Reign(1), n: self.next };
        let bytes: f64 = stretches.iter().map(|stretch| stretch.bytes).sum();
        let record = TableRecord {
            origin: table,
            file_bytes: bytes as u64,
            index_bytes: 0,
            smallest: key(stretches[0].low),
            largest: key(stretches.last().unwrap().high - 1),
            entries: 100,
            tombstones: if tombstones { 90 } else { 0 },
            expiring: 0,
            lowest: Version(1),
            highest: Version(1),
            oldest_expiry_ms: None,
            level,
            footer_crc: 0,
            index_crc: 0,
            copies: BTreeMap::new(),
            copies_rev: 0,
        };
        let view = TableView::new(table, record.range());
        self.contents.insert(table, stretches);
        self.records.insert(table, Arc::new(record));
        view
    }

    fn flush(&mut self, stretches: Vec<Stretch>, tombstones: bool) {
        self.flushed += stretches.iter().map(|stretch| stretch.bytes).sum::<f64>();
        let view = self.table(stretches, 0, tombstones);
        self.tree.push_flush(vec![view]).unwrap();
    }

    /// One flush, or a stall, and what the jobs do in that time.
    fn tick(&mut self, flush: Option<Vec<Stretch>>) {
        match flush {
            Some(_) if Pressure::of(&self.tree, &self.policy).is_full() => self.stalls += 1,
            Some(stretches) => self.flush(stretches, false),
            None => {}
        }
        self.runs_max = self.runs_max.max(self.tree.runs_over_max());
        self.start();
        for job in &mut self.jobs {
            job.left -= self.speed;
        }
        while let Some(done) = self.jobs.iter().position(|job| job.left <= 0.0) {
            let job = self.jobs.remove(done);
            self.commit(&job.task);
            self.start();
        }
    }

    fn start(&mut self) {
        loop {
            let running: Vec<Task> = self.jobs.iter().map(|job| job.task.clone()).collect();
            let stats =
                TreeStats { tree: &self.tree, tables: &self.records, running: &running, floor: Version(1) };
            let Some(task) = pick(&stats, &self.policy) else { return };
            // Contiguous, by the same rules that the commit is checked by.
            self.tree.check_compaction(&task.inputs(), &[], task.bottom).unwrap();
            self.job_bytes_max = self.job_bytes_max.max(task.input_bytes);
            let left = self.read(&task).iter().map(|stretch| stretch.bytes).sum();
            self.jobs.push(Job { task, left });
        }
    }

    fn drain(&mut self) {
        for _ in 0..100_000 {
            self.start();
            if self.jobs.is_empty() {
                return;
            }
            self.tick(None);
        }
        panic!("the policy never comes to rest");
    }

    fn read(&self, task: &Task) -> Vec<Stretch> {
        let clipped = |view: &TableView| {
            let (low, high) = numbers(&view.range);
            let inside = move |stretch: &Stretch| Stretch {
                low: stretch.low.max(low),
                high: stretch.high.min(high),
                bytes: stretch.within(low, high),
            };
            self.contents[&view.table]
                .iter()
                .map(inside)
                .filter(|stretch| stretch.bytes > 0.0)
                .collect::<Vec<_>>()
        };
        task.inputs().iter().flat_map(clipped).collect()
    }

    fn commit(&mut self, task: &Task) {
        let inputs = self.read(task);
        let mut borders: Vec<u64> = inputs.iter().flat_map(|stretch| [stretch.low, stretch.high]).collect();
        borders.sort_unstable();
        borders.dedup();
        let mut outputs = Vec::new();
        let mut open: Option<Stretch> = None;
        let target = self.policy.table_bytes as f64;
        for pair in borders.windows(2) {
            let (mut low, high) = (pair[0], pair[1]);
            let bytes: f64 = inputs.iter().map(|stretch| stretch.within(low, high)).sum();
            let density = (bytes / (high - low) as f64).min(self.density_max);
            while low < high && density > 0.0 {
                let stretch = open.get_or_insert(Stretch { low, high: low, bytes: 0.0 });
                let keys = (((target - stretch.bytes) / density) as u64 + 1).min(high - low);
                stretch.bytes += keys as f64 * density;
                low += keys;
                stretch.high = low;
                if stretch.bytes >= target {
                    outputs.extend(open.take());
                }
            }
        }
        outputs.extend(open);
        self.merged += outputs.iter().map(|stretch| stretch.bytes).sum::<f64>();
        let outputs: Vec<TableView> =
            outputs.into_iter().map(|stretch| self.table(vec![stretch], task.level, false)).collect();
        self.tree.apply_compaction(&task.inputs(), &outputs, task.bottom).unwrap();
        *self.commits.entry(format!("{:?} {:?}", task.why, task.lane)).or_default() += 1;
        let live = self.tree.tables();
        self.contents.retain(|table, _| live.contains(table));
        self.records.retain(|table, _| live.contains(table));
    }

    /// Bytes written per byte flushed.
    fn amplification(&self) -> f64 {
        (self.flushed + self.merged) / self.flushed
    }

    fn report(&self, name: &str) -> String {
        format!(
            "{name}: {:.1} GiB flushed, written {:.2} times, at most {} runs, {} at rest, {} stalls, {} views, \
             largest job {} MiB, {:?}",
            self.flushed / (1024 * MIB) as f64,
            self.amplification(),
            self.runs_max,
            self.tree.runs_over_max(),
            self.stalls,
            self.tree.views().count(),
            self.job_bytes_max / MIB,
            self.commits,
        )
    }
}

fn everywhere(mib: u64) -> Vec<Stretch> {
    vec![Stretch { low: 0, high: KEYS, bytes: (mib * MIB) as f64 }]
}

/// 100 M keys of 256 bytes.
const FLUSHES: u64 = 400;

#[test]
fn a_random_load_is_written_a_few_times_and_stays_below_the_bound_of_runs() {
    let mut simulation = Simulation::new(Policy::default(), 4.0);
    for _ in 0..FLUSHES {
        simulation.tick(Some(everywhere(64)));
    }
    let loaded = simulation.runs_max;
    simulation.drain();
    let report = simulation.report("random");
    println!("{report}");
    assert!(simulation.amplification() < 9.0, "{report}");
    assert!(loaded <= 20 && simulation.stalls == 0, "{report}");
    assert!(simulation.job_bytes_max <= 2048 * MIB, "{report}");
    // At rest each level has less than a stack, above one bottom.
    assert!(simulation.tree.runs_over_max() <= 2 * 5 + 1, "{report}");
}

#[test]
fn overwriting_the_same_keys_keeps_the_tree_near_the_size_of_its_keys() {
    let mut simulation = Simulation::new(Policy::default(), 4.0);
    let distinct = (4096 * MIB) as f64;
    simulation.density_max = distinct / KEYS as f64;
    for _ in 0..FLUSHES {
        simulation.tick(Some(everywhere(64)));
    }
    simulation.drain();
    let report = simulation.report("overwrite");
    println!("{report}");
    let held: u64 = simulation.records.values().map(|record| record.file_bytes).sum();
    assert!((held as f64) < 2.0 * distinct, "{} MiB: {report}", held / MIB);
    assert!(
        simulation.amplification() < 9.0 && simulation.runs_max <= 20 && simulation.stalls == 0,
        "{report}"
    );
    assert!(simulation.job_bytes_max <= 2048 * MIB, "{report}");
}

#[test]
fn a_load_in_key_order_is_written_once() {
    let mut simulation = Simulation::new(Policy::default(), 4.0);
    let width = KEYS / FLUSHES;
    for n in 0..FLUSHES {
        let stretch = Stretch { low: n * width, high: (n + 1) * width, bytes: (64 * MIB) as f64 };
        simulation.tick(Some(vec![stretch]));
    }
    simulation.drain();
    let report = simulation.report("in order");
    assert_eq!(simulation.merged, 0.0, "{report}");
    assert_eq!(simulation.tree.runs().len(), 1, "{report}");
}

#[test]
fn small_flushes_in_key_order_become_full_tables() {
    let mut simulation = Simulation::new(Policy::default(), 4.0);
    let width = KEYS / 2000;
    for n in 0..2000 {
        let stretch = Stretch { low: n * width, high: (n + 1) * width, bytes: MIB as f64 };
        simulation.tick(Some(vec![stretch]));
    }
    simulation.drain();
    let report = simulation.report("small, in order");
    println!("{report}");
    assert!(simulation.amplification() < 5.0, "{report}");
    assert!(simulation.tree.views().count() < 200, "{report}");
    assert_eq!(simulation.tree.runs_over_max(), 1, "{report}");
}

#[test]
fn a_hot_corner_does_not_starve_the_rest() {
    let mut simulation = Simulation::new(Policy::default(), 4.0);
    for n in 0..FLUSHES {
        let hot = Stretch { low: KEYS / 2, high: KEYS / 2 + KEYS / 1000, bytes: (48 * MIB) as f64 };
        let mut flush = vec![hot];
        if n % 2 == 0 {
            flush.insert(0, Stretch { low: 0, high: KEYS / 2, bytes: (8 * MIB) as f64 });
            flush.push(Stretch { low: KEYS / 2 + KEYS / 1000, high: KEYS, bytes: (8 * MIB) as f64 });
        }
        simulation.tick(Some(flush));
    }
    simulation.drain();
    let report = simulation.report("hot corner");
    println!("{report}");
    assert!(
        simulation.amplification() < 9.0 && simulation.runs_max <= 20 && simulation.stalls == 0,
        "{report}"
    );
    assert!(simulation.tree.runs_over_max() <= 2 * 5 + 1, "{report}");
}

#[test]
fn slow_compaction_stalls_the_writer_at_the_bound_and_then_recovers() {
    let mut simulation = Simulation::new(Policy::default(), 0.5);
    for _ in 0..FLUSHES {
        simulation.tick(Some(everywhere(64)));
    }
    let report = simulation.report("slow");
    println!("{report}");
    assert!(simulation.runs_max <= 20 && simulation.stalls > 0, "{report}");
    assert!(simulation.flushed > 50.0 * (64 * MIB) as f64, "writes still flow: {report}");
    simulation.drain();
    assert!(simulation.tree.runs_over_max() <= 2 * 5 + 1, "{}", simulation.report("slow"));
}

#[test]
fn a_table_full_of_tombstones_goes_down_at_once_and_only_once() {
    let mut simulation = Simulation::new(Policy::default(), 4.0);
    simulation.flush(everywhere(64), false);
    simulation.drain();
    assert_eq!(simulation.merged, 0.0, "one table is at rest");
    simulation.flush(vec![Stretch { low: 0, high: KEYS / 2, bytes: (16 * MIB) as f64 }], true);
    let stats =
        TreeStats { tree: &simulation.tree, tables: &simulation.records, running: &[], floor: Version(1) };
    let task = pick(&stats, &simulation.policy).unwrap();
    assert!(task.why == Why::Tombstones && task.bottom && task.lane == Lane::Deep, "{task:?}");
    assert_eq!(
        pick(&TreeStats { floor: Version(0), ..stats }, &simulation.policy),
        None,
        "a reader may need them"
    );
    simulation.drain();
    assert_eq!(simulation.commits.values().sum::<usize>(), 1, "{}", simulation.report("tombstones"));
}

#[test]
fn what_expired_long_ago_is_rewritten() {
    let mut simulation = Simulation::new(Policy::default(), 4.0);
    simulation.flush(everywhere(64), false);
    let (table, record) = simulation.records.pop_first().unwrap();
    let record = TableRecord { oldest_expiry_ms: Some(1000), ..TableRecord::clone(&record) };
    simulation.records.insert(table, Arc::new(record));
    let at = |ms| {
        let floor = Version::from_ms(ms);
        let stats = TreeStats { tree: &simulation.tree, tables: &simulation.records, running: &[], floor };
        pick(&stats, &simulation.policy).map(|task| (task.why, task.bottom))
    };
    assert_eq!(at(1000 + 3_599_999), None);
    assert_eq!(at(1000 + 3_600_000), Some((Why::Expired, true)));
}

#[test]
fn a_running_job_keeps_its_place_and_its_slot() {
    let mut simulation = Simulation::new(Policy::default(), 4.0);
    for _ in 0..7 {
        simulation.flush(everywhere(64), false);
    }
    let stats = |running| TreeStats {
        tree: &simulation.tree,
        tables: &simulation.records,
        running,
        floor: Version(1),
    };
    let first = pick(&stats(&[]), &simulation.policy).unwrap();
    assert!(first.bottom && first.runs.len() == 7 && first.lane == Lane::Flushed);
    let running = [first.clone()];
    assert_eq!(pick(&stats(&running), &simulation.policy), None, "the slot is taken");
    let wide = Policy { flush_slots: 9, deep_slots: 9, ..Policy::default() };
    assert_eq!(pick(&stats(&running), &wide), None, "the tables are taken");
    // New flushes on top may be merged beside it, but not with the bottom under the running job.
    let mut tree = simulation.tree.clone();
    let mut records = simulation.records.clone();
    for _ in 0..6 {
        let view = simulation.table(everywhere(64), 0, false);
        records.insert(view.table, Arc::clone(&simulation.records[&view.table]));
        tree.push_flush(vec![view]).unwrap();
    }
    let stats = TreeStats { tree: &tree, tables: &records, running: &running, floor: Version(1) };
    assert_eq!(pick(&stats, &wide), None, "the stack over the running job includes its inputs");
}

#[test]
fn pressure_is_the_highest_stack() {
    let mut simulation = Simulation::new(Policy::default(), 4.0);
    for n in 0..10 {
        let high = KEYS / (n + 1);
        simulation.flush(vec![Stretch { low: 0, high, bytes: MIB as f64 }], false);
    }
    let pressure = Pressure::of(&simulation.tree, &simulation.policy);
    assert_eq!((pressure.runs, pressure.runs_max), (10, 20));
    assert!((pressure.share() - 0.5).abs() < 1e-9 && !pressure.is_full());
}

#[test]
fn everything_is_merged_in_jobs_that_are_all_bounded() {
    let policy = Policy { job_bytes_max: 300 * MIB, ..Policy::default() };
    for flushes in [1, 2, 9, 20] {
        let mut simulation = Simulation::new(policy.clone(), 1.0);
        for nth in 0..flushes {
            // Ranges that overlap in part, so that no border of one run is one of another.
            let low = KEYS / 40 * nth;
            let stretch = |part: u64| {
                let width = KEYS / 16;
                Stretch { low: low + part * width, high: low + (part + 1) * width, bytes: (64 * MIB) as f64 }
            };
            let views = (0..8).map(|part| simulation.table(vec![stretch(part)], 0, false)).collect();
            simulation.tree.push_flush(views).unwrap();
        }
        let (mut jobs, mut from) = (0, Bytes::new());
        loop {
            let (tree, tables) = (&simulation.tree, &simulation.records);
            let stats = TreeStats { tree, tables, running: &[], floor: Version(1) };
            let Some(task) = super::merge_whole(&stats, &from, policy.job_bytes_max) else { break };
            simulation.tree.check_compaction(&task.inputs(), &[], task.bottom).unwrap();
            let narrowest = task.runs.iter().all(|views| views.len() == 1);
            assert!(task.input_bytes <= policy.job_bytes_max || narrowest, "{task:?}");
            assert!(task.span.start >= from, "it goes on where it was");
            from = task.span.end.clone().unwrap();
            simulation.commit(&task);
            jobs += 1;
        }
        assert_eq!(simulation.tree.runs_over_max(), 1, "{flushes} flushes");
        assert!(flushes != 20 || jobs > 5, "{jobs} jobs");
    }
}
