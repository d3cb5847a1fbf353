//! Brings the members of a group to what meta has placed, one step at a time (protocols §8.3).

use std::collections::BTreeSet;

use lamina_env::time::{self, Duration};
use lamina_placement::replicas::{Membership, MembershipStep, membership_step};
use lamina_types::{LogIndex, ReplicaId};

use crate::lead::work::Work;

/// How often members are compared.
const LOOK: Duration = Duration::from_millis(500);

/// Compares and changes members for ever.
pub async fn run(work: Work) {
    loop {
        time::sleep(LOOK).await;
        step(&work).await;
    }
}

async fn step(work: &Work) {
    let Ok(cluster) = work.links.view() else { return };
    let Some(group) = cluster.group(work.host.group) else { return };
    let members = work.host.replica.members();
    let membership = Membership {
        placed: group.replicas.iter().map(|placement| placement.replica).collect(),
        leaving: group.leaving.iter().copied().collect(),
        voters: members.voters.clone(),
        joint: members.joint,
        learners: members.learners.clone(),
        caught_up: caught_up(work),
    };
    let result = match membership_step(&membership) {
        None => return,
        Some(MembershipStep::AddLearner(replica)) => work.host.replica.add_learner(replica).await,
        Some(MembershipStep::ChangeVoters(voters)) => work.host.replica.change_voters(voters).await,
    };
    match result {
        Ok(()) => tracing::info!(group = %work.host.group, "a step of membership is done"),
        Err(error) => tracing::debug!(group = %work.host.group, ?error, "a step of membership failed"),
    }
}

/// Replicas whose log is near the end of ours.
fn caught_up(work: &Work) -> BTreeSet<ReplicaId> {
    let committed = work.host.replica.committed().0;
    let near = |matched: Option<LogIndex>| matched.is_some_and(|matched| matched.0 + 1000 >= committed);
    let progress = work.host.replica.progress();
    progress.into_iter().filter(|one| near(one.matched)).map(|one| one.replica).collect()
}
