//! Groups and their replicas (protocols §8.3), and hints about them.

use std::collections::BTreeSet;

use lamina_types::{Epoch, GroupId, KeyRange, NodeId, ReplicaId, Role};

use super::Applied;
use super::cluster::MEMBERS_MAX;
use crate::meta::outcome::{Outcome, Refusal};
use crate::meta::state::{GroupRecord, MetaState, ReplicaRecord};

impl MetaState {
    /// A new group. Its replica ids follow from the index of the entry, so none is ever used twice (invariant Q1).
    pub(super) fn create_group(
        &mut self,
        at: Epoch,
        group: GroupId,
        members: &[NodeId],
        range: Option<KeyRange>,
    ) -> Applied {
        let next = GroupId(self.groups.len() as u32);
        if group != next {
            return Err(Refusal::NotNext { next });
        }
        let field = "the list of members";
        if members.is_empty() || members.len() > MEMBERS_MAX {
            return Err(Refusal::Invalid { field, problem: "must have 1 to 15 members" });
        }
        if members.iter().collect::<BTreeSet<_>>().len() != members.len() {
            return Err(Refusal::Invalid { field, problem: "names a node twice" });
        }
        members.iter().try_for_each(|node| self.active_node(*node, Role::Frontend).map(drop))?;
        let mut record = GroupRecord {
            first_range: range.clone(),
            ranges: range.into_iter().collect(),
            ..GroupRecord::default()
        };
        for (ordinal, node) in (0..).zip(members) {
            let replica = replica_id(at, ordinal);
            record.initial.push(replica);
            record.replicas.insert(replica, ReplicaRecord { node: *node, leaving: None });
        }
        let placed = record.initial.clone();
        self.groups.insert(group, record);
        self.epoch = at;
        Ok(Outcome::Placed(placed))
    }

    /// One more replica. The one that it replaces leaves for ever, whatever becomes of its node.
    pub(super) fn place_replica(
        &mut self,
        at: Epoch,
        group: GroupId,
        node: NodeId,
        replaces: Option<ReplicaId>,
    ) -> Applied {
        self.active_node(node, Role::Frontend)?;
        let record = self.groups.get_mut(&group).ok_or(Refusal::NoGroup(group))?;
        if record.names(node) {
            return Err(Refusal::AlreadyPlaced { group, node });
        }
        if record.replicas.len() >= 2 * MEMBERS_MAX {
            return Err(Refusal::Invalid { field: "the group", problem: "has too many replicas already" });
        }
        if let Some(old) = replaces {
            let old_record = record.replicas.get_mut(&old).ok_or(Refusal::NoReplica(old))?;
            old_record.leaving.get_or_insert(at);
        }
        let replica = replica_id(at, 0);
        record.replicas.insert(replica, ReplicaRecord { node, leaving: None });
        self.epoch = at;
        Ok(Outcome::Placed(vec![replica]))
    }

    /// The files of a replica that left may go. The proposer has seen a committed uniform configuration without it.
    pub(super) fn drop_replica(&mut self, at: Epoch, group: GroupId, replica: ReplicaId) -> Applied {
        let record = self.groups.get_mut(&group).ok_or(Refusal::NoGroup(group))?;
        let old = record.replicas.get(&replica).ok_or(Refusal::NoReplica(replica))?;
        if old.leaving.is_none() {
            return Err(Refusal::NotLeaving(replica));
        }
        record.replicas.remove(&replica);
        self.visible(at)
    }

    /// Who leads a group, by the newest term that was heard of.
    pub(super) fn leader_seen(&mut self, at: Epoch, group: GroupId, term: u64, leader: NodeId) -> Applied {
        let known = self.live_node(leader)?;
        if known.is_lost() {
            return Err(Refusal::WrongState { node: leader, state: known.state });
        }
        let record = self.groups.get_mut(&group).ok_or(Refusal::NoGroup(group))?;
        if term < record.term {
            return Err(Refusal::StaleTerm { present: record.term });
        }
        let same = record.leader == Some(leader);
        record.term = term;
        if same {
            return Ok(Outcome::Unchanged(self.epoch));
        }
        record.leader = Some(leader);
        self.visible(at)
    }

    /// The keys of a group's tablets, by the newest term that was heard of.
    pub(super) fn tablet_hints_said(
        &mut self,
        at: Epoch,
        group: GroupId,
        term: u64,
        ranges: Vec<KeyRange>,
    ) -> Applied {
        let record = self.groups.get_mut(&group).ok_or(Refusal::NoGroup(group))?;
        if term < record.term {
            return Err(Refusal::StaleTerm { present: record.term });
        }
        if term > record.term {
            record.term = term;
            record.leader = None;
        } else if record.ranges == ranges {
            return Ok(Outcome::Unchanged(self.epoch));
        }
        record.ranges = ranges;
        self.visible(at)
    }
}

/// 16 × the index of the entry that places the replica, plus its ordinal in that entry.
fn replica_id(at: Epoch, ordinal: u64) -> ReplicaId {
    ReplicaId(at.0.saturating_mul(16).saturating_add(ordinal))
}
