//! The meta leader: begins its reign, listens, decides, proposes, until nothing is left to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use lamina_env::time::{self, Duration};
use lamina_group::meta::guard::{Answers, can_forget, caught_up_frontends, meta_answer};
use lamina_group::meta::state::NodeRecord;
use lamina_group::meta::{Change, MetaEntry, Observed, Observer, Outcome, decide};
use lamina_node::Links;
use lamina_peers::group::GroupStat;
use lamina_peers::view::NodeState;
use lamina_placement::replicas::{Membership, MembershipStep, membership_step};
use lamina_types::{Epoch, GroupId, LogIndex, NodeId, ReplicaId, Role};
use parking_lot::Mutex;

use crate::meta::founding::Founding;
use crate::meta::host::{MetaHost, MetaReign};

/// How often the leader decides without news.
const LOOK: Duration = Duration::from_millis(100);
/// What one question to a leader of a group may take.
const DEADLINE_MS: u64 = 2_000;

/// Waits for leadership of the meta group, reigns, and begins again, for ever.
pub async fn run(host: Arc<MetaHost>, links: Links, founding: Arc<Founding>) {
    let mut leadership = host.replica.leadership();
    loop {
        let term = {
            let now = leadership.borrow_and_update();
            now.mine.then_some(now.term)
        };
        let Some(term) = term else {
            if leadership.changed().await.is_err() {
                return;
            }
            continue;
        };
        if let Some(reign) = begin(&host, &links, term).await {
            tracing::info!(term, reign = %reign.reign, "this node leads the meta group");
            let ended = EndOnDrop(host.clone());
            host.set_reigning(Some(reign.clone()));
            tokio::select! {
                biased;
                _ = leadership.wait_for(|now| !now.mine || now.term != term) => {}
                () = rule(&host, &links, &founding, &reign) => {}
            }
            drop(ended);
        } else {
            let _ = time::timeout(LOOK, leadership.changed()).await;
        }
    }
}

struct EndOnDrop(Arc<MetaHost>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.set_reigning(None);
    }
}

async fn begin(host: &MetaHost, links: &Links, term: u64) -> Option<Arc<MetaReign>> {
    let entry = MetaEntry::BeginReign { node: links.me.node()?, incarnation: links.me.incarnation() };
    match host.propose(term, &entry).await {
        Ok(Outcome::Began(reign)) => {
            let observer = Mutex::new(Observer::new(host.now_ms()));
            Some(Arc::new(MetaReign { term, reign, observer }))
        }
        Ok(_) | Err(_) => None,
    }
}

async fn rule(host: &MetaHost, links: &Links, founding: &Founding, reign: &MetaReign) {
    let asked = Mutex::new(Asked::default());
    tokio::select! {
        biased;
        () = ask_for_ever(host, links, reign, &asked) => {}
        () = decide_for_ever(host, founding, reign, &asked) => {}
    }
}

