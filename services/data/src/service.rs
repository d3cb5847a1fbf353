//! The start of a data node, and what stands for it in its process.

use std::io;
use std::sync::{Arc, Weak};

use lamina_env::time::{self, Duration};
use lamina_env::{Env, task};
use lamina_peers::data::DataStats;
use lamina_peers::{DataPeer, Network};
use lamina_types::{NodeId, Sender};

use crate::flows;
use crate::metrics::DataMetrics;
use crate::node::Node;
use crate::options::DataOptions;

/// How often idle writes and jobs that nobody asks for are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// The room on the volume is looked at with each so manieth sweep.
const LOOK_AT_ROOM_EVERY: u32 = 10;

/// A data node that runs. Its port is `impl Port<DataRequest, DataAnswer>`; [`DataService::peer`] is a way to it
/// inside the process. Ends when it is dropped: sealed tables stay, everything else was only ever a try.
pub struct DataService {
    pub(crate) node: Arc<Node>,
}

/// Why a data node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory cannot be read or made.
    #[error("the directory {dir:?} of the data node cannot be opened: {source}")]
    Directory {
        /// The directory, relative to the volume.
        dir: String,
        /// What the operating system says.
        source: io::Error,
    },
}

impl DataService {
    /// Starts a node on `dir`, a directory of `env`'s volume (`""`: the volume itself), which nobody else uses: the
    /// caller holds the lock of the volume. Reaches other data nodes through `network`.
    ///
    /// Reads names only; footers and blocks are verified when they are used, and by the scrubber. What it starts
    /// belongs to the task group of the calling task.
    pub async fn start(
        env: Env,
        dir: &str,
        network: Arc<dyn Network>,
        options: DataOptions,
    ) -> Result<Arc<DataService>, StartError> {
        let tasks = task::current().unwrap_or_default();
        let node = Node::open(env.disk.clone(), dir, network, options, tasks).await;
        let node = node.map_err(|source| StartError::Directory { dir: dir.to_owned(), source })?;
        let totals = node.catalogue.totals();
        tracing::info!(node = %node.options.node, tables = totals.tables, bytes = totals.file_bytes, "data node started");
        node.show_room().await;
        let node = Arc::new(node);
        node.spawn(sweep(Arc::downgrade(&node)));
        if node.options.scrub_bytes_per_second > 0 {
            node.spawn(flows::scrub::run(Arc::downgrade(&node)));
        }
        Ok(Arc::new(DataService { node }))
    }

    /// A way to this node for others in its process.
    pub fn peer(self: &Arc<Self>) -> DataPeer {
        DataPeer::new(self.clone())
    }

    /// The node's name.
    pub fn id(&self) -> NodeId {
        self.node.options.node
    }

    /// Counters and gauges, to be registered once.
    pub fn metrics(&self) -> &DataMetrics {
        &self.node.metrics
    }

    /// Figures, as `DataStat` answers them.
    pub async fn stats(&self) -> DataStats {
        flows::list::stats(&self.node).await
    }

    /// What calls to other data nodes say of their sender (G5), from the node's registration on.
    pub fn set_sender(&self, sender: Sender) {
        self.node.peers.set_sender(sender);
    }

    /// Reads one round of all tables through now, at the scrubber's rate; answers how many are damaged. The
    /// scrubber does the same by itself from time to time.
    pub async fn scrub(&self) -> u64 {
        flows::scrub::round(&self.node).await;
        self.node.catalogue.totals().damaged
    }

    /// Stops jobs and background work. Calls are answered as long as somebody makes them.
    pub fn stop(&self) {
        self.node.stopping.send(true);
        self.node.jobs.stop_all();
    }
}

impl Drop for DataService {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Ends writes without pieces and jobs without questions.
async fn sweep(node: Weak<Node>) {
    for turn in 0u32.. {
        time::sleep(SWEEP_EVERY).await;
        let Some(node) = node.upgrade() else { return };
        if *node.stopping.borrow() {
            return;
        }
        let stopped = node.jobs.sweep(node.options.job_lease, time::now());
        node.metrics.jobs_stopped.inc_by(stopped);
        for write in node.writes.sweep(node.options.write_idle, time::now()) {
            flows::write_table::discard(&node, &write).await;
        }
        node.show_totals();
        if turn.is_multiple_of(LOOK_AT_ROOM_EVERY) {
            node.show_room().await;
        }
    }
}
