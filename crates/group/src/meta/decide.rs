//! What a meta leader proposes next: pure functions of the state and of what it has heard.
//!
//! Each answer is made of steps that are allowed now. Some of them make others possible, so the leader decides again
//! when they are applied; with nothing left to do the answer is empty. Proposing a step twice, or one that has become
//! wrong meanwhile, does no harm: apply checks it.

use std::collections::{BTreeMap, BTreeSet};

use lamina_peers::view::NodeState;
use lamina_placement::replicas::{self, Host};
use lamina_placement::{Site, shards};
use lamina_types::{GroupId, KeyRange, NodeId, ReplicaId, Role, Settings, ShardId};

use super::entry::{Change, GrantEnd, ShardReplacement};
use super::observe::Observed;
use super::state::{GroupRecord, MetaState, NodeRecord};

/// A node that was heard of within this time answers, in milliseconds.
pub const ANSWERS_MS: u64 = 5_000;
/// A node that was not heard of for this time is not seen, in milliseconds.
pub const UNSEEN_MS: u64 = 10_000;

/// What to propose now, in this order.
pub fn decide(state: &MetaState, observed: &Observed) -> Vec<Change> {
    let Some(settings) = state.settings() else {
        return observed.bootstrap.clone().map(Change::Found).into_iter().collect();
    };
    let mut out = Vec::new();
    nodes(state, observed, &mut out);
    create_groups(state, settings, &mut out);
    place_replicas(state, settings, observed, &mut out);
    drop_replicas(state, observed, &mut out);
    hints(state, observed, &mut out);
    assign_shards(state, settings, &mut out);
    repair_shards(state, &mut out);
    flag_shards(state, observed, &mut out);
    end_grant(state, observed, &mut out);
    out
}

/// Who takes part, who is heard of, who can be forgotten.
fn nodes(state: &MetaState, observed: &Observed, out: &mut Vec<Change>) {
    for (node, record) in state.nodes() {
        let (node, incarnation) = (*node, record.incarnation);
        let answers = observed.answers(node, incarnation, ANSWERS_MS);
        match record.state {
            NodeState::Joining if answers => out.push(Change::Activate { node, incarnation }),
            NodeState::Dead if record.released && forgotten(state, observed, node, record) => {
                out.push(Change::Remove { node, epoch: record.state_epoch });
            }
            _ => {}
        }
        if record.is_lost() || (record.state == NodeState::Joining && answers) {
            continue;
        }
        let silent = observed.silent_ms(node, incarnation) >= UNSEEN_MS;
        if record.seen && silent {
            out.push(Change::SetSeen { node, incarnation, seen: false });
        } else if !record.seen && answers {
            out.push(Change::SetSeen { node, incarnation, seen: true });
        }
    }
}

/// Whether nothing names a released node any more.
fn forgotten(state: &MetaState, observed: &Observed, node: NodeId, record: &NodeRecord) -> bool {
    let granted = state.grant().is_some_and(|grant| grant.node == node);
    let placed = state.groups().values().any(|group| group.names(node));
    let certified = record.role != Role::Data || observed.forgettable.get(&node) == Some(&record.state_epoch);
    !granted && !placed && certified
}

/// The data groups, once the frontends are there that the first placement waits for. Development does not wait for
/// more than a group needs.
fn create_groups(state: &MetaState, settings: &Settings, out: &mut Vec<Change>) {
    let there = state.usable(Role::Frontend).count();
    let needed = if settings.development { settings.frontend_replication } else { settings.frontends };
    let exist = state.groups().len() as u32;
    if there < needed as usize || exist > settings.groups {
        return;
    }
    let mut hosts = hosts(state, settings);
    for group in (exist..=settings.groups).map(GroupId) {
        let bytes = settings.memtable_bytes;
        let Some(members) = replicas::first_members(settings.frontend_replication, bytes, &hosts) else {
            break;
        };
        let chosen = |host: &&mut Host| members.contains(&host.site.node);
        hosts.iter_mut().filter(chosen).for_each(|host| host.take(bytes));
        let range = (group == GroupId(1)).then(KeyRange::all);
        out.push(Change::CreateGroup { group, members, range });
    }
}

