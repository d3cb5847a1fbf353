//! What was measured. Field names are stable: scripts read them.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::Plan;
use super::meter::Interval;
use super::mix::Class;

/// What a run measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The store, as on the command line.
    pub target: String,
    /// The mix.
    pub mix: String,
    /// `closed` or `open`.
    pub shape: String,
    /// Operations per second that an open loop offered.
    pub rate: Option<f64>,
    /// Which keys were asked for.
    pub distribution: String,
    /// Keys that were there.
    pub keys: u64,
    /// Bytes of a key.
    pub key_bytes: u64,
    /// Bytes of a value.
    pub value_bytes: u64,
    /// Connections.
    pub connections: u32,
    /// Callers on each.
    pub in_flight: u32,
    /// Measured time, without the warm-up.
    pub seconds: f64,
    /// Operations that succeeded.
    pub operations: u64,
    /// Operations that succeeded, per second.
    pub throughput: f64,
    /// Bytes of keys and values per second, both ways.
    pub bytes_per_second: f64,
    /// Reads that found a value, and rows of scans.
    pub found: u64,
    /// Reads that found none.
    pub missed: u64,
    /// Failures by their reason.
    pub errors: BTreeMap<String, u64>,
    /// The first failure in words.
    pub first_error: Option<String>,
    /// Latency by class.
    pub latency: BTreeMap<Class, Latency>,
    /// The median second's throughput.
    pub median_second: f64,
    /// The worst whole second's throughput.
    pub worst_second: f64,
    /// Second by second.
    pub timeline: Vec<Second>,
}

/// A distribution of latencies, in microseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Operations.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// The smallest.
    pub min_us: f64,
    /// Half are below.
    pub p50_us: f64,
    /// 90 % are below.
    pub p90_us: f64,
    /// 99 % are below.
    pub p99_us: f64,
    /// 99.9 % are below.
    pub p999_us: f64,
    /// The largest.
    pub max_us: f64,
}

/// One second of a run.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Second {
    /// The end of the interval, from the begin of the run.
    pub at: f64,
    /// Operations that succeeded in it.
    pub operations: u64,
    /// Operations that failed in it.
    pub errors: u64,
    /// Its length; the last one may be shorter than a second.
    pub seconds: f64,
    /// The 50th percentile.
    pub p50_us: f64,
    /// The 99th percentile.
    pub p99_us: f64,
    /// The largest.
    pub max_us: f64,
}

impl Latency {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Latency {
        if histogram.is_empty() {
            return Latency::default();
        }
        let us = |ns: u64| ns as f64 / 1000.0;
        let at = |quantile: f64| us(histogram.value_at_quantile(quantile));
        Latency {
            count: histogram.len(),
            mean_us: histogram.mean() / 1000.0,
            min_us: us(histogram.min()),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: us(histogram.max()),
        }
    }
}

impl Outcome {
    pub(crate) fn new(
        target: String,
        plan: &Plan,
        seconds: f64,
        total: &Interval,
        timeline: Vec<Second>,
    ) -> Outcome {
        let operations = total.operations();
        let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        // A short piece at the end says nothing about a second.
        let mut rates: Vec<f64> = timeline
            .iter()
            .filter(|second| second.seconds > 0.5)
            .map(|second| second.operations as f64 / second.seconds)
            .collect();
        rates.sort_by(f64::total_cmp);
        Outcome {
            target,
            mix: plan.mix.to_string(),
            shape: if plan.rate.is_some() { "open" } else { "closed" }.to_owned(),
            rate: plan.rate,
            distribution: plan.distribution.to_string(),
            keys: plan.keys,
            key_bytes: plan.key_bytes as u64,
            value_bytes: plan.value_bytes as u64,
            connections: plan.connections,
            in_flight: plan.in_flight,
            seconds,
            operations,
            throughput: per_second(operations),
            bytes_per_second: per_second(total.bytes),
            found: total.found,
            missed: total.missed,
            errors: total.errors.clone(),
            first_error: total.first_error.clone(),
            latency: total
                .latency
                .iter()
                .map(|(class, histogram)| (*class, Latency::of(histogram)))
                .collect(),
            median_second: rates.get(rates.len() / 2).copied().unwrap_or_else(|| per_second(operations)),
            worst_second: rates.first().copied().unwrap_or_else(|| per_second(operations)),
            timeline,
        }
    }
}
