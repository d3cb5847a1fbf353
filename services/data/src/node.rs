//! The rooms of one data node, as flows see them.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use lamina_engine::corruption::Corruption;
use lamina_env::disk::Disk;
use lamina_env::task::TaskGroup;
use lamina_env::watch;
use lamina_peers::Network;
use lamina_peers::data::Seal;
use lamina_types::{NodeId, Result, TableId};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::fault;
use crate::hands::files::{OpenError, OpenFiles, OpenTable};
use crate::hands::locks::TableLocks;
use crate::hands::pace::Pace;
use crate::hands::peers::Peers;
use crate::hands::store::{Found, Store};
use crate::hands::tail::{self, Tail, TailError, Tails};
use crate::hands::writes::Writes;
use crate::heart::catalogue::{Catalogue, Condition, Sealed};
use crate::heart::jobs::Jobs;
use crate::metrics::DataMetrics;
use crate::options::DataOptions;

/// Heart and hands of one node.
pub(crate) struct Node {
    pub options: DataOptions,
    pub metrics: DataMetrics,
    pub catalogue: Catalogue,
    pub jobs: Jobs,
    pub store: Store,
    pub files: OpenFiles,
    pub tails: Tails,
    pub writes: Writes,
    pub locks: TableLocks,
    pub peers: Peers,
    /// Copies of other nodes that sent damaged bytes and are being read through.
    pub doubted: Arc<Mutex<BTreeSet<(NodeId, TableId)>>>,
    /// One permit for each copy that is fetched.
    pub copying: Semaphore,
    /// One permit for each job that merges.
    pub merging: Semaphore,
    /// What all jobs together read.
    pub compaction_pace: Pace,
    /// What the scrubber reads.
    pub scrub_pace: Pace,
    /// The node goes down: loops end.
    pub stopping: watch::Sender<bool>,
    tasks: TaskGroup,
}

impl Node {
    /// A node over what [`Store::open`] found.
    pub fn new(
        disk_store: (Store, Vec<Found>),
        network: Arc<dyn Network>,
        options: DataOptions,
        tasks: TaskGroup,
    ) -> Node {
        let (store, found) = disk_store;
        let catalogue = Catalogue::default();
        for one in found {
            catalogue.found(one.table, one.stamp, one.file_bytes);
        }
        let node = Node {
            metrics: DataMetrics::default(),
            catalogue,
            jobs: Jobs::default(),
            store,
            files: OpenFiles::new(options.open_files_max.max(1)),
            tails: Tails::new(options.tail_cache_bytes),
            writes: Writes::default(),
            locks: TableLocks::default(),
            peers: Peers::new(network),
            doubted: Arc::default(),
            copying: Semaphore::new(options.copies_max.max(1)),
            merging: Semaphore::new(options.jobs_max.max(1)),
            compaction_pace: Pace::new(options.compaction_bytes_per_second),
            scrub_pace: Pace::new(Some(options.scrub_bytes_per_second)),
            stopping: watch::channel(false).0,
            options,
            tasks,
        };
        node.show_totals();
        node
    }

    /// Opens the volume's directory and makes a node of it.
    pub async fn open(
        disk: Arc<dyn Disk>,
        dir: &str,
        network: Arc<dyn Network>,
        options: DataOptions,
        tasks: TaskGroup,
    ) -> std::io::Result<Node> {
        Ok(Node::new(Store::open(disk, dir).await?, network, options, tasks))
    }