/// A new replica for each that is on a lost node or that its leader has shut out, and for groups that have too few. One for each group and pass.
fn place_replicas(state: &MetaState, settings: &Settings, observed: &Observed, out: &mut Vec<Change>) {
    let mut hosts = hosts(state, settings);
    for (group, record) in state.groups() {
        let said = observed.groups.get(group).filter(|said| said.term >= record.term);
        let shut_out = |replica: &ReplicaId| said.is_some_and(|said| said.shut_out.contains(replica));
        let lost = |(replica, node): &(ReplicaId, NodeId)| {
            shut_out(replica) || state.node(*node).is_none_or(NodeRecord::is_lost)
        };
        let (on_lost, on_good): (Vec<_>, Vec<_>) = record.staying().partition(lost);
        let replaces = on_lost.first().map(|(replica, _)| *replica);
        if replaces.is_none() && on_good.len() >= target(*group, record, settings) {
            continue;
        }
        let staying: Vec<NodeId> = on_good.iter().map(|(_, node)| *node).collect();
        let named: Vec<NodeId> = record.replicas.values().map(|replica| replica.node).collect();
        let bytes = if *group == GroupId::META { 0 } else { settings.memtable_bytes };
        let Some(node) = replicas::replacement(&staying, &named, bytes, &hosts) else { continue };
        hosts.iter_mut().filter(|host| host.site.node == node).for_each(|host| host.take(bytes));
        out.push(Change::PlaceReplica { group: *group, node, replaces });
    }
}

/// How many replicas a group shall have. The meta group has three, and one is enough for development.
fn target(group: GroupId, record: &GroupRecord, settings: &Settings) -> usize {
    if group != GroupId::META {
        return settings.frontend_replication as usize;
    }
    let least = if settings.development { 1 } else { 3 };
    record.initial.len().max(least)
}

/// A replica that leaves is dropped when its group's leader, who knows that it leaves, has a committed uniform
/// configuration without it.
fn drop_replicas(state: &MetaState, observed: &Observed, out: &mut Vec<Change>) {
    for (group, record) in state.groups() {
        let Some(said) = observed.groups.get(group).filter(|said| said.term >= record.term) else { continue };
        let settled = !said.voters.is_empty() && said.voters.iter().all(|v| record.replicas.contains_key(v));
        let gone = record.replicas.iter().filter(|(replica, old)| {
            settled && old.leaving.is_some_and(|since| said.epoch >= since) && !said.voters.contains(replica)
        });
        out.extend(gone.map(|(replica, _)| Change::DropReplica { group: *group, replica: *replica }));
    }
}

/// Who leads, and where keys are.
fn hints(state: &MetaState, observed: &Observed, out: &mut Vec<Change>) {
    for (group, said) in &observed.groups {
        let Some(record) = state.groups().get(group) else { continue };
        let known = state.node(said.leader).is_some_and(|node| !node.is_lost());
        if !known || said.term < record.term {
            continue;
        }
        if said.term > record.term || record.leader.is_none() {
            let leader = said.leader;
            out.push(Change::LeaderSeen { group: *group, term: said.term, leader });
        }
        if said.ranges != record.ranges {
            let ranges = said.ranges.clone();
            out.push(Change::TabletHints { group: *group, term: said.term, ranges });
        }
    }
}

/// The first shard map, once the recorded number of index nodes is there.
fn assign_shards(state: &MetaState, settings: &Settings, out: &mut Vec<Change>) {
    let sites = sites(state, Role::Index);
    let needed = if settings.development { settings.index_replication } else { settings.index_nodes };
    if state.shards().is_empty() && sites.len() >= needed as usize {
        let map = shards::first_map(settings.shards, settings.index_replication, &sites);
        out.push(Change::AssignShards { map });
    }
}

