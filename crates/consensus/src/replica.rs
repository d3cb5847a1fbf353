//! One replica of a group: proposals, leadership rounds, members, checkpoints.
//!
//! | module | holds |
//! |---|---|
//! | [`round`] | leadership rounds (protocols §6.1) |
//! | [`door`] | frames from peers |
//! | [`members`] | who belongs to the group, and changes of that |
//! | [`keeper`] | checkpoints, and cutting the log behind them |

pub mod door;
pub mod keeper;
pub mod members;
pub mod round;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use lamina_engine::wal::Record;
use lamina_env::time::timeout;
use lamina_env::{task, watch};
use lamina_types::{GroupId, LogIndex, ReplicaId};
use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use parking_lot::Mutex;

pub use members::{Members, Progress};

use crate::error::ProposeError;
use crate::machine::{StateMachine, Stop};
use crate::options::LogOptions;
use crate::raft::applier::{Applier, Shared};
use crate::raft::peers::Peers;
use crate::raft::receiver::Receiver;
use crate::raft::{Proposal, Types};
use crate::wal::Owner;

/// Who leads the group, as far as this replica knows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Leadership {
    /// The term. It only rises.
    pub term: u64,
    /// Who leads in it.
    pub leader: Option<ReplicaId>,
    /// This replica does. It may be cut off without knowing: only a [`Replica::round`] tells.
    pub mine: bool,
}

/// One replica of a group. Cheap to clone.
pub struct Replica<M: StateMachine>(Arc<Inner<M>>);

struct Inner<M: StateMachine> {
    raft: Raft<Types, Applier<M>>,
    owner: Owner,
    shared: Arc<Shared>,
    peers: Peers,
    receiver: Receiver,
    options: LogOptions,
    admitted: AtomicBool,
    leadership: watch::Sender<Leadership>,
    rounds: round::Rounds,
    checkpointing: tokio::sync::Mutex<()>,
    tasks: Mutex<Vec<task::JoinHandle<()>>>,
}

impl<M: StateMachine> Clone for Replica<M> {
    fn clone(&self) -> Replica<M> {
        Replica(self.0.clone())
    }
}

/// What a replica is made of; the store puts it together.
pub(crate) struct Parts<M: StateMachine> {
    pub raft: Raft<Types, Applier<M>>,
    pub shared: Arc<Shared>,
    pub peers: Peers,
    pub options: LogOptions,
    pub shut: bool,
}

impl<M: StateMachine> Replica<M> {
    /// Starts what runs beside Raft.
    pub(crate) fn start(parts: Parts<M>) -> Replica<M> {
        let Parts { raft, shared, peers, options, shut } = parts;
        let leadership = watch::channel(Leadership::default()).0;
        let (rounds, round_task) = round::rounds(raft.clone(), options.round_timeout);
        let follow = follow_leadership(raft.clone(), leadership.clone());
        let replica = Replica(Arc::new(Inner {
            owner: shared.log.owner(),
            raft,
            shared,
            peers,
            receiver: Receiver::default(),
            options,
            admitted: AtomicBool::new(!shut),
            leadership,
            rounds,
            checkpointing: tokio::sync::Mutex::new(()),
            tasks: Mutex::default(),
        }));
        let keeper = keeper::run(replica.clone());
        *replica.0.tasks.lock() = vec![task::spawn(follow), task::spawn(round_task), task::spawn(keeper)];
        replica
    }

    /// The replica's id.
    pub fn id(&self) -> ReplicaId {
        self.0.owner.replica
    }

    /// Its group.
    pub fn group(&self) -> GroupId {
        self.0.owner.group
    }

