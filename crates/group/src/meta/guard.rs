//! Whether a node may be stopped, its volume thrown away, or the node forgotten (invariant N2, protocols §10.5).
//!
//! Pure: the meta leader asks the leaders of the groups first, and puts a change into the log only if the answer here
//! is yes. A refusal says every reason in a sentence of its own.

use std::collections::{BTreeMap, BTreeSet};

use lamina_peers::group::GroupStats;
use lamina_peers::view::NodeState;
use lamina_types::{GroupId, NodeId, ReplicaId, Role, ShardId, Version};

use super::decide::UNSEEN_MS;
use super::observe::{GroupObserved, Observed};
use super::state::{MetaState, NodeRecord};

/// What leaders of groups answered, by group, the meta group ([`meta_answer`]) included. A group without a leader that
/// answers is absent, and counts against every step that concerns it.
pub type Answers = BTreeMap<GroupId, GroupStats>;

/// How the meta group itself is, for [`Answers`], which need it: its leader asks nobody but its own replica.
/// `voters` are those of the configuration in force, `caught_up` those that are within one second of the commit index;
/// the leader is. A voter that is not placed any more counts as one that is not there.
pub fn meta_answer(
    state: &MetaState,
    leader: NodeId,
    voters: &BTreeSet<ReplicaId>,
    caught_up: &BTreeSet<ReplicaId>,
) -> GroupStats {
    let group = state.groups().get(&GroupId::META);
    let node_of = |replica: &ReplicaId| group?.replicas.get(replica).map(|record| record.node);
    let nobody = NodeId(0);
    let voters: Vec<(ReplicaId, NodeId)> =
        voters.iter().map(|replica| (*replica, node_of(replica).unwrap_or(nobody))).collect();
    let near = |(replica, node): &&(ReplicaId, NodeId)| {
        *node != nobody && (*node == leader || caught_up.contains(replica))
    };
    GroupStats {
        leader,
        reign: state.reign(),
        last_version: Version::ZERO,
        applied: state.applied().0,
        caught_up: voters.iter().filter(near).map(|(_, node)| *node).collect(),
        voters: voters.iter().map(|(_, node)| *node).collect(),
        tablets: Vec::new(),
        tables: 0,
        table_bytes: 0,
        under_replicated: 0,
        only_on_named: 0,
        naming: 0,
        verified: 0,
        memtable_bytes: 0,
        memtable_bytes_max: 0,
        writes_per_second: 0.0,
        write_p99_us: 0,
    }
}

/// Who counts as down when `node` stops: itself, the node of a grant that is out, and who is lost or not seen. Ask the
/// groups for their statistics with the data nodes of this list ([`down_data_nodes`]).
pub fn down_with(state: &MetaState, observed: &Observed, node: NodeId) -> BTreeSet<NodeId> {
    let silent = |(id, record): &(&NodeId, &NodeRecord)| {
        record.state != NodeState::Removed
            && (record.is_lost() || !record.seen || observed.silent_ms(**id, record.incarnation) >= UNSEEN_MS)
    };
    let mut down: BTreeSet<NodeId> = state.nodes().iter().filter(silent).map(|(id, _)| *id).collect();
    down.extend(state.grant().map(|grant| grant.node));
    down.insert(node);
    down
}

/// The data nodes among `down`: the `nodes` of the question to each group.
pub fn down_data_nodes(state: &MetaState, down: &BTreeSet<NodeId>) -> Vec<NodeId> {
    let is_data = |node: &&NodeId| state.node(**node).is_some_and(|record| record.role == Role::Data);
    down.iter().filter(is_data).copied().collect()
}