/// Replicas of lost index nodes go to others.
fn repair_shards(state: &MetaState, out: &mut Vec<Change>) {
    let lost: BTreeSet<NodeId> =
        state.nodes().iter().filter(|(_, record)| record.is_lost()).map(|(node, _)| *node).collect();
    let map: Vec<Vec<NodeId>> = state.shards().iter().map(|shard| shard.nodes()).collect();
    let steps = shards::repair(&map, &lost, &sites(state, Role::Index));
    if !steps.is_empty() {
        let one = |step: shards::Replacement| ShardReplacement {
            shard: step.shard,
            out: step.out,
            into: step.into,
        };
        let changes = steps.into_iter().map(one).collect();
        out.push(Change::ReplaceShardReplicas { epoch: state.map_epoch(), changes });
    }
}

/// What index nodes say of their shards, where it differs from what is recorded.
fn flag_shards(state: &MetaState, observed: &Observed, out: &mut Vec<Change>) {
    let mut complete: BTreeMap<NodeId, Vec<ShardId>> = BTreeMap::new();
    let mut loading: BTreeMap<NodeId, Vec<ShardId>> = BTreeMap::new();
    for (shard, record) in (0..).map(ShardId).zip(state.shards()) {
        for replica in &record.replicas {
            let Some(said) = observed.nodes.get(&replica.node) else { continue };
            let known = state.node(replica.node);
            let counts = known.is_some_and(|node| !node.is_lost() && node.incarnation == said.incarnation);
            if !counts || said.epoch < replica.since {
                continue;
            }
            match (said.complete.contains(&shard), replica.complete) {
                (true, false) => complete.entry(replica.node).or_default().push(shard),
                (false, true) => loading.entry(replica.node).or_default().push(shard),
                _ => {}
            }
        }
    }
    let by = |node| observed.nodes.get(&node).map(|said| (said.incarnation, said.epoch));
    for (node, shards) in complete {
        let Some((incarnation, epoch)) = by(node) else { continue };
        out.push(Change::ShardsComplete { node, incarnation, epoch, shards });
    }
    for (node, shards) in loading {
        let Some((incarnation, epoch)) = by(node) else { continue };
        out.push(Change::ShardsLoading { node, incarnation, epoch, shards });
    }
}

/// A grant ends when a later start of its node has caught up.
fn end_grant(state: &MetaState, observed: &Observed, out: &mut Vec<Change>) {
    let Some(grant) = state.grant() else { return };
    let Some(record) = state.node(grant.node) else { return };
    let incarnation = record.incarnation;
    let back = incarnation > grant.incarnation
        && record.state == NodeState::Active
        && observed.answers(grant.node, incarnation, ANSWERS_MS);
    let caught_up = match record.role {
        Role::Frontend => observed.caught_up.contains(&grant.node),
        Role::Index => {
            let mut parts = state.shards().iter().flat_map(|shard| &shard.replicas);
            parts.all(|replica| replica.node != grant.node || replica.complete)
        }
        Role::Data => true,
    };
    if back && caught_up {
        out.push(Change::EndGrant { grant: grant.id.clone(), because: GrantEnd::CaughtUp { incarnation } });
    }
}

fn sites(state: &MetaState, role: Role) -> Vec<Site> {
    state.usable(role).map(|(node, record)| Site { node, zone: record.zone.clone() }).collect()
}

/// Frontends that something may be placed on, and what they host. A replica that leaves counts as long as it is
/// there: it needs its memory. Nodes do not say how much they have yet, so their number of groups is not bounded.
fn hosts(state: &MetaState, settings: &Settings) -> Vec<Host> {
    let one = |site: Site| {
        let of_node = |group: &&GroupId| state.groups().get(*group).is_some_and(|g| g.names(site.node));
        let hosted: Vec<&GroupId> = state.groups().keys().filter(of_node).collect();
        let data = hosted.iter().filter(|group| ***group != GroupId::META).count() as u64;
        Host {
            site,
            replicas: hosted.len() as u32,
            memtable_bytes: data.saturating_mul(settings.memtable_bytes),
            memtable_bytes_max: None,
        }
    };
    sites(state, Role::Frontend).into_iter().map(one).collect()
}