    /// Begins the group with these members, this replica among them. Each of them may do so; nobody else ever does
    /// (protocols §8.3). A marker is synced first. Doing it again changes nothing.
    ///
    /// Whoever begins campaigns at once, and votes of several at the same time split. So the first of them begins at
    /// once, and each other one only if it has heard of no leader for some time, the later ones later.
    ///
    /// # Errors
    /// The replica has a log or a vote already and was not begun here, is shut, or is not among the members.
    pub async fn initialise(&self, members: &[ReplicaId]) -> Result<(), crate::error::MemberError> {
        use crate::error::MemberError::{Refused, Stopped};
        let inner = &self.0;
        if inner.raft.is_initialized().await.map_err(|_| Stopped)? {
            return Ok(());
        }
        if !self.is_admitted() {
            return Err(Refused("the replica is shut until its node is registered".to_owned()));
        }
        if !members.contains(&self.id()) {
            return Err(Refused("a group is begun by its first members only".to_owned()));
        }
        if self.hears_a_leader(members).await {
            return Ok(());
        }
        let log = &inner.shared.log;
        let (marked, pristine) = {
            let table = log.table().lock();
            (table.initialised, table.vote.is_none() && table.last().is_none())
        };
        if !marked {
            if !pristine {
                return Err(Refused("the replica has a vote or entries already".to_owned()));
            }
            let records = vec![Record::Initialised(inner.owner)];
            log.wal().submit_and_wait(log.table().clone(), records).await.map_err(|_| Stopped)?;
            log.table().lock().initialised = true;
        }
        let nodes: std::collections::BTreeMap<_, _> =
            members.iter().map(|member| (member.0, openraft::EmptyNode::new())).collect();
        match inner.raft.initialize(nodes).await {
            Ok(()) => Ok(()),
            Err(error) => match inner.raft.is_initialized().await {
                // A peer that began first has sent entries meanwhile: they are the same.
                Ok(true) => Ok(()),
                Ok(false) => Err(Refused(error.to_string())),
                Err(_) => Err(Stopped),
            },
        }
    }

    /// Waits for its turn to begin the group; whether somebody leads meanwhile.
    async fn hears_a_leader(&self, members: &[ReplicaId]) -> bool {
        let earlier = members.iter().filter(|member| **member < self.id()).count();
        let mut leadership = self.leadership();
        let led = leadership.wait_for(|seen| seen.leader.is_some());
        let turn = self.0.options.election_max * u32::try_from(earlier).unwrap_or(u32::MAX);
        earlier > 0 && timeout(turn, led).await.is_ok()
    }

    /// Opens a shut replica: its node is registered, from here on it votes, campaigns and acknowledges.
    pub fn admit(&self) {
        self.0.admitted.store(true, Ordering::Release);
        self.0.raft.runtime_config().elect(true);
    }

    fn is_admitted(&self) -> bool {
        self.0.admitted.load(Ordering::Acquire)
    }

