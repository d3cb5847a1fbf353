//! One replica of a data group on this frontend: its log, what its readers see, and its reign if it leads.

use std::sync::Arc;

use lamina_consensus::{ProposeError, Replica};
use lamina_engine::tree::TableRecord;
use lamina_env::task::{self, JoinHandle};
use lamina_env::watch;
use lamina_group::data::{Entry, GroupView, Outcome, Refusal};
use lamina_types::{Error, GroupId, LogIndex, Reason, Reign, Result, TableId, Version};
use parking_lot::Mutex;

use crate::heart::inbox::{Inbox, Queue};
use crate::heart::ledger::Ledger;
use crate::heart::machine::{DataMachine, Published};
use crate::heart::refusals::{disk_full, outcome_unknown};
use crate::heart::scans::OpenScans;
use crate::heart::throttle::Throttle;
use crate::metrics::GroupMetrics;

/// One replica of a data group.
pub struct DataHost {
    /// The group.
    pub group: GroupId,
    /// Its log.
    pub replica: Replica<DataMachine>,
    /// What readers see.
    pub published: Arc<Published>,
    /// Back-pressure, while it leads.
    pub throttle: Throttle,
    /// Scans that it serves.
    pub scans: OpenScans,
    /// Its figures.
    pub metrics: GroupMetrics,
    reigning: watch::Sender<Option<Arc<Reigning>>>,
    inbox: Inbox,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// The reign of this process over a group.
pub struct Reigning {
    /// The term of its leadership: entries are proposed in no other.
    pub term: u64,
    /// The reign: the index of its first entry, which is applied.
    pub reign: Reign,
    /// The names that it has given.
    pub ledger: Ledger,
}

/// Why an entry of the leader's flows had no effect that we know of.
#[derive(Debug)]
pub enum NotDone {
    /// Refused: certainly without effect.
    Refused(Refusal),
    /// It never reached the log: certainly without effect.
    NotProposed(Error),
    /// It may take effect (rule G4).
    Unknown,
}

impl DataHost {
    /// A host around an open replica, and the writes that are handed in: a writer must take them.
    pub fn new(
        group: GroupId,
        replica: Replica<DataMachine>,
        published: Arc<Published>,
    ) -> (Arc<DataHost>, Queue) {
        let (inbox, queue) = Inbox::new();
        let host = Arc::new(DataHost {
            group,
            replica,
            published,
            throttle: Throttle::default(),
            scans: OpenScans::default(),
            metrics: GroupMetrics::default(),
            reigning: watch::channel(None).0,
            inbox,
            tasks: Mutex::default(),
        });
        (host, queue)
    }

    /// Starts a task that ends with the replica, or with its node.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().push(task::spawn(task));
    }

    /// Stops the replica and everything that runs for it. Its files stay.
    pub async fn close(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        self.replica.stop().await;
    }

    /// Where client writes are handed in.
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// The reign of this process.
    ///
    /// # Errors
    /// `NOT_OWNER`: another node leads, or the reign has not begun yet. Nothing was done.
    pub fn reigning(&self) -> Result<Arc<Reigning>> {
        self.reigning.borrow().clone().ok_or_else(|| self.not_owner())
    }

    /// Whether this process reigns.
    pub fn leads(&self) -> bool {
        self.reigning.borrow().is_some()
    }

    /// Begins or ends the reign of this process.
    pub fn set_reigning(&self, reigning: Option<Arc<Reigning>>) {
        self.reigning.send(reigning);
    }

    /// To hear of reigns.
    pub fn reigns(&self) -> watch::Receiver<Option<Arc<Reigning>>> {
        self.reigning.subscribe()
    }

    /// A view that holds every write that was acknowledged before the call (protocols §6.1).
    ///
    /// # Errors
    /// `NOT_OWNER` or `NO_QUORUM`: this node cannot know.
    pub async fn newest_view(&self) -> Result<Arc<GroupView>> {
        let reigning = self.reigning()?;
        let round = self.replica.round().await.map_err(|error| {
            tracing::debug!(group = %self.group, ?error, "a leadership round failed");
            self.not_owner()
        })?;
        self.replica.wait_applied(round.max(LogIndex(reigning.reign.0))).await;
        Ok(self.published.view())
    }

    /// Proposes an entry of the leader's flows and waits until it is applied.
    ///
    /// # Errors
    /// [`NotDone`] says whether it may still take effect.
    pub async fn propose(&self, term: u64, entry: impl Into<Entry>) -> Result<Outcome, NotDone> {
        let bytes = entry
            .into()
            .encode()
            .map_err(|error| NotDone::NotProposed(Error::new(Reason::Bug, error.to_string())))?;
        match self.replica.propose(term, bytes).await {
            Ok((_, outcome)) => outcome.accepted().map_err(NotDone::Refused),
            Err(error) => Err(self.not_done(error)),
        }
    }

    /// The hint of the leader for versions (protocols §4).
    pub fn hint(&self) -> Version {
        Version::from_ms(self.replica.hint_ms())
    }

    /// The record of a live table.
    pub fn record(&self, table: TableId) -> Option<Arc<TableRecord>> {
        self.published.view().table(table).cloned()
    }

    /// That another node should be asked.
    pub fn not_owner(&self) -> Error {
        Error::new(Reason::NotOwner, format!("this node does not lead group {}; ask its leader", self.group))
            .with("group", self.group)
    }

    fn not_done(&self, error: ProposeError) -> NotDone {
        match error {
            ProposeError::NotLeader { .. } => NotDone::NotProposed(self.not_owner()),
            ProposeError::Full => NotDone::NotProposed(disk_full()),
            ProposeError::Unknown | ProposeError::Stopped => NotDone::Unknown,
        }
    }
}

impl From<NotDone> for Error {
    fn from(not_done: NotDone) -> Error {
        match not_done {
            NotDone::Refused(refusal) => Error::new(Reason::StateMoved, refusal.to_string()),
            NotDone::NotProposed(error) => error,
            NotDone::Unknown => outcome_unknown(),
        }
    }
}
