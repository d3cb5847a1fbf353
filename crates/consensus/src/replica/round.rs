//! Leadership rounds (protocols §6.1): a reader joins only a round that has not started. At most one is outstanding;
//! whoever comes meanwhile waits for the next.
//!
//! The library joins reads by itself, by the time at which messages were sent. Here the readers are gathered before
//! the library is asked at all, so that the rule does not rest on that.

use std::future::Future;

use lamina_env::time::Duration;
use lamina_types::{LogIndex, ReplicaId};
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{LinearizerOption, Raft};
use tokio::sync::{mpsc, oneshot};

use super::{Replica, Types};
use crate::error::RoundError;
use crate::machine::StateMachine;
use crate::raft::applier::Applier;

type Waiter = oneshot::Sender<Result<LogIndex, RoundError>>;

/// Where readers queue.
pub struct Rounds(mpsc::UnboundedSender<Waiter>);

/// Where readers queue, and the task that serves them.
pub fn rounds<M: StateMachine>(
    raft: Raft<Types, Applier<M>>,
    timeout: Duration,
) -> (Rounds, impl Future<Output = ()> + Send) {
    let (queue, mut waiting) = mpsc::unbounded_channel::<Waiter>();
    let serve = async move {
        while let Some(first) = waiting.recv().await {
            let mut joined = vec![first];
            while let Ok(next) = waiting.try_recv() {
                joined.push(next);
            }
            joined.retain(|waiter| !waiter.is_closed());
            if joined.is_empty() {
                continue;
            }
            let result = one_round(&raft, timeout).await;
            for waiter in joined {
                // A reader that went away needs no answer.
                waiter.send(result.clone()).ok();
            }
        }
    };
    (Rounds(queue), serve)
}

async fn one_round<M: StateMachine>(
    raft: &Raft<Types, Applier<M>>,
    timeout: Duration,
) -> Result<LogIndex, RoundError> {
    // No acknowledgement is fresh enough but one to a message that is sent from now on.
    let option = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(timeout);
    match raft.get_read_linearizer(option).await {
        Ok(linearizer) => Ok(LogIndex(linearizer.read_log_id().index())),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
            Err(RoundError::NotLeader { leader: forward.leader_id.map(ReplicaId) })
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(RoundError::NoQuorum),
        Err(RaftError::Fatal(_)) => Err(RoundError::Stopped),
    }
}

impl<M: StateMachine> Replica<M> {
    /// Joins the next leadership round that has not started yet: a majority answers messages that are sent after
    /// this call that no higher term exists. Answers the index r that a reader waits for
    /// ([`Replica::wait_applied`]) before it takes its view.
    ///
    /// # Errors
    /// No read may be answered.
    pub async fn round(&self) -> Result<LogIndex, RoundError> {
        let (tell, told) = oneshot::channel();
        self.0.rounds.0.send(tell).map_err(|_| RoundError::Stopped)?;
        told.await.unwrap_or(Err(RoundError::Stopped))
    }
}