    /// Who leads, and changes of that.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.0.leadership.subscribe()
    }

    /// Appends an entry, in `term` only, and waits until it is applied here. Calls may overlap: entries stand in the
    /// log in the order in which the calls were first polled. Dropping the call does not take the entry back.
    ///
    /// # Errors
    /// [`ProposeError`] says of each whether the entry may still take effect.
    pub async fn propose(&self, term: u64, entry: Bytes) -> Result<(LogIndex, M::Outcome), ProposeError> {
        let wal = self.0.shared.log.wal().shared();
        if *wal.full.borrow() {
            return Err(ProposeError::Full);
        }
        if wal.failed.borrow().is_some() {
            return Err(ProposeError::Stopped);
        }
        let (responder, answered) = ProgressResponder::complete_only();
        let write = self.0.raft.write(Proposal(entry)).with_leader(term).responder(responder);
        // Without giving way to other tasks in between, which would let a later call pass this one.
        tokio::task::unconstrained(write.into_future()).await.map_err(|_| ProposeError::Stopped)?;
        match answered.await {
            Ok(Ok(applied)) => {
                let index = LogIndex(applied.log_id.index);
                // An answer without outcome does not happen: the entry is a proposal of this machine.
                applied.data.take().map(|outcome| (index, outcome)).ok_or(ProposeError::Unknown)
            }
            Ok(Err(ClientWriteError::ForwardToLeader(forward))) => {
                Err(ProposeError::NotLeader { leader: forward.leader_id.map(ReplicaId) })
            }
            // The entry was in this log and is cut, or nobody saw what became of it: another leader may have it.
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// How far the state goes; entries before the first one count as index 0.
    pub fn applied(&self) -> LogIndex {
        LogIndex(self.0.shared.applied.borrow().saturating_sub(1))
    }

    /// How far the log is committed, as far as this replica knows.
    pub fn committed(&self) -> LogIndex {
        let metrics = self.0.raft.data_metrics();
        let metrics = metrics.borrow_watched();
        let committed = metrics.cluster_committed.max(metrics.local_committed);
        LogIndex(committed.map_or(0, |committed| committed.index))
    }

    /// Waits until the entry at `index` is applied here. For ever, if that never happens: set a deadline.
    pub async fn wait_applied(&self, index: LogIndex) {
        let mut applied = self.0.shared.applied.subscribe();
        if applied.wait_for(|next| *next > index.0).await.is_err() {
            // The replica is gone; so is whoever waits, soon.
            std::future::pending::<()>().await;
        }
    }

    /// The time of day for entries that this leader proposes: its own clock, but at most half a second above the
    /// median of the clocks of the group's voters (protocols §4).
    pub fn hint_ms(&self) -> u64 {
        let voters = self.members().voters;
        self.0.peers.hint_ms(self.id().0, voters.into_iter().map(|voter| voter.0))
    }

    /// Bytes of the entries in the log of this replica.
    pub fn log_bytes(&self) -> u64 {
        self.0.shared.log.table().lock().bytes()
    }

    /// Replicas that rejected what they had acknowledged to this leader, and are shut out (rule G7).
    pub fn shut_out(&self) -> watch::Receiver<BTreeSet<ReplicaId>> {
        self.0.peers.who_is_shut_out()
    }

    /// Why the replica stopped by itself, if it did.
    pub fn stopped(&self) -> watch::Receiver<Option<Stop>> {
        self.0.shared.stopped.subscribe()
    }

    /// Stops the replica. Its files stay; to open it again in this process, use
    /// [`crate::LogStore::close_replica`] instead.
    pub async fn stop(&self) {
        for handle in self.0.tasks.lock().drain(..) {
            handle.abort();
        }
        if let Err(error) = self.0.raft.shutdown().await {
            tracing::warn!(%error, replica = %self.id(), "a replica ended badly");
        }
    }

    /// Makes a checkpoint of the present state, waits until it is durable, and cuts the log behind it as far as
    /// followers allow. Answers the index that it holds.
    ///
    /// # Errors
    /// What the disk or the log says; the checkpoint before stays.
    pub async fn checkpoint(&self) -> io::Result<Option<LogIndex>> {
        keeper::checkpoint(self).await
    }
}

/// Tells of leaders as the library's metrics name them; of this replica's own leadership only once an entry of its
/// term is committed: until then the library refuses proposals, because its lease has not begun.
async fn follow_leadership<M: StateMachine>(
    raft: Raft<Types, Applier<M>>,
    leadership: watch::Sender<Leadership>,
) {
    let (mut server, mut data) = (raft.server_metrics(), raft.data_metrics());
    loop {
        let (seen, waits) = {
            let (server, data) = (server.borrow_and_update(), data.borrow_and_update());
            let term = server.vote.leader_id.term;
            let committed = data.cluster_committed.as_ref().or(data.local_committed.as_ref());
            let begun = committed.is_some_and(|committed| **committed.committed_leader_id() == term);
            let is_leader = server.state.is_leader();
            let leader = server.current_leader.map(ReplicaId);
            (Leadership { term, leader, mine: is_leader && begun }, is_leader && !begun)
        };
        leadership.send_if_modified(|present| std::mem::replace(present, seen) != seen);
        let changed = async {
            if !waits {
                return server.changed().await.is_ok();
            }
            tokio::select! {
                biased;
                changed = server.changed() => changed.is_ok(),
                changed = data.changed() => changed.is_ok(),
            }
        };
        if !changed.await {
            return;
        }
    }
}
