//! What a frontend does before it stops by its own will (protocols §10.5): others lead its groups, so that nobody waits
//! for an election. It stops as safely without.

use std::cmp::Reverse;
use std::sync::Arc;

use lamina_consensus::{MemberError, Replica, StateMachine};
use lamina_env::time::{self, Duration};
use lamina_types::ReplicaId;

use crate::door::raft::Residents;

/// How long all of it may take: whoever stops the process waits for it.
const LONGEST: Duration = Duration::from_secs(5);
/// A voter that did not answer for so long is not asked to lead.
const SILENT_MS_MAX: u64 = 1_000;

/// Hands over every group that is led here; returns when others lead, or when the time is over.
pub async fn hand_over(residents: Arc<Residents>) {
    let data = async {
        let hosts = residents.data();
        futures::future::join_all(hosts.iter().map(|host| give(&host.replica))).await;
    };
    let meta = async {
        if let Some(host) = residents.meta() {
            give(&host.replica).await;
        }
    };
    let both = async { futures::join!(data, meta) };
    if time::timeout(LONGEST, both).await.is_err() {
        tracing::warn!("not every group has another leader yet; those that have none will elect one");
    }
}

/// Asks the voters one after the other, the one that is furthest first.
async fn give<M: StateMachine>(replica: &Replica<M>) {
    for voter in candidates(replica) {
        match replica.transfer(voter).await {
            Ok(()) => return tracing::info!(group = %replica.group(), %voter, "another replica leads"),
            Err(MemberError::NotLeader { .. } | MemberError::Stopped) => return,
            Err(error) => {
                tracing::info!(group = %replica.group(), %voter, %error, "a replica does not take the lead");
            }
        }
    }
}

/// Empty unless the replica leads.
fn candidates<M: StateMachine>(replica: &Replica<M>) -> Vec<ReplicaId> {
    let voters = replica.members().voters;
    let mut others = replica.progress();
    others.retain(|other| {
        voters.contains(&other.replica) && other.silent_ms.is_some_and(|silent| silent <= SILENT_MS_MAX)
    });
    others.sort_by_key(|other| Reverse(other.matched));
    others.into_iter().map(|other| other.replica).collect()
}