    /// Starts a task that ends with the node.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.tasks.spawn(task));
    }

    /// Carries a step out to its end, also if the caller goes away: a name on the disk and its entry in the
    /// catalogue change together.
    pub async fn finish<T: Send + 'static>(
        &self,
        step: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let ended = self.tasks.spawn(step).await;
        ended.unwrap_or_else(|error| {
            Err(if error.is_panic() { fault::defect(&error) } else { fault::stopping() })
        })
    }

    /// Opens a sealed table.
    pub async fn open_table(&self, table: TableId) -> Result<OpenTable, OpenError> {
        self.files.open(&self.store, &self.catalogue, table).await
    }

    /// The tail of an open table, from memory or from the file. Damage is noted.
    pub async fn tail(&self, open: &OpenTable) -> Result<Arc<Tail>, TailError> {
        if let Some(tail) = self.tails.get(open.table, open.sealed.generation) {
            return Ok(tail);
        }
        let tail = Arc::new(self.read_tail(open).await?);
        self.metrics.tail_loads.inc();
        self.tails.put(open.table, open.sealed.generation, tail.clone());
        Ok(tail)
    }

    /// The tail of an open table, past the cache. Damage is noted.
    pub async fn read_tail(&self, open: &OpenTable) -> Result<Tail, TailError> {
        let read = Tail::read(open.file.as_ref(), open.sealed.file_bytes, open.table).await;
        match &read {
            Ok(tail) => self.catalogue.set_seal(open.table, open.sealed.generation, tail.seal()),
            Err(TailError::Damaged(corruption)) => {
                self.note_damage(open.table, open.sealed.generation, corruption)
            }
            Err(TailError::Io(error)) => self.note_unreadable(open.table, open.sealed.generation, error),
        }
        read
    }

    /// What stands for the bytes of a sealed table; `None` if its footer cannot be read or is damaged.
    pub async fn seal_of(&self, table: TableId, sealed: Sealed) -> Option<Seal> {
        if sealed.seal.is_some() {
            return sealed.seal;
        }
        let open = self.open_table(table).await.ok()?;
        match tail::read_footer(open.file.as_ref(), open.sealed.file_bytes).await {
            Ok(footer) => {
                let seal = tail::seal(&footer);
                self.catalogue.set_seal(table, open.sealed.generation, seal);
                Some(seal)
            }
            Err(TailError::Damaged(corruption)) => {
                self.note_damage(table, open.sealed.generation, &corruption);
                None
            }
            Err(TailError::Io(error)) => {
                self.note_unreadable(table, open.sealed.generation, &error);
                None
            }
        }
    }

    /// Damage was found in a copy of this node, whoever read it: the list of tables says so until the copy is replaced,
    /// and the figures that the leaders ask for each second say that there is something new in the list.
    pub fn note_damage(&self, table: TableId, generation: u64, corruption: &Corruption) {
        self.metrics.blocks_damaged.inc();
        if self.catalogue.set_condition(table, generation, Condition::Damaged) {
            tracing::error!(%table, %corruption, "a copy is damaged; it is to be replaced from another one");
            self.show_totals();
        }
    }

    /// The disk failed a read of a copy, which is as bad as damage: it is to be replaced.
    pub fn note_unreadable(&self, table: TableId, generation: u64, error: &std::io::Error) {
        self.metrics.read_errors.inc();
        if self.catalogue.set_condition(table, generation, Condition::Damaged) {
            tracing::error!(%table, %error, "a copy cannot be read; it is to be replaced from another one");
            self.show_totals();
        }
    }

    /// These bytes stand under their name no more.
    pub fn forget_bytes(&self, table: TableId, sealed: Sealed) {
        self.files.forget(table, sealed.generation);
        self.tails.forget(table, sealed.generation);
        self.show_totals();
    }

    /// Brings the gauges of the volume up to date, if it tells.
    pub async fn show_room(&self) {
        let Ok(space) = self.store.space().await else { return };
        self.metrics.free_bytes.set(signed(space.free));
        self.metrics.volume_bytes.set(signed(space.total));
    }

    /// Brings the gauges up to date.
    pub fn show_totals(&self) {
        let totals = self.catalogue.totals();
        self.metrics.tables.set(signed(totals.tables));
        self.metrics.table_bytes.set(signed(totals.file_bytes));
        self.metrics.damaged_tables.set(signed(totals.damaged));
        self.metrics.writes_open.set(signed(self.writes.len() as u64));
        self.metrics.jobs.set(signed(self.jobs.unfinished()));
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
