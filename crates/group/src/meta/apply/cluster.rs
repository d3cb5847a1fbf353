//! The store as a whole: its beginning, its level, leave to stop a node.

use std::collections::BTreeSet;

use lamina_peers::view::NodeState;
use lamina_types::{Epoch, GroupId, Incarnation, Level, NodeId, ReplicaId, Role, Settings};

use super::{Applied, check_text};
use crate::meta::entry::{Found, GrantEnd};
use crate::meta::outcome::{Outcome, Refusal};
use crate::meta::state::{Grant, GroupRecord, MetaState, NodeRecord, ReplicaRecord};

/// Replica ids of first members are below those that follow from an index (16 × index + ordinal).
pub(super) const MEMBERS_MAX: usize = 15;

impl MetaState {
    /// One record, one store, one first membership (invariant B1).
    pub(super) fn found(&mut self, at: Epoch, found: Found) -> Applied {
        if let Some(present) = &self.founded {
            if present.cluster != found.cluster {
                return Err(Refusal::OtherCluster { present: present.cluster });
            }
            return if *present == found {
                Ok(Outcome::Unchanged(self.epoch))
            } else {
                Err(Refusal::OtherRecord)
            };
        }
        check_found(&found)?;
        let mut meta = GroupRecord::default();
        for (ordinal, member) in (1..).zip(&found.members) {
            let replica = ReplicaId(ordinal);
            meta.initial.push(replica);
            meta.replicas.insert(replica, ReplicaRecord { node: member.node, leaving: None });
            self.nodes.insert(member.node, first_member(&member.address, at));
        }
        self.groups.insert(GroupId::META, meta);
        self.founded = Some(found);
        self.visible(at)
    }

    /// One grant is out at a time; the same one again is given again.
    pub(super) fn grant_stop(&mut self, at: Epoch, id: String, node: NodeId) -> Applied {
        check_text("the grant's id", &id)?;
        if id.is_empty() {
            return Err(Refusal::Invalid { field: "the grant's id", problem: "is empty" });
        }
        if let Some(out) = &self.grant {
            return if out.id == id && out.node == node {
                Ok(Outcome::Unchanged(self.epoch))
            } else {
                Err(Refusal::GrantOut { grant: out.id.clone(), node: out.node })
            };
        }
        let record = self.live_node(node)?;
        self.grant = Some(Grant { id, node, incarnation: record.incarnation });
        Ok(Outcome::Done(at))
    }

    /// A grant does not end by time. None out of this name counts as ended.
    pub(super) fn end_grant(&mut self, at: Epoch, id: &str, because: GrantEnd) -> Applied {
        let Some(out) = self.grant.as_ref().filter(|out| out.id == id) else {
            return Ok(Outcome::Unchanged(self.epoch));
        };
        if let GrantEnd::CaughtUp { incarnation } = because {
            let recorded = self.nodes.get(&out.node).map_or(Incarnation::ZERO, |node| node.incarnation);
            if incarnation != recorded {
                return Err(Refusal::StaleIncarnation { node: out.node, recorded });
            }
            if incarnation <= out.incarnation {
                return Err(Refusal::NotBack(out.node));
            }
        }
        self.grant = None;
        Ok(Outcome::Done(at))
    }

    /// One step at a time, and only when every registered node supports it.
    pub(super) fn raise_level(&mut self, at: Epoch, to: Level) -> Applied {
        if to == self.level {
            return Ok(Outcome::Unchanged(self.epoch));
        }
        if to.0 != self.level.0.saturating_add(1) {
            return Err(Refusal::WrongLevel { present: self.level.0 });
        }
        let behind = self.nodes.iter().find(|(_, node)| !node.is_lost() && node.level_max < to);
        if let Some((node, _)) = behind {
            return Err(Refusal::LevelUnsupported { node: *node, to: to.0 });
        }
        self.level = to;
        self.visible(at)
    }
}

/// What is known of a first member before it registers.
fn first_member(address: &str, at: Epoch) -> NodeRecord {
    NodeRecord {
        role: Role::Frontend,
        name: String::new(),
        address: address.to_owned(),
        zone: String::new(),
        zone_set: false,
        version: String::new(),
        level_max: Level::FIRST,
        incarnation: Incarnation::ZERO,
        nonce: 0,
        state: NodeState::Joining,
        state_epoch: at,
        released: false,
        seen: false,
    }
}

fn check_found(found: &Found) -> Result<(), Refusal> {
    let field = "the list of first members";
    if found.members.is_empty() || found.members.len() > MEMBERS_MAX {
        return Err(Refusal::Invalid { field, problem: "must have 1 to 15 members" });
    }
    let distinct: BTreeSet<NodeId> = found.members.iter().map(|member| member.node).collect();
    if distinct.len() != found.members.len() {
        return Err(Refusal::Invalid { field, problem: "names a node twice" });
    }
    found.members.iter().try_for_each(|member| check_text("an address", &member.address))?;
    check_settings(&found.settings)
}

fn check_settings(settings: &Settings) -> Result<(), Refusal> {
    let refuse = |field, problem| Err(Refusal::Invalid { field, problem });
    let counts = [
        ("frontend.replicationFactor", settings.frontend_replication, settings.frontends),
        ("index.replicationFactor", settings.index_replication, settings.index_nodes),
        ("data.replicationFactor", settings.data_replication, settings.data_nodes),
    ];
    for (field, replication, nodes) in counts {
        if replication == 0 || replication > nodes {
            return refuse(field, "must be at least 1 and at most the number of nodes");
        }
        if replication == 1 && !settings.development {
            return refuse(field, "is 1, which only the Development profile allows");
        }
    }
    if settings.frontend_replication.is_multiple_of(2) || settings.frontend_replication > MEMBERS_MAX as u32 {
        return refuse("frontend.replicationFactor", "must be an odd number up to 15");
    }
    if settings.groups == 0 || settings.groups > 1024 {
        return refuse("frontend.groups", "must be 1 to 1024");
    }
    if settings.shards == 0 || settings.shards > 4096 {
        return refuse("index.shards", "must be 1 to 4096");
    }
    if settings.memtable_bytes == 0 || settings.block_bytes == 0 || settings.table_bytes == 0 {
        return refuse("a size in bytes", "is 0");
    }
    Ok(())
}
