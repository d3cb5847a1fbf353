//! Which frontends hold the replicas of a group, who leads it, and the next step of its membership.

use std::collections::{BTreeMap, BTreeSet};

use lamina_types::{GroupId, NodeId, ReplicaId};

use crate::balance::balanced_choice;
use crate::site::{Site, Zones};

/// An Active frontend and what it hosts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// The node and its zone.
    pub site: Site,
    /// Replicas that it hosts.
    pub replicas: u32,
    /// Memtables of the groups that it hosts, in bytes: the sum of their budgets.
    pub memtable_bytes: u64,
    /// What that sum may be at most; `None`: the node has not said.
    pub memtable_bytes_max: Option<u64>,
}

impl Host {
    /// Whether one more group with this budget fits (protocols §8.2).
    pub fn has_room(&self, memtable_bytes: u64) -> bool {
        self.memtable_bytes_max.is_none_or(|max| self.memtable_bytes.saturating_add(memtable_bytes) <= max)
    }

    /// Counts one more group with this budget.
    pub fn take(&mut self, memtable_bytes: u64) {
        self.replicas += 1;
        self.memtable_bytes = self.memtable_bytes.saturating_add(memtable_bytes);
    }
}

/// The first members of a new group, spread over zones first and over the frontends with the fewest replicas second.
/// `None` if fewer than `replication` hosts have room for a group with this budget.
pub fn first_members(replication: u32, memtable_bytes: u64, hosts: &[Host]) -> Option<Vec<NodeId>> {
    let mut members = Vec::new();
    for _ in 0..replication {
        members.push(replacement(&members, &[], memtable_bytes, hosts)?);
    }
    Some(members)
}

/// A frontend for one more replica of a group whose replicas stay on `staying`; it shall not be one of `not`
/// either (nodes whose replica of this group is being taken out). `None` if no other host has room.
pub fn replacement(
    staying: &[NodeId],
    not: &[NodeId],
    memtable_bytes: u64,
    hosts: &[Host],
) -> Option<NodeId> {
    let mut zones = Zones::new(hosts.iter().map(|host| &host.site));
    staying.iter().for_each(|node| zones.choose(*node));
    let free = |host: &&Host| {
        let node = host.site.node;
        host.has_room(memtable_bytes) && !staying.contains(&node) && !not.contains(&node)
    };
    let rank = |host: &&Host| (zones.crowding(host.site.node), host.replicas, host.site.node);
    hosts.iter().filter(free).min_by_key(rank).map(|host| host.site.node)
}

/// Who should lead each group: one of the nodes that could (in the order of preference), so that leaders are spread
/// as evenly as that allows. Groups that nobody can lead are left out.
pub fn preferred_leaders(able: &[(GroupId, Vec<NodeId>)]) -> BTreeMap<GroupId, NodeId> {
    let options: Vec<Vec<NodeId>> = able.iter().map(|(_, nodes)| nodes.clone()).collect();
    let chosen = balanced_choice(&options);
    able.iter().zip(chosen).filter_map(|((group, _), node)| Some((*group, node?))).collect()
}

/// A group as its leader sees it: what meta wants, and what is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// Meta's placements.
    pub placed: BTreeSet<ReplicaId>,
    /// Those of them that others replace.
    pub leaving: BTreeSet<ReplicaId>,
    /// Voters of the configuration in force.
    pub voters: BTreeSet<ReplicaId>,
    /// The configuration is joint: a change is under way.
    pub joint: bool,
    /// Learners.
    pub learners: BTreeSet<ReplicaId>,
    /// Learners that are within one second of the commit index.
    pub caught_up: BTreeSet<ReplicaId>,
}

/// What the leader of a group does next about its members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MembershipStep {
    /// Let this replica follow.
    AddLearner(ReplicaId),
    /// Make exactly these the voters (the joint change through to the uniform configuration).
    ChangeVoters(BTreeSet<ReplicaId>),
}

/// The next step towards meta's placements, one at a time: new replicas follow first, and voters change only when
/// all of them have caught up. So nobody leaves before the one who replaces it votes. `None`: nothing to do, or
/// nothing but to wait.
pub fn membership_step(group: &Membership) -> Option<MembershipStep> {
    let wanted: BTreeSet<ReplicaId> = group.placed.difference(&group.leaving).copied().collect();
    if wanted.is_empty() || (wanted == group.voters && !group.joint) {
        return None;
    }
    let new = |replica: &&ReplicaId| !group.voters.contains(replica);
    if let Some(unknown) = wanted.iter().filter(new).find(|replica| !group.learners.contains(replica)) {
        return Some(MembershipStep::AddLearner(*unknown));
    }
    let ready = wanted.iter().filter(new).all(|replica| group.caught_up.contains(replica));
    (ready || group.joint).then_some(MembershipStep::ChangeVoters(wanted))
}

#[cfg(test)]
mod tests;
