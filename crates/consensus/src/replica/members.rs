//! Who belongs to the group, and changes of that. One change at a time, driven by the leader; each may be repeated
//! until it is done (protocols §8.3, research/openraft.md traps 2.9 to 2.13).

use std::collections::BTreeSet;

use lamina_env::time::{Duration, now, sleep, timeout};
use lamina_types::{LogIndex, ReplicaId};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, EmptyNode};

use super::{Replica, Types};
use crate::error::MemberError;
use crate::machine::StateMachine;
use crate::raft::types::Membership;

/// How long one change of members may take; it may be repeated.
const CHANGE_TIME: Duration = Duration::from_secs(30);

/// Pause before a change is tried again because another one was under way.
const PAUSE: Duration = Duration::from_millis(50);

/// Pause after the first attempt to campaign.
const CAMPAIGN_FIRST: Duration = Duration::from_millis(5);

/// The members of a group as its log says, the newest entry even if it is not committed yet.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Members {
    /// Those who vote; while joint, those of both configurations.
    pub voters: BTreeSet<ReplicaId>,
    /// Those who only receive the log.
    pub learners: BTreeSet<ReplicaId>,
    /// A change is between its two entries.
    pub joint: bool,
}

/// How far the leader knows one of the others to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Who.
    pub replica: ReplicaId,
    /// The last entry that is synced there; `None`: nothing is known.
    pub matched: Option<LogIndex>,
    /// Milliseconds since it last answered; `None`: never since this replica started.
    pub silent_ms: Option<u64>,
}

impl<M: StateMachine> Replica<M> {
    /// The present members.
    pub fn members(&self) -> Members {
        let metrics = self.0.raft.server_metrics();
        let membership = metrics.borrow_watched().membership_config.clone();
        members(membership.membership())
    }

    /// How far the others are. Empty unless this replica leads.
    pub fn progress(&self) -> Vec<Progress> {
        let metrics = self.0.raft.data_metrics();
        let replication = metrics.borrow_watched().replication.clone().unwrap_or_default();
        let me = self.id().0;
        replication
            .into_iter()
            .filter(|(replica, _)| *replica != me)
            .map(|(replica, matched)| Progress {
                replica: ReplicaId(replica),
                matched: matched.map(|matched| LogIndex(matched.index)),
                silent_ms: self
                    .0
                    .peers
                    .last_heard(replica)
                    .map(|heard| u64::try_from(heard.elapsed().as_millis()).unwrap_or(u64::MAX)),
            })
            .collect()
    }

    /// Adds a replica that receives the log and does not vote. Nothing to do if it is a member already.
    ///
    /// # Errors
    /// [`MemberError`]; all of them may be repeated.
    pub async fn add_learner(&self, learner: ReplicaId) -> Result<(), MemberError> {
        let add = || ChangeMembers::AddNodes([(learner.0, EmptyNode::new())].into());
        let is_member = |members: &Members| {
            !members.joint && (members.voters.contains(&learner) || members.learners.contains(&learner))
        };
        self.change(add, true, is_member).await
    }

    /// Removes a learner. Nothing to do if it is none.
    ///
    /// # Errors
    /// [`MemberError`]; all of them may be repeated.
    pub async fn remove_learner(&self, learner: ReplicaId) -> Result<(), MemberError> {
        let remove = || ChangeMembers::RemoveNodes([learner.0].into());
        self.change(remove, true, |members| !members.joint && !members.learners.contains(&learner)).await
    }

    /// Makes these the voters, by a joint change up to its uniform end. New ones must be learners before; removed
    /// ones leave the group. Nothing to do if they are the voters already; a change that another leader left in the
    /// middle is brought to its end first.
    ///
    /// # Errors
    /// [`MemberError`]; all of them may be repeated.
    pub async fn change_voters(&self, voters: BTreeSet<ReplicaId>) -> Result<(), MemberError> {
        let ids: BTreeSet<u64> = voters.iter().map(|voter| voter.0).collect();
        let replace = || ChangeMembers::ReplaceAllVoters(ids.clone());
        self.change(replace, false, |members| !members.joint && members.voters == voters).await
    }

