//! The figures of a frontend.

use std::sync::atomic::{AtomicU64, Ordering};

use lamina_env::time::{self, Duration, Instant};
use lamina_telemetry::Durations;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The figures of one group on this frontend.
pub struct GroupMetrics {
    /// Writes that were applied.
    pub writes: Counter,
    /// Keys that were read.
    pub reads: Counter,
    /// From the hand-in of a batch to its result, in seconds.
    pub write_seconds: Durations,
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
            write_seconds: Durations::default(),
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
        self.write_seconds.observe(took);
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
    /// Flushes that failed; each is tried again.
    pub flushes_failed: Counter,
    /// Flushes under way.
    pub flushes_running: Gauge,
    /// Bytes of tables that flushes wrote, once each.
    pub flushed_bytes: Counter,
    /// Compactions that were committed.
    pub compactions: Counter,
    /// Compactions that failed; what they would have merged is picked again.
    pub compactions_failed: Counter,
    /// Compactions under way.
    pub compactions_running: Gauge,
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
        let counters = [
            ("flushes", "Memtables that became tables", &self.flushes),
            ("flushes_failed", "Flushes that failed and are tried again", &self.flushes_failed),
            ("flushed_bytes", "Bytes of tables that flushes wrote, counted once", &self.flushed_bytes),
            ("compactions", "Compactions that were committed", &self.compactions),
            ("compactions_failed", "Compactions that failed", &self.compactions_failed),
            ("compacted_bytes", "Bytes of tables that compactions read", &self.compacted_bytes),
            ("repairs", "Copies of tables that were made anew", &self.repairs),
            ("collected", "Tables that were deleted", &self.collected),
        ];
        let gauges = [
            ("flushes_running", "Flushes under way", &self.flushes_running),
            ("compactions_running", "Compactions under way", &self.compactions_running),
            ("leads", "Groups that this frontend leads", &self.leads),
        ];
        let registry = registry.sub_registry_with_prefix("lamina_frontend");
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
    }
}

/// Counts itself in a gauge, as long as it lives: however the work ends that it stands for.
pub struct Running(Gauge);

impl Running {
    /// One more.
    pub fn begin(gauge: &Gauge) -> Running {
        gauge.inc();
        Running(gauge.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}
