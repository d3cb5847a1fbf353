//! What the allocator holds: jemalloc's own figures, read when they are shown.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use tikv_jemalloc_ctl::{epoch, stats};

/// Figures of the allocator, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// What the program has asked for and not given back.
    pub allocated: u64,
    /// What the operating system has given to the allocator and holds in memory.
    pub resident: u64,
}

/// The present figures; `None` if the program does not run on jemalloc.
pub fn read() -> Option<Memory> {
    epoch::advance().ok()?;
    let allocated = u64::try_from(stats::allocated::read().ok()?).ok()?;
    let resident = u64::try_from(stats::resident::read().ok()?).ok()?;
    // Linked, but not the allocator of this program: then it holds nothing.
    (allocated > 0).then_some(Memory { allocated, resident })
}

/// Shows [`read`] as `lamina_process_allocated_bytes` and `lamina_process_resident_bytes`.
#[derive(Debug)]
pub(crate) struct MemoryCollector;

impl Collector for MemoryCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(memory) = read() else {
            return Ok(());
        };
        let figures = [
            ("lamina_process_allocated_bytes", "Bytes that the program has asked for", memory.allocated),
            ("lamina_process_resident_bytes", "Bytes that the allocator holds in memory", memory.resident),
        ];
        for (name, help, value) in figures {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
