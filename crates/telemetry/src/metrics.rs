//! The registry of a process's metrics, and the rule of their names: `lamina_<service>_<what>_<unit>`.
//!
//! The rule is docs/metrics.md. A name that breaks it cannot be registered here; of what a service registers by itself
//! ([`Metrics::with_registry`]) [`Metrics::check`] tells, in the service's tests.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use crate::durations::Durations;
use crate::memory::MemoryCollector;

/// What a metric's name may start with, after `lamina_`.
pub const SERVICES: [&str; 6] = ["frontend", "index", "data", "rpc", "process", "client"];

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

/// The last line of the format.
const END: &str = "# EOF";

/// A name that breaks the rule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// Not `lamina_`, or not lower-case words with single underscores between them.
    #[error("{0:?} is not lamina_ and lower-case words with an underscore between them")]
    Form(String),
    /// The second word is no service.
    #[error("the second word of {0:?} is none of frontend, index, data, rpc, process, client")]
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
    /// Of nodes in this process, by their names.
    nodes: BTreeMap<String, Metrics>,
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// The empty registry of one node: all that it shows has the label `node`.
    pub fn of_node(node: &str) -> Metrics {
        let label = (Cow::Borrowed("node"), Cow::Owned(node.to_owned()));
        let inner = Inner { registry: Registry::with_labels([label].into_iter()), ..Inner::default() };
        Metrics { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Shows the metrics of a node of this process too, in place of those of an earlier node of this name.
    pub fn show_node(&self, node: &str, metrics: Metrics) {
        self.inner.lock().nodes.insert(node.to_owned(), metrics);
    }

    /// Does not show a node any more.
    pub fn hide_node(&self, node: &str) {
        self.inner.lock().nodes.remove(node);
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
        // The library puts `_total` behind the name of a counter by itself, and `_info` behind that of an info.
        let bare = name.strip_suffix("_total").or_else(|| name.strip_suffix("_info"));
        inner.registry.register(bare.unwrap_or(name), help, metric);
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
    pub fn seconds(&self, name: &str, help: &str) -> Result<Durations, NameError> {
        if !name.ends_with("_seconds") {
            return Err(NameError::Ending(name.to_owned()));
        }
        let histogram = Durations::default();
        self.register(name, help, histogram.clone())?;
        Ok(histogram)
    }

    /// Shows what runs here and since when: `lamina_process_build_info` with the version as a label, and
    /// `lamina_process_start_time_seconds`, a time of day in seconds since 1970.
    ///
    /// # Errors
    /// They are shown already.
    pub fn show_build(&self, version: &str, start_ms: u64) -> Result<(), NameError> {
        let start: Gauge<f64, AtomicU64> = Gauge::default();
        start.set(start_ms as f64 / 1_000.0);
        self.register("lamina_process_start_time_seconds", "When the process began", start)?;
        let info = Info::new([("version", version.to_owned())]);
        self.register("lamina_process_build_info", "What runs here", info)
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
        let mut texts = vec![self.encode_own()];
        let nodes: Vec<Metrics> = self.inner.lock().nodes.values().cloned().collect();
        texts.extend(nodes.iter().map(Metrics::encode_own));
        merge(&texts)
    }

    fn encode_own(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &self.inner.lock().registry);
        out
    }
}

/// Texts of several registries as one: OpenMetrics wants each family once, with all of its samples behind it.
fn merge(texts: &[String]) -> String {
    let mut families: BTreeMap<&str, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    for text in texts {
        let mut family = "";
        for line in text.lines().filter(|line| *line != END) {
            let Some(described) = line.strip_prefix("# ") else {
                families.entry(family).or_default().1.push(line);
                continue;
            };
            family = described.split(' ').nth(1).unwrap_or_default();
            let head = &mut families.entry(family).or_default().0;
            if !head.contains(&line) {
                head.push(line);
            }
        }
    }
    let lines = families.into_values().flat_map(|(head, samples)| head.into_iter().chain(samples));
    let mut out = String::new();
    for line in lines.chain([END]) {
        out.push_str(line);
        out.push('\n');
    }
    out
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

    #[test]
    fn nodes_of_one_process_share_their_families_and_have_a_label_each() {
        let process = Metrics::new();
        process.gauge("lamina_process_open_files", "Files").unwrap().set(3);
        for (node, tables) in [("data-0", 5), ("data-1", 7), ("data-1", 8)] {
            let metrics = Metrics::of_node(node);
            metrics.gauge("lamina_data_tables", "Tables").unwrap().set(tables);
            metrics
                .seconds("lamina_data_read_seconds", "Reads")
                .unwrap()
                .observe(std::time::Duration::from_millis(100));
            process.show_node(node, metrics);
        }
        let text = process.encode();
        assert_eq!(process.check(), Ok(()), "each family is described once: {text}");
        let of = |line: &str| text.lines().position(|there| there == line);
        let first = of("lamina_data_tables{node=\"data-0\"} 5").unwrap();
        assert_eq!(of("lamina_data_tables{node=\"data-1\"} 8"), Some(first + 1), "{text}");
        assert_eq!(of("# TYPE lamina_data_tables gauge"), Some(first - 1), "{text}");
        assert!(text.contains("lamina_process_open_files 3") && text.ends_with("\n# EOF\n"), "{text}");
        process.hide_node("data-0");
        assert!(!process.encode().contains("data-0"));
    }
}
