//! One replica of the meta group on this frontend.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use lamina_consensus::{Frozen, ProposeError, Replica, StateMachine, Stop};
use lamina_env::time::{self, Instant};
use lamina_env::watch;
use lamina_group::meta::{FrozenMeta, MetaEntry, MetaGroup, MetaState, Observer, Outcome};
use lamina_peers::view::ClusterView;
use lamina_types::{Error, GroupId, LogIndex, NodeId, Reason, Reign, Result};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::heart::refusals::{disk_full, outcome_unknown};

/// Where every view of the cluster on this node goes.
pub type ViewSender = watch::Sender<Option<Arc<ClusterView>>>;

/// The meta group's state machine.
pub struct MetaMachine {
    group: MetaGroup,
    state: Arc<ArcSwap<MetaState>>,
    views: ViewSender,
}

impl MetaMachine {
    /// The machine before the first entry, and what its readers see. Newer views of the cluster go to `views`.
    pub fn new(views: ViewSender) -> (MetaMachine, Arc<ArcSwap<MetaState>>) {
        let group = MetaGroup::new();
        let state = Arc::new(ArcSwap::new(group.state()));
        (MetaMachine { group, state: state.clone(), views }, state)
    }

    fn publish(&self) {
        let state = self.group.state();
        let newer = self.views.borrow().as_ref().is_none_or(|view| view.epoch < state.epoch());
        if newer && let Some(view) = state.view() {
            publish_view(&self.views, view);
        }
        self.state.store(state);
    }
}

/// Replaces the view of this node if the new one is newer.
pub fn publish_view(views: &ViewSender, view: ClusterView) {
    views.send_if_modified(|present| {
        let newer = present.as_ref().is_none_or(|present| present.epoch < view.epoch);
        if newer {
            *present = Some(Arc::new(view));
        }
        newer
    });
}

impl StateMachine for MetaMachine {
    type Outcome = Outcome;

    fn apply(&mut self, index: LogIndex, entry: Bytes) -> Result<Outcome, Stop> {
        self.group.apply(index, &entry).map_err(|stop| Stop(stop.to_string()))
    }

    fn applied(&mut self, _: LogIndex) {
        self.publish();
    }

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(Picture(self.group.freeze()))
    }

    fn restore(&mut self, _: LogIndex, chunks: &mut dyn Iterator<Item = Bytes>) -> Result<(), Stop> {
        self.group.restore(chunks).map_err(|stop| Stop(stop.to_string()))?;
        self.publish();
        Ok(())
    }
}

struct Picture(FrozenMeta);

impl Frozen for Picture {
    fn chunks(self: Box<Self>) -> Box<dyn Iterator<Item = Bytes> + Send> {
        Box::new(self.0.chunks())
    }
}

/// One replica of the meta group.
pub struct MetaHost {
    /// Its log.
    pub replica: Replica<MetaMachine>,
    state: Arc<ArcSwap<MetaState>>,
    reigning: watch::Sender<Option<Arc<MetaReign>>>,
    started: Instant,
    /// Wakes the leader when it has heard something.
    pub news: Notify,
}

/// The reign of this process over the meta group.
pub struct MetaReign {
    /// The term of its leadership.
    pub term: u64,
    /// The reign.
    pub reign: Reign,
    /// What it has heard.
    pub observer: Mutex<Observer>,
}

impl MetaHost {
    /// A host around an open replica.
    pub fn new(replica: Replica<MetaMachine>, state: Arc<ArcSwap<MetaState>>) -> Arc<MetaHost> {
        Arc::new(MetaHost {
            replica,
            state,
            reigning: watch::channel(None).0,
            started: time::now(),
            news: Notify::new(),
        })
    }

    /// The newest state that is applied here.
    pub fn state(&self) -> Arc<MetaState> {
        self.state.load_full()
    }

    /// Milliseconds of a clock that does not go back.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The reign of this process.
    ///
    /// # Errors
    /// `NOT_OWNER`: another node leads.
    pub fn reigning(&self) -> Result<Arc<MetaReign>> {
        self.reigning.borrow().clone().ok_or_else(not_meta_leader)
    }

    /// Begins or ends the reign of this process.
    pub fn set_reigning(&self, reigning: Option<Arc<MetaReign>>) {
        self.reigning.send(reigning);
    }

    /// The node that leads the meta group, as far as this replica's log says.
    pub fn leader(&self) -> Option<NodeId> {
        let leader = self.replica.leadership().borrow().leader?;
        let state = self.state();
        let record = state.groups().get(&GroupId::META)?.replicas.get(&leader)?;
        Some(record.node)
    }

    /// Proposes in a term and waits until it is applied.
    ///
    /// # Errors
    /// `NOT_OWNER`: certainly not done. `OUTCOME_UNKNOWN`: perhaps. A refusal is an outcome, not an error.
    pub async fn propose(&self, term: u64, entry: &MetaEntry) -> Result<Outcome> {
        let bytes = entry.encode().map_err(|stop| Error::new(Reason::Bug, stop.to_string()))?;
        match self.replica.propose(term, bytes).await {
            Ok((_, outcome)) => Ok(outcome),
            Err(ProposeError::NotLeader { .. }) => Err(not_meta_leader()),
            Err(ProposeError::Full) => Err(disk_full()),
            Err(ProposeError::Unknown | ProposeError::Stopped) => Err(outcome_unknown()),
        }
    }
}

/// That another node should be asked.
pub fn not_meta_leader() -> Error {
    Error::new(Reason::NotOwner, "this node does not lead the meta group; ask its leader").retry_after_ms(50)
}
