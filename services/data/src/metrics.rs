//! Figures of a data node. Registered under `lamina_data_`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $field:ident: $kind:ident = $name:literal,)*) => {
        /// Counters and gauges; clones share their values.
        #[derive(Clone, Debug, Default)]
        pub struct DataMetrics { $($(#[doc = $doc])+ pub $field: $kind,)* }

        impl DataMetrics {
            /// Makes all of them visible, as `lamina_data_<what>_<unit>`.
            pub fn register(&self, registry: &mut Registry) {
                let registry = registry.sub_registry_with_prefix("lamina_data");
                $(registry.register($name, concat!($($doc),+).trim_ascii(), self.$field.clone());)*
            }
        }
    };
}

metrics! {
    /// Sealed tables on this node.
    tables: Gauge = "sealed_tables",
    /// Bytes of sealed tables on this node.
    table_bytes: Gauge = "sealed_bytes",
    /// Copies on this node that are known to be damaged.
    damaged_tables: Gauge = "damaged_tables",
    /// Tables that are being received.
    writes_open: Gauge = "writes_open",
    /// Bytes free on the volume, as of some seconds ago.
    free_bytes: Gauge = "volume_free_bytes",
    /// Bytes of the volume.
    volume_bytes: Gauge = "volume_bytes",
    /// Tables that were sealed.
    sealed: Counter = "seals",
    /// Bytes of tables received, over the network and from jobs on this node.
    written_bytes: Counter = "written_bytes",
    /// Blocks read for others.
    blocks_read: Counter = "blocks_read",
    /// Bytes of blocks read for others.
    blocks_read_bytes: Counter = "blocks_read_bytes",
    /// Reads that the disk failed.
    read_errors: Counter = "read_errors",
    /// Blocks whose checksum did not hold.
    blocks_damaged: Counter = "blocks_damaged",
    /// Keys looked up from the tails of files.
    tail_lookups: Counter = "tail_lookups",
    /// Index parts read from the tails of files.
    tail_loads: Counter = "tail_loads",
    /// Copies fetched from other nodes.
    copies: Counter = "copies",
    /// Damaged copies that were replaced by intact ones.
    repairs: Counter = "repairs",
    /// Jobs that wait or merge.
    jobs: Gauge = "compaction_jobs",
    /// Jobs that came to their end.
    jobs_done: Counter = "compaction_jobs_done",
    /// Jobs that failed.
    jobs_failed: Counter = "compaction_jobs_failed",
    /// Jobs that were stopped: cancelled, forgotten by their leader, or of a former reign.
    jobs_stopped: Counter = "compaction_jobs_stopped",
    /// Bytes of inputs that jobs have read.
    compacted_bytes: Counter = "compaction_read_bytes",
    /// Bytes of outputs that jobs have written, counted once for all copies.
    compaction_output_bytes: Counter = "compaction_output_bytes",
    /// Blocks that the scrubber has read and verified.
    scrubbed_blocks: Counter = "scrubbed_blocks",
    /// Blocks of which the scrubber found that their checksum did not hold.
    scrub_damaged: Counter = "scrub_damaged_blocks",
    /// Rounds of the scrubber over all tables.
    scrub_rounds: Counter = "scrub_rounds",
}
