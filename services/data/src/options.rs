//! What a data node may be told.

use lamina_env::time::Duration;
use lamina_types::NodeId;

/// Bounds and rates of one data node. [`DataOptions::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct DataOptions {
    /// This node, as placements name it: a copy for it is written to its own volume.
    pub node: NodeId,
    /// Files that are kept open for reading.
    pub open_files_max: usize,
    /// Memory for parsed index parts, with which lookups are answered while the index service does not.
    pub tail_cache_bytes: u64,
    /// Tables that are being received at once.
    pub writes_max: usize,
    /// A table of which no piece came for so long is thrown away.
    pub write_idle: Duration,
    /// The largest table that is accepted.
    pub table_bytes_max: u64,
    /// Copies that are fetched at once.
    pub copies_max: usize,
    /// Jobs that merge at once; others wait.
    pub jobs_max: usize,
    /// Jobs that wait; further ones are refused.
    pub jobs_waiting_max: usize,
    /// A job that nobody asks for so long stops, and what it says is forgotten (protocols §7.3).
    pub job_lease: Duration,
    /// Inputs that jobs read in a second, all together; `None`: as fast as they can.
    pub compaction_bytes_per_second: Option<u64>,
    /// Bytes that the scrubber reads in a second; 0: it does not run.
    pub scrub_bytes_per_second: u64,
    /// From the end of one round of the scrubber to the next.
    pub scrub_pause: Duration,
}

impl DataOptions {
    /// The defaults for a node.
    pub fn new(node: NodeId) -> DataOptions {
        DataOptions {
            node,
            open_files_max: 256,
            tail_cache_bytes: 64 << 20,
            writes_max: 64,
            write_idle: Duration::from_secs(120),
            table_bytes_max: 4 << 30,
            copies_max: 2,
            jobs_max: 1,
            jobs_waiting_max: 16,
            job_lease: Duration::from_secs(30),
            compaction_bytes_per_second: None,
            scrub_bytes_per_second: 8 << 20,
            scrub_pause: Duration::from_secs(24 * 3600),
        }
    }
}
