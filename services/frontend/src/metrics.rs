//! The figures of a frontend.

use std::sync::atomic::{AtomicU64, Ordering};

use lamina_env::time::{self, Duration, Instant};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The figures of one group on this frontend.
pub struct GroupMetrics {
    /// Writes that were applied.
    pub writes: Counter,
    /// Keys that were read.
    pub reads: Counter,
    /// From the hand-in of a batch to its result, in seconds.
    pub write_seconds: Histogram,
    recent: Mutex<Recent>,
    busy_us: AtomicU64,
}

/// The last second or so.
struct Recent {
    since: Instant,
    writes: u64,
    rate: f64,
    /// Microseconds of lately finished batches, as many as fit.
    samples: Vec<u64>,
    p99_us: u64,
}

impl Default for GroupMetrics {
    fn default() -> GroupMetrics {
        GroupMetrics {
            writes: Counter::default(),
            reads: Counter::default(),
            write_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 17)),
            recent: Mutex::new(Recent {
                since: time::now(),
                writes: 0,
                rate: 0.0,
                samples: Vec::new(),
                p99_us: 0,
            }),
            busy_us: AtomicU64::new(0),
        }
    }
}

impl GroupMetrics {
    /// A batch of writes was applied after this time.
    pub fn wrote(&self, writes: usize, took: Duration) {
        self.writes.inc_by(writes as u64);
        self.write_seconds.observe(took.as_secs_f64());
        let mut recent = self.recent.lock();
        recent.writes += writes as u64;
        if recent.samples.len() < 4096 {
            recent.samples.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
        recent.roll();
    }

    /// Keys were read.
    pub fn read(&self, keys: usize) {
        self.reads.inc_by(keys as u64);
    }

    /// Writes per second and their 99th percentile in microseconds, over the last second that had any.
    pub fn lately(&self) -> (f64, u64) {
        let mut recent = self.recent.lock();
        recent.roll();
        (recent.rate, recent.p99_us)
    }

    /// Time spent on this group, for the decision to split.
    pub fn busy(&self, took: Duration) {
        self.busy_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Recent {
    fn roll(&mut self) {
        let elapsed = self.since.elapsed();
        if elapsed < Duration::from_secs(1) {
            return;
        }
        self.rate = self.writes as f64 / elapsed.as_secs_f64();
        self.samples.sort_unstable();
        let at = self.samples.len().saturating_sub(1) * 99 / 100;
        self.p99_us = self.samples.get(at).copied().unwrap_or(0);
        self.samples.clear();
        self.writes = 0;
        self.since = time::now();
    }
}

/// The figures of the leader's background work, for all groups of a frontend.
#[derive(Clone, Default)]
pub struct WorkMetrics {
    /// Memtables that became tables.
    pub flushes: Counter,
    /// Bytes of tables that flushes wrote, once each.
    pub flushed_bytes: Counter,
    /// Compactions that were committed.
    pub compactions: Counter,
    /// Bytes of tables that compactions read.
    pub compacted_bytes: Counter,
    /// Copies that were made anew.
    pub repairs: Counter,
    /// Tables that were deleted.
    pub collected: Counter,
    /// Groups that this frontend leads.
    pub leads: Gauge,
}

impl WorkMetrics {
    /// Registers the figures.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("lamina_frontend_flushes", "Memtables that became tables", self.flushes.clone());
        registry.register(
            "lamina_frontend_flushed_bytes",
            "Bytes of tables that flushes wrote, counted once",
            self.flushed_bytes.clone(),
        );
        registry.register(
            "lamina_frontend_compactions",
            "Compactions that were committed",
            self.compactions.clone(),
        );
        registry.register(
            "lamina_frontend_compacted_bytes",
            "Bytes of tables that compactions read",
            self.compacted_bytes.clone(),
        );
        registry.register(
            "lamina_frontend_repairs",
            "Copies of tables that were made anew",
            self.repairs.clone(),
        );
        registry.register("lamina_frontend_collected", "Tables that were deleted", self.collected.clone());
        registry.register("lamina_frontend_leads", "Groups that this frontend leads", self.leads.clone());
    }
}