/// Whether `node` may be stopped. `answers` are of groups that were asked with [`down_data_nodes`]. The grant that
/// follows is [`super::Change::GrantStop`]. Development waives what redundancy demands.
///
/// # Errors
/// Every reason against it.
pub fn can_stop(
    state: &MetaState,
    observed: &Observed,
    grant: &str,
    node: NodeId,
    answers: &Answers,
) -> Result<(), Vec<String>> {
    let Some(record) = state.node(node).filter(|record| record.state != NodeState::Removed) else {
        return Err(vec![format!("node {node} is not known to the store")]);
    };
    let mut reasons = Vec::new();
    match state.grant() {
        // Asked again, it is judged again: the stop may not have come yet, and others may be down by now. What the stop itself has
        // done is no reason against it, because the node counts as down either way.
        Some(out) if out.id == grant && out.node == node => {}
        Some(out) => reasons.push(format!("node {} is being stopped already (grant {:?})", out.node, out.id)),
        None => {}
    }
    if !state.settings().is_some_and(|settings| settings.development) {
        let down = down_with(state, observed, node);
        match record.role {
            Role::Frontend => frontend_reasons(state, node, &down, answers, &mut reasons),
            Role::Data => data_reasons(state, &down, answers, &mut reasons),
            Role::Index => index_reasons(state, node, &down, &mut reasons),
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

/// Whether the volume of a dead node may be thrown away. `answers` are of groups that were asked with this node alone.
/// Never waived.
///
/// # Errors
/// Every reason against it.
pub fn release_volume(
    state: &MetaState,
    observed: &Observed,
    node: NodeId,
    answers: &Answers,
) -> Result<(), Vec<String>> {
    let Some(record) = state.node(node) else {
        return Err(vec![format!("node {node} is not known to the store")]);
    };
    if record.released {
        return Ok(());
    }
    let mut reasons = Vec::new();
    if record.state != NodeState::Dead {
        let is = record.state.as_str();
        reasons.push(format!("node {node} is {is}; only the volume of a dead node is released"));
    }
    match record.role {
        Role::Index => {
            reasons.push("index nodes keep their identity; there is no volume to release".to_owned())
        }
        Role::Frontend => {
            majorities(state, &BTreeSet::from([node]), answers, |_| true, &mut reasons);
        }
        Role::Data => {
            bans(state, observed, node, record, &mut reasons);
            for group in data_groups(state) {
                let lacking = |stats: &GroupStats| stats.naming.saturating_sub(stats.verified);
                match answers.get(&group).map(|stats| (stats.only_on_named, lacking(stats))) {
                    Some((0, 0)) => {}
                    Some((0, tables)) => reasons.push(format!(
                        "{tables} tables of group {group} have no other copy that was read and verified since; its \
                         leader is at it, ask again"
                    )),
                    Some((tables, _)) => reasons
                        .push(format!("{tables} tables of group {group} have no other copy; this volume is needed")),
                    None => reasons.push(silent_group(group)),
                }
            }
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

/// Whether nothing names a dead or drained node any more. `answers` are of groups that were asked with this node
/// alone; needed for data nodes only.
///
/// # Errors
/// Every reason against it.
pub fn can_forget(
    state: &MetaState,
    observed: &Observed,
    node: NodeId,
    answers: &Answers,
) -> Result<(), Vec<String>> {
    let Some(record) = state.node(node) else {
        return Err(vec![format!("node {node} is not known to the store")]);
    };
    let mut reasons = Vec::new();
    match record.state {
        NodeState::Removed => return Ok(()),
        NodeState::Dead | NodeState::Drained => {}
        is => {
            reasons.push(format!("node {node} is {}; only a dead or drained one is forgotten", is.as_str()))
        }
    }
    if state.grant().is_some_and(|grant| grant.node == node) {
        reasons.push(format!("a grant to stop node {node} is out"));
    }
    for (group, _) in state.groups().iter().filter(|(_, group)| group.names(node)) {
        reasons.push(format!("group {group} has a replica on node {node}"));
    }
    let shards = state.shards().iter().filter(|shard| shard.nodes().contains(&node)).count();
    if shards > 0 {
        reasons.push(format!("{shards} index shards name node {node}"));
    }
    if record.role == Role::Data {
        bans(state, observed, node, record, &mut reasons);
        for group in data_groups(state) {
            match answers.get(&group).map(|stats| stats.naming) {
                Some(0) => {}
                Some(tables) => reasons.push(format!("{tables} tables of group {group} name node {node}")),
                None => reasons.push(silent_group(group)),
            }
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

/// Frontends that vote in every group that has a replica on them, and are caught up there: their grants may end.
pub fn caught_up_frontends(state: &MetaState, answers: &Answers) -> BTreeSet<NodeId> {
    let caught_up = |node: NodeId| {
        state
            .groups()
            .iter()
            .filter(|(_, group)| group.staying().any(|(_, at)| at == node))
            .all(|(id, _)| answers.get(id).is_some_and(|stats| stats.caught_up.contains(&node)))
    };
    state.usable(Role::Frontend).map(|(node, _)| node).filter(|node| caught_up(*node)).collect()
}

/// Every group with a replica on the node keeps a majority of caught-up voters.
fn frontend_reasons(
    state: &MetaState,
    node: NodeId,
    down: &BTreeSet<NodeId>,
    answers: &Answers,
    reasons: &mut Vec<String>,
) {
    majorities(
        state,
        down,
        answers,
        |group| state.groups().get(&group).is_some_and(|g| g.names(node)),
        reasons,
    );
}

fn majorities(
    state: &MetaState,
    down: &BTreeSet<NodeId>,
    answers: &Answers,
    concerned: impl Fn(GroupId) -> bool,
    reasons: &mut Vec<String>,
) {
    for group in state.groups().keys().copied().filter(|group| concerned(*group)) {
        let Some(stats) = answers.get(&group) else {
            reasons.push(silent_group(group));
            continue;
        };
        let left = stats.caught_up.iter().filter(|node| !down.contains(node)).count();
        let needed = stats.voters.len() / 2 + 1;
        if left < needed {
            reasons.push(format!(
                "group {group} would keep {left} caught-up voters of {}, and needs {needed}",
                stats.voters.len()
            ));
        }
    }
}

/// Every table keeps a sealed copy, and every group can still seal new ones.
fn data_reasons(state: &MetaState, down: &BTreeSet<NodeId>, answers: &Answers, reasons: &mut Vec<String>) {
    for group in data_groups(state) {
        match answers.get(&group).map(|stats| stats.only_on_named) {
            Some(0) => {}
            Some(tables) => {
                reasons.push(format!("{tables} tables of group {group} would have no copy that can be read"));
            }
            None => reasons.push(silent_group(group)),
        }
    }
    let needed = state.settings().map_or(1, |settings| settings.data_replication / 2 + 1);
    let left = state.usable(Role::Data).filter(|(node, _)| !down.contains(node)).count();
    if left < needed as usize {
        reasons.push(format!("{left} data nodes would be left, and a flush needs {needed}"));
    }
}

/// Every shard of which the node is a complete replica keeps another one. A shard that the node only loads loses
/// nothing that could be asked.
fn index_reasons(state: &MetaState, node: NodeId, down: &BTreeSet<NodeId>, reasons: &mut Vec<String>) {
    let bare = (0..).map(ShardId).zip(state.shards()).filter(|(_, shard)| {
        let mine = shard.replicas.iter().any(|replica| replica.node == node && replica.complete);
        mine && !shard.replicas.iter().any(|replica| replica.complete && !down.contains(&replica.node))
    });
    let bare: Vec<ShardId> = bare.map(|(shard, _)| shard).collect();
    if let Some(first) = bare.first() {
        reasons.push(format!(
            "{} index shards would have no complete replica, the first is shard {first}; wait until they are loaded",
            bare.len()
        ));
    }
}

/// Every data group has applied the ban of the node's present state.
fn bans(
    state: &MetaState,
    observed: &Observed,
    node: NodeId,
    record: &NodeRecord,
    reasons: &mut Vec<String>,
) {
    let applied = |said: &GroupObserved| said.bans.get(&node).is_some_and(|at| *at >= record.state_epoch);
    for group in data_groups(state) {
        if !observed.groups.get(&group).is_some_and(applied) {
            reasons.push(format!("group {group} may still place tables on node {node}"));
        }
    }
}

fn data_groups(state: &MetaState) -> impl Iterator<Item = GroupId> {
    state.groups().keys().copied().filter(|group| *group != GroupId::META)
}

fn silent_group(group: GroupId) -> String {
    format!("the leader of group {group} did not answer")
}