async fn decide_for_ever(host: &MetaHost, founding: &Founding, reign: &MetaReign, asked: &Mutex<Asked>) {
    loop {
        let observed = observe(host, founding, reign, asked);
        let changes = decide(&host.state(), &observed);
        let idle = changes.is_empty();
        // All at once, in their order: one sync and one round of the log for the lot.
        join_all(changes.into_iter().map(|change| carry_out(host, reign, change))).await;
        change_members(host).await;
        if idle {
            let _ = time::timeout(LOOK, host.news.notified()).await;
        } else {
            // What was applied may make other steps possible at once; the list is never long.
            time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn carry_out(host: &MetaHost, reign: &MetaReign, change: Change) {
    let name = change.name();
    match host.propose(reign.term, &change.in_reign(reign.reign)).await {
        Ok(Outcome::Refused(refusal)) => tracing::debug!(change = name, %refusal, "refused"),
        Ok(_) => tracing::debug!(change = name, "applied"),
        Err(error) => tracing::debug!(change = name, %error, "not applied"),
    }
}

/// What leaders of groups answered last. Beside the decisions: a leader that is slow to answer delays nothing but the
/// decisions that need its answer.
#[derive(Default)]
struct Asked {
    caught_up: BTreeSet<NodeId>,
    forgettable: BTreeMap<NodeId, Epoch>,
}

/// Asks the leaders of groups what some decisions wait for, as long as some do.
async fn ask_for_ever(host: &MetaHost, links: &Links, reign: &MetaReign, asked: &Mutex<Asked>) {
    loop {
        let answered = ask_what_is_needed(host, links, reign).await;
        let news = !answered.caught_up.is_empty() || !answered.forgettable.is_empty();
        *asked.lock() = answered;
        if news {
            host.news.notify_one();
        }
        time::sleep(LOOK).await;
    }
}

async fn ask_what_is_needed(host: &MetaHost, links: &Links, reign: &MetaReign) -> Asked {
    let mut asked = Asked::default();
    let state = host.state();
    if state.founded().is_none() {
        return asked;
    }
    let granted = state.grant().and_then(|grant| state.node(grant.node)).map(|node| node.role);
    if granted == Some(Role::Frontend) {
        let answers = answers(host, links, &[]).await;
        asked.caught_up = caught_up_frontends(&state, &answers);
    }
    let released =
        |node: &NodeRecord| node.role == Role::Data && node.state == NodeState::Dead && node.released;
    let lost = state.nodes().iter().filter(|(_, node)| released(node));
    for (node, epoch) in lost.map(|(id, node)| (*id, node.state_epoch)) {
        let answers = answers(host, links, &[node]).await;
        let observed = reign.observer.lock().observed(host.now_ms());
        if can_forget(&state, &observed, node, &answers).is_ok() {
            asked.forgettable.insert(node, epoch);
        }
    }
    asked
}

fn observe(host: &MetaHost, founding: &Founding, reign: &MetaReign, asked: &Mutex<Asked>) -> Observed {
    let mut observed = reign.observer.lock().observed(host.now_ms());
    if host.state().founded().is_none() {
        observed.bootstrap = founding.record().map(Into::into);
        return observed;
    }
    let asked = asked.lock();
    observed.caught_up.clone_from(&asked.caught_up);
    observed.forgettable.clone_from(&asked.forgettable);
    observed
}

/// How every group is, the meta group included, which this process leads.
pub async fn answers(host: &MetaHost, links: &Links, nodes: &[NodeId]) -> Answers {
    let mut answers = ask_groups(links, nodes, DEADLINE_MS, |_| true).await;
    if let Some(me) = links.me.node() {
        let members = host.replica.members();
        let answer = meta_answer(&host.state(), me, &members.voters, &caught_up(host));
        answers.insert(GroupId::META, answer);
    }
    answers
}

/// Replicas of the meta group whose log is near the end of ours.
fn caught_up(host: &MetaHost) -> BTreeSet<ReplicaId> {
    let committed = host.replica.committed().0;
    let near = |matched: Option<LogIndex>| matched.is_some_and(|matched| matched.0 + 100 >= committed);
    let progress = host.replica.progress();
    progress.into_iter().filter(|one| near(one.matched)).map(|one| one.replica).collect()
}

/// Asks the leader of every data group how it is, and what of it only these nodes have. Whoever may know has so many
/// milliseconds to answer.
pub async fn ask_groups(
    links: &Links,
    nodes: &[NodeId],
    deadline_ms: u64,
    is_there: impl Fn(NodeId) -> bool + Send + Sync,
) -> Answers {
    let Ok(view) = links.view() else { return BTreeMap::new() };
    let groups = view.groups.iter().filter(|group| group.group != GroupId::META);
    let asks = groups.map(|group| async {
        let leader_first =
            group.leader.into_iter().chain(group.replicas.iter().map(|placement| placement.node));
        let mut asked = Vec::new();
        for node in leader_first {
            if asked.contains(&node) || !is_there(node) {
                continue;
            }
            asked.push(node);
            let Ok((peer, context)) = links.group(node, deadline_ms) else { continue };
            let request = GroupStat { group: group.group, nodes: nodes.to_vec() };
            let call = peer.call(context, request);
            if let Ok(Ok(stats)) = time::timeout(Duration::from_millis(deadline_ms), call).await {
                return Some((group.group, stats));
            }
        }
        None
    });
    join_all(asks).await.into_iter().flatten().collect()
}

/// The meta group's own members: as for every group (protocols §8.3), by its leader.
async fn change_members(host: &MetaHost) {
    let state = host.state();
    let Some(group) = state.groups().get(&GroupId::META) else { return };
    let members = host.replica.members();
    let membership = Membership {
        placed: group.replicas.keys().copied().collect(),
        leaving: group.replicas.iter().filter(|(_, it)| it.leaving.is_some()).map(|(id, _)| *id).collect(),
        voters: members.voters,
        joint: members.joint,
        learners: members.learners,
        caught_up: caught_up(host),
    };
    let step = match membership_step(&membership) {
        None => return,
        Some(MembershipStep::AddLearner(replica)) => host.replica.add_learner(replica).await,
        Some(MembershipStep::ChangeVoters(voters)) => host.replica.change_voters(voters).await,
    };
    if let Err(error) = step {
        tracing::debug!(?error, "a step of the meta group's membership failed");
    }
}
