//! The registry of a process's metrics, and the rule of their names: `lamina_<service>_<what>_<unit>`.
//!
//! The rule is docs/metrics.md. A name that breaks it cannot be registered here; of what a service registers by itself
//! ([`Metrics::with_registry`]) [`Metrics::check`] tells, in the service's tests.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

use crate::memory::MemoryCollector;

/// What a metric's name may start with, after `lamina_`.
pub const SERVICES: [&str; 7] = ["frontend", "index", "data", "rpc", "process", "client", "operator"];

/// What a metric's name may not end with: other units than the base units seconds, bytes and ratio, with which a
/// dashboard would have to multiply. A name without a unit counts things.
pub const OTHER_UNITS: [&str; 16] = [
    "ms",
    "us",
    "ns",
    "millis",
    "micros",
    "nanos",
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "minutes",
    "hours",
    "kb",
    "mb",
    "gb",
    "mib",
    "percent",
];

/// A name that breaks the rule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// Not `lamina_`, or not lower-case words with single underscores between them.
    #[error("{0:?} is not lamina_ and lower-case words with an underscore between them")]
    Form(String),
    /// The second word is no service.
    #[error("the second word of {0:?} is none of frontend, index, data, rpc, process, client, operator")]
    Service(String),
    /// The last word is a unit, but no base unit.
    #[error("the last word of {0:?} is no base unit: seconds, bytes, ratio")]
    Unit(String),
    /// The last word does not fit the metric's type.
    #[error("{0:?} does not end as a metric of its type: _total for counters, _seconds for times")]
    Ending(String),
    /// There is no word behind the service, except a unit.
    #[error("{0:?} does not say what it measures")]
    What(String),
    /// Registered already.
    #[error("{0:?} is registered already")]
    Twice(String),
}

/// Whether `name` follows the rule.
///
/// # Errors
/// The first part of the rule that it breaks.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let words: Vec<&str> = name.split('_').collect();
    let is_word = |word: &&str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if words.first() != Some(&"lamina") || !words.iter().all(is_word) {
        return Err(NameError::Form(name.to_owned()));
    }
    if !words.get(1).is_some_and(|service| SERVICES.contains(service)) {
        return Err(NameError::Service(name.to_owned()));
    }
    let last = words.last().copied().unwrap_or_default();
    if OTHER_UNITS.contains(&last) {
        return Err(NameError::Unit(name.to_owned()));
    }
    let about = words.len() - usize::from(["seconds", "bytes", "ratio", "total"].contains(&last));
    if about < 3 {
        return Err(NameError::What(name.to_owned()));
    }
    Ok(())
}

/// A process's metrics. Cheap to clone; clones are the same registry.
#[derive(Clone, Default, Debug)]
pub struct Metrics {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default, Debug)]
struct Inner {
    registry: Registry,
    names: Vec<String>,
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// Registers a metric of any type, for instance a family with labels. `help` is one sentence without its full stop.
    /// A counter's name ends with `_total`, as it is shown.
    ///
    /// # Errors
    /// The name breaks the rule, or is registered already.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) -> Result<(), NameError> {
        check_name(name)?;
        let mut inner = self.inner.lock();
        if inner.names.iter().any(|there| there == name) {
            return Err(NameError::Twice(name.to_owned()));
        }
        inner.names.push(name.to_owned());
        // The library puts `_total` behind the name of a counter by itself.
        inner.registry.register(name.strip_suffix("_total").unwrap_or(name), help, metric);
        Ok(())
    }

    /// Registers a counter; its name ends with `_total`.
    ///
    /// # Errors
    /// As [`Metrics::register`].
    pub fn counter(&self, name: &str, help: &str) -> Result<Counter, NameError> {
        if !name.ends_with("_total") {
            return Err(NameError::Ending(name.to_owned()));
        }
        let counter = Counter::default();
        self.register(name, help, counter.clone())?;
        Ok(counter)
    }

    /// Registers a gauge of whole numbers.
    ///
    /// # Errors
    /// As [`Metrics::register`].
    pub fn gauge(&self, name: &str, help: &str) -> Result<Gauge, NameError> {
        let gauge = Gauge::default();
        self.register(name, help, gauge.clone())?;
        Ok(gauge)
    }

    /// Registers a histogram of seconds, from 50 µs to 26 s.
    ///
    /// # Errors
    /// As [`Metrics::register`].
    pub fn seconds(&self, name: &str, help: &str) -> Result<Histogram, NameError> {
        if !name.ends_with("_seconds") {
            return Err(NameError::Ending(name.to_owned()));
        }
        let histogram = seconds_histogram();
        self.register(name, help, histogram.clone())?;
        Ok(histogram)
    }

    /// Shows what the allocator holds, if it is jemalloc: `lamina_process_allocated_bytes` and
    /// `lamina_process_resident_bytes`.
    pub fn show_memory(&self) {
        self.inner.lock().registry.register_collector(Box::new(MemoryCollector));
    }

    /// Lets a service register its metrics in its own way.
    pub fn with_registry<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.inner.lock().registry)
    }

    /// Whether everything that is shown follows the rule, whoever registered it. For tests.
    ///
    /// # Errors
    /// The first name that breaks it.
    pub fn check(&self) -> Result<(), NameError> {
        let text = self.encode();
        let mut names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split(' ').next())
            .collect();
        names.iter().try_for_each(|name| check_name(name))?;
        names.sort_unstable();
        match names.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(twice) => Err(NameError::Twice(twice.concat())),
            None => Ok(()),
        }
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &self.inner.lock().registry);
        out
    }
}

/// A histogram of seconds, from 50 µs to 26 s, each bucket twice the one before.
pub fn seconds_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 2.0, 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_service_what_it_measures_and_its_unit() {
        for good in ["lamina_data_blocks_read_total", "lamina_index_tables", "lamina_rpc_call_seconds"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let refused = |name: &str| check_name(name).unwrap_err();
        assert!(matches!(refused("lamina_data_Blocks_total"), NameError::Form(_)));
        assert!(matches!(refused("lamina_data__blocks_total"), NameError::Form(_)));
        assert!(matches!(refused("store_data_blocks_total"), NameError::Form(_)));
        assert!(matches!(refused("lamina_disk_blocks_total"), NameError::Service(_)));
        assert!(matches!(refused("lamina_data_latency_ms"), NameError::Unit(_)));
        assert!(matches!(refused("lamina_data_seconds"), NameError::What(_)));
        assert!(matches!(refused("lamina_data"), NameError::What(_)));
    }

    #[test]
    fn what_is_registered_is_shown_under_its_whole_name_once() {
        let metrics = Metrics::new();
        metrics.counter("lamina_data_blocks_read_total", "Blocks read").unwrap().inc_by(3);
        metrics.gauge("lamina_index_memory_bytes", "Bytes of parts").unwrap().set(7);
        let twice = metrics.counter("lamina_data_blocks_read_total", "Blocks read");
        assert!(matches!(twice, Err(NameError::Twice(_))));
        assert!(metrics.counter("lamina_data_blocks_bytes", "no counter").is_err());
        let text = metrics.encode();
        assert!(text.contains("lamina_data_blocks_read_total 3"), "{text}");
        assert!(text.contains("lamina_index_memory_bytes 7"), "{text}");
        assert_eq!(metrics.check(), Ok(()));
        metrics.with_registry(|registry| {
            registry.register("lamina_data_pause_ms", "No", Counter::<u64>::default())
        });
        assert!(matches!(metrics.check(), Err(NameError::Unit(_))));
    }
}
