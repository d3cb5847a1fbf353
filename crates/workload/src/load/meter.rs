//! Histograms of latency: callers write into the present interval, once a second it is taken.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use lamina_env::time::Duration;
use parking_lot::Mutex;

use super::mix::Class;

/// Callers are spread over so many histograms, so that they seldom wait for each other.
const SHARDS: usize = 4;
/// The finest and the coarsest latency that is told apart, in nanoseconds: beyond the second all count as it.
const LOW_NS: u64 = 128;
const HIGH_NS: u64 = 120_000_000_000;

/// What happened in one stretch of time.
pub(crate) struct Interval {
    pub latency: BTreeMap<Class, Histogram<u64>>,
    pub errors: BTreeMap<String, u64>,
    pub first_error: Option<String>,
    /// Reads that found something, and rows of scans.
    pub found: u64,
    /// Reads that found nothing.
    pub missed: u64,
    /// Bytes of keys and values, both ways.
    pub bytes: u64,
}

/// Where callers note down what happened.
pub(crate) struct Meter {
    shards: Vec<Mutex<Interval>>,
}

impl Interval {
    pub fn empty() -> Interval {
        Interval {
            latency: BTreeMap::new(),
            errors: BTreeMap::new(),
            first_error: None,
            found: 0,
            missed: 0,
            bytes: 0,
        }
    }

    /// Adds what happened in another stretch.
    pub fn add(&mut self, other: &Interval) {
        for (class, histogram) in &other.latency {
            if let Some(own) = self.histogram(*class) {
                // Both have the same bounds, so everything fits.
                own.add(histogram).ok();
            }
        }
        for (word, count) in &other.errors {
            *self.errors.entry(word.clone()).or_default() += count;
        }
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
        self.found += other.found;
        self.missed += other.missed;
        self.bytes += other.bytes;
    }

    /// Operations that succeeded.
    pub fn operations(&self) -> u64 {
        self.latency.values().map(Histogram::len).sum()
    }

    /// Operations that failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// All classes in one.
    pub fn joined(&self) -> Option<Histogram<u64>> {
        let mut joined = new_histogram()?;
        for histogram in self.latency.values() {
            joined.add(histogram).ok();
        }
        Some(joined)
    }

    fn histogram(&mut self, class: Class) -> Option<&mut Histogram<u64>> {
        match self.latency.entry(class) {
            std::collections::btree_map::Entry::Occupied(there) => Some(there.into_mut()),
            std::collections::btree_map::Entry::Vacant(free) => Some(free.insert(new_histogram()?)),
        }
    }

    pub fn succeed(&mut self, class: Class, latency: Duration, found: u64, missed: u64, bytes: u64) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).clamp(1, HIGH_NS);
        if let Some(histogram) = self.histogram(class) {
            histogram.saturating_record(ns);
        }
        self.found += found;
        self.missed += missed;
        self.bytes += bytes;
    }

    pub fn fail(&mut self, word: &str, message: &str) {
        *self.errors.entry(word.to_owned()).or_default() += 1;
        self.first_error.get_or_insert_with(|| message.to_owned());
    }

    fn clear(&mut self) {
        self.latency.values_mut().for_each(Histogram::reset);
        self.errors.clear();
        self.first_error = None;
        (self.found, self.missed, self.bytes) = (0, 0, 0);
    }
}

/// `None` cannot happen: the bounds are valid.
fn new_histogram() -> Option<Histogram<u64>> {
    Histogram::new_with_bounds(LOW_NS, HIGH_NS, 3).ok()
}

impl Meter {
    pub fn new() -> Meter {
        Meter { shards: (0..SHARDS).map(|_| Mutex::new(Interval::empty())).collect() }
    }

    /// Notes something down for the present interval.
    pub fn note(&self, caller: usize, note: impl FnOnce(&mut Interval)) {
        if let Some(shard) = self.shards.get(caller % SHARDS) {
            note(&mut shard.lock());
        }
    }

    /// Ends the present interval.
    pub fn take(&self) -> Interval {
        let mut taken = Interval::empty();
        for shard in &self.shards {
            let mut shard = shard.lock();
            taken.add(&shard);
            shard.clear();
        }
        taken
    }
}
