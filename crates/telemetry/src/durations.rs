//! A histogram of times that is counted with atomics alone: no lock, so that threads do not wait for one another.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// The bound of the first bucket; each further one is twice the one before.
const FIRST_NS: u64 = 50_000;
/// Buckets with a bound: from 50 µs to 26 s.
const BOUNDS: usize = 20;

/// A histogram of seconds, from 50 µs to 26 s, each bucket twice the one before. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub struct Durations(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Times in each bucket; the last one has no bound.
    buckets: [AtomicU64; BOUNDS + 1],
    sum_ns: AtomicU64,
}

impl Durations {
    /// Counts one.
    pub fn observe(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.0.buckets.get(bucket_of(ns)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }
}

/// The first bucket whose bound is not below.
fn bucket_of(ns: u64) -> usize {
    let above = ns.saturating_sub(1) / FIRST_NS;
    ((u64::BITS - above.leading_zeros()) as usize).min(BOUNDS)
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bound = |at: usize| if at < BOUNDS { (FIRST_NS << at) as f64 / 1e9 } else { f64::INFINITY };
        let read = |(at, bucket): (usize, &AtomicU64)| (bound(at), bucket.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = self.0.buckets.iter().enumerate().map(read).collect();
        // Of what was read, so that the count is that of the buckets while others go on counting.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum_ns.load(Ordering::Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl fmt::Debug for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Durations({})", self.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_time_is_in_the_first_bucket_whose_bound_it_does_not_pass() {
        let of = |ns: u64| bucket_of(ns);
        assert_eq!([of(0), of(1), of(50_000), of(50_001), of(100_000), of(100_001)], [0, 0, 0, 1, 1, 2]);
        assert_eq!([of(200_000), of(200_001), of(FIRST_NS << 19), of((FIRST_NS << 19) + 1)], [2, 3, 19, 20]);
        assert_eq!(of(u64::MAX), 20);
    }

    #[test]
    fn buckets_are_shown_one_upon_the_other_with_their_sum() {
        let (metrics, times) = (Metrics::new(), Durations::default());
        metrics.register("lamina_data_read_seconds", "Reads", times.clone()).unwrap();
        for us in [40, 90, 150, 60_000_000] {
            times.observe(Duration::from_micros(us));
        }
        let text = metrics.encode();
        for line in [
            r#"lamina_data_read_seconds_bucket{le="0.00005"} 1"#,
            r#"lamina_data_read_seconds_bucket{le="0.0001"} 2"#,
            r#"lamina_data_read_seconds_bucket{le="0.0002"} 3"#,
            r#"lamina_data_read_seconds_bucket{le="26.2144"} 3"#,
            r#"lamina_data_read_seconds_bucket{le="+Inf"} 4"#,
            "lamina_data_read_seconds_count 4",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}: {text}");
        }
        assert!(text.contains("lamina_data_read_seconds_sum 60.00028"), "{text}");
    }
}
