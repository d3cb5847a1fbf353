//! The figures of an index node.

use std::sync::Arc;

use lamina_node::Links;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::door::served_here;
use crate::residents::Residents;

/// Reads the figures of the heart whenever they are asked for.
pub struct IndexMetrics {
    residents: Arc<Residents>,
    links: Links,
}

impl IndexMetrics {
    /// The figures of these parts, on the node with these links.
    pub fn new(residents: Arc<Residents>, links: Links) -> IndexMetrics {
        IndexMetrics { residents, links }
    }
}

impl std::fmt::Debug for IndexMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.residents.fmt(f)
    }
}

impl std::fmt::Debug for Residents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.counts().fmt(f)
    }
}

impl Collector for IndexMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.residents.counts();
        let shards = served_here(&self.links);
        let complete = shards.iter().filter(|shard| self.residents.is_complete(**shard)).count();
        let limit = self.residents.memory_bytes_max();
        let gauges = [
            ("lamina_index_tables", "Index parts in memory", counts.tables),
            ("lamina_index_memory_bytes", "Bytes of index parts in memory", counts.memory_bytes),
            ("lamina_index_memory_limit_bytes", "Bytes of index parts at most", limit),
            ("lamina_index_shards", "Shards that are assigned to this node", shards.len() as u64),
            ("lamina_index_shards_complete", "Those of which every part is in memory", complete as u64),
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