    async fn change(
        &self,
        change: impl Fn() -> ChangeMembers<u64, EmptyNode>,
        retain: bool,
        done: impl Fn(&Members) -> bool,
    ) -> Result<(), MemberError> {
        let deadline = now() + CHANGE_TIME;
        loop {
            if self.settled(&done) {
                return Ok(());
            }
            if now() >= deadline {
                return Err(MemberError::Timeout);
            }
            let attempt = self.0.raft.change_membership(change(), retain);
            match timeout(deadline - now(), attempt).await.map_err(|_| MemberError::Timeout)? {
                // The next look at the members says whether that was all.
                Ok(_) => {}
                Err(error) => match why(error) {
                    MemberError::InProgress => sleep(PAUSE).await,
                    error => return Err(error),
                },
            }
            lamina_env::task::yield_now().await;
        }
    }

    /// Whether the newest members are those that are wanted, and committed.
    fn settled(&self, done: impl Fn(&Members) -> bool) -> bool {
        let metrics = self.0.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config == metrics.committed_membership_config
            && done(&members(metrics.membership_config.membership()))
    }

    /// Asks another voter to lead, and waits until it does.
    ///
    /// # Errors
    /// [`MemberError::NotLeader`], or [`MemberError::Timeout`]: it is down, or too far behind; this replica may
    /// still lead.
    pub async fn transfer(&self, to: ReplicaId) -> Result<(), MemberError> {
        let mut leadership = self.leadership();
        let present = *leadership.borrow();
        if present.leader == Some(to) {
            return Ok(());
        }
        if !present.mine {
            return Err(MemberError::NotLeader { leader: present.leader });
        }
        self.0.raft.trigger().transfer_leader(to.0).await.map_err(|_| MemberError::Stopped)?;
        let followed = leadership.wait_for(|seen| seen.leader == Some(to));
        match timeout(self.0.options.election_max * 4, followed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(MemberError::Stopped),
            Err(_) => Err(MemberError::Timeout),
        }
    }

    /// Campaigns at once, without waiting for the election timeout (protocols §8.2, last item), and again after
    /// pauses that grow, until somebody leads: the peers may open their replicas a moment later than this one. After
    /// that, election timeouts have it. Each attempt asks before it votes, so it disturbs no leader.
    pub async fn campaign(&self) {
        let mut leadership = self.leadership();
        // After a restart the leader of before is still named.
        let before = leadership.borrow().term;
        let mut wait = CAMPAIGN_FIRST;
        while wait < self.0.options.election_min {
            if let Err(error) = self.0.raft.trigger().elect(true).await {
                tracing::warn!(%error, replica = %self.id(), "a replica that has stopped cannot campaign");
                return;
            }
            let led = leadership.wait_for(|seen| seen.mine || (seen.term > before && seen.leader.is_some()));
            if timeout(wait, led).await.is_ok() {
                return;
            }
            wait *= 2;
        }
    }
}

fn members(membership: &Membership) -> Members {
    Members {
        voters: membership.voter_ids().map(ReplicaId).collect(),
        learners: membership.learner_ids().map(ReplicaId).collect(),
        joint: membership.get_joint_config().len() > 1,
    }
}

fn why(error: RaftError<Types, ClientWriteError<Types>>) -> MemberError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            MemberError::NotLeader { leader: forward.leader_id.map(ReplicaId) }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_),
        ))
        // Somebody else's change came in between.
        | RaftError::APIError(ClientWriteError::PreconditionFailed(_)) => MemberError::InProgress,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            MemberError::Refused(error.to_string())
        }
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => MemberError::Unknown,
        RaftError::Fatal(_) => MemberError::Stopped,
    }
}
