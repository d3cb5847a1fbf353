//! What a frontend shows of itself, read whenever somebody asks.

use std::fmt;
use std::sync::Arc;

use lamina_consensus::LogStore;
use lamina_peers::admin::FrontendStats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::flow::route::Router;
use crate::hand::blocks::Blocks;
use crate::host::DataHost;

/// The figures of the groups, the cache and the log of one frontend. Cheap to clone.
#[derive(Clone)]
pub struct Figures {
    /// The groups.
    pub router: Router,
    /// The block cache.
    pub blocks: Arc<Blocks>,
    /// The log.
    pub log: LogStore,
}

impl Figures {
    /// As a status tells them; the room on the volume is asked of the disk.
    pub fn stats(&self, free_bytes: u64) -> FrontendStats {
        let hosts = self.router.hosts();
        FrontendStats {
            leads: hosts.iter().filter(|host| host.leads()).count() as u64,
            replicas: hosts.len() as u64,
            reads: hosts.iter().map(|host| host.metrics.reads.get()).sum(),
            writes: hosts.iter().map(|host| host.metrics.writes.get()).sum(),
            cache_bytes: self.blocks.cache_bytes(),
            log_bytes: self.log.stats().log_bytes,
            free_bytes,
        }
    }

    fn encode_groups(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Value = fn(&DataHost) -> u64;
        let hosts = self.router.hosts();
        let label = |host: &DataHost| [("group", host.group.0.to_string())];
        let counters: [(&str, &str, Value); 2] = [
            ("lamina_frontend_writes", "Writes that were applied", |host| host.metrics.writes.get()),
            ("lamina_frontend_reads", "Keys and rows that were read", |host| host.metrics.reads.get()),
        ];
        for (name, help, value) in counters {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for host in &hosts {
                ConstCounter::new(value(host)).encode(family.encode_family(&label(host))?)?;
            }
        }
        let gauges: [(&str, &str, Value); 3] = [
            ("lamina_frontend_memtable_bytes", "Bytes of memtables", |host| {
                host.published.view().memtable_bytes()
            }),
            ("lamina_frontend_memtable_limit_bytes", "Bytes of memtables at which writes wait", |host| {
                host.published.view().config.memtable_bytes
            }),
            ("lamina_frontend_leading", "1 where this frontend leads the group", |host| {
                u64::from(host.leads())
            }),
        ];
        for (name, help, value) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for host in &hosts {
                ConstGauge::new(signed(value(host))).encode(family.encode_family(&label(host))?)?;
            }
        }
        let help = "From the hand-in of a batch of writes to its result";
        let mut family =
            encoder.encode_descriptor("lamina_frontend_write_seconds", help, None, MetricType::Histogram)?;
        for host in &hosts {
            host.metrics.write_seconds.encode(family.encode_family(&label(host))?)?;
        }
        Ok(())
    }

    fn encode_node(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let log = self.log.stats();
        let gauges = [
            ("lamina_frontend_cache_bytes", "Bytes of data blocks in the cache", self.blocks.cache_bytes()),
            ("lamina_frontend_log_bytes", "Bytes of the segments of the log", log.log_bytes),
            ("lamina_frontend_log_segments", "Segments of the log", log.segments),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(signed(value));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let counters = [
            ("lamina_frontend_log_syncs", "Batches that the log has written and synced", log.syncs),
            ("lamina_frontend_log_records", "Records in these batches", log.records),
            ("lamina_frontend_log_entry_bytes", "Bytes of the entries in them", log.entry_bytes),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_groups(&mut encoder)?;
        self.encode_node(&mut encoder)
    }
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stats(0).fmt(f)
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
