//! The figures of an index node.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::residents::Residents;

/// Reads the figures of the heart whenever they are asked for.
#[derive(Debug)]
pub struct IndexMetrics(Arc<Residents>);

impl IndexMetrics {
    /// The figures of these parts.
    pub fn new(residents: Arc<Residents>) -> IndexMetrics {
        IndexMetrics(residents)
    }
}

impl std::fmt::Debug for Residents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.counts().fmt(f)
    }
}

impl Collector for IndexMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.0.counts();
        let gauges = [
            ("lamina_index_tables", "Index parts in memory", counts.tables),
            ("lamina_index_memory_bytes", "Bytes of index parts in memory", counts.memory_bytes),
            ("lamina_index_memory_limit_bytes", "Bytes of index parts at most", self.0.memory_bytes_max()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let counters = [
            ("lamina_index_lookups", "Keys looked up", counts.lookups),
            ("lamina_index_filtered", "Candidate tables whose filter said no", counts.filtered),
            ("lamina_index_missing", "Candidate tables that were not resident", counts.missing),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }
}
