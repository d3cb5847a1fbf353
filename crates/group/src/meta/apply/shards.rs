//! Index shards (protocols §11): who serves them, and who has all of their parts.

use std::collections::BTreeSet;

use lamina_types::{Epoch, Incarnation, NodeId, Role, ShardId};

use super::Applied;
use crate::meta::entry::ShardReplacement;
use crate::meta::outcome::{Outcome, Refusal};
use crate::meta::state::{MetaState, ShardRecord, ShardReplicaRecord};

impl MetaState {
    /// The first map, once. Everybody is loading at first.
    pub(super) fn assign_shards(&mut self, at: Epoch, map: Vec<Vec<NodeId>>) -> Applied {
        if !self.shards.is_empty() {
            return Err(Refusal::AlreadyAssigned);
        }
        let field = "the shard map";
        if self.settings().is_none_or(|settings| usize::from(settings.shards) != map.len()) {
            return Err(Refusal::Invalid { field, problem: "has another number of shards than the store" });
        }
        for list in &map {
            if list.is_empty() || list.iter().collect::<BTreeSet<_>>().len() != list.len() {
                return Err(Refusal::Invalid { field, problem: "has a shard with no node, or one twice" });
            }
            list.iter().try_for_each(|node| self.active_node(*node, Role::Index).map(drop))?;
        }
        let loading = |node| ShardReplicaRecord { node, complete: false, since: at };
        self.shards = map
            .into_iter()
            .map(|list| ShardRecord { replicas: list.into_iter().map(loading).collect() })
            .collect();
        self.map_changed(at)
    }

    /// Lost nodes give their replicas to others: all of the list, or nothing. Those who load come last, so that a
    /// complete replica is asked first.
    pub(super) fn replace_replicas(
        &mut self,
        at: Epoch,
        epoch: Epoch,
        changes: &[ShardReplacement],
    ) -> Applied {
        if epoch != self.map_epoch {
            return Err(Refusal::StaleEpoch { present: self.map_epoch });
        }
        if changes.is_empty() {
            return Ok(Outcome::Unchanged(self.map_epoch));
        }
        let mut shards = self.shards.clone();
        for ShardReplacement { shard, out, into } in changes.iter().copied() {
            let lost = self.nodes.get(&out).ok_or(Refusal::NoNode(out))?;
            if !lost.is_lost() {
                return Err(Refusal::WrongState { node: out, state: lost.state });
            }
            self.active_node(into, Role::Index)?;
            let missing = Refusal::NoShardReplica { shard, node: out };
            let record = shards.get_mut(usize::from(shard.0)).ok_or_else(|| missing.clone())?;
            let position = record.replicas.iter().position(|replica| replica.node == out).ok_or(missing)?;
            if record.replicas.iter().any(|replica| replica.node == into) {
                return Err(Refusal::Invalid { field: "the shard", problem: "has the new node already" });
            }
            record.replicas.remove(position);
            record.replicas.push(ShardReplicaRecord { node: into, complete: false, since: at });
        }
        self.shards = shards;
        self.map_changed(at)
    }

    /// An index node reports shards as complete or as loading. Its report counts for replicas that its view knew
    /// as they are now: a report that was under way while the replica was given to it says nothing.
    pub(super) fn flag_shards(
        &mut self,
        at: Epoch,
        by: (NodeId, Incarnation, Epoch),
        shards: &[ShardId],
        complete: bool,
    ) -> Applied {
        let (node, incarnation, epoch) = by;
        let record = self.live_node(node)?;
        if record.incarnation != incarnation {
            return Err(Refusal::StaleIncarnation { node, recorded: record.incarnation });
        }
        if record.is_lost() {
            return Err(Refusal::WrongState { node, state: record.state });
        }
        for shard in shards {
            let replica = self.shard_replica(*shard, node);
            match replica {
                None => return Err(Refusal::NoShardReplica { shard: *shard, node }),
                Some(replica) if epoch < replica.since => {
                    return Err(Refusal::StaleEpoch { present: replica.since });
                }
                Some(_) => {}
            }
        }
        let mut changed = false;
        for shard in shards {
            let Some(replica) = self.shard_replica(*shard, node) else { continue };
            if replica.complete == complete {
                continue;
            }
            replica.complete = complete;
            if !complete {
                replica.since = at;
            }
            changed = true;
        }
        if changed { self.map_changed(at) } else { Ok(Outcome::Unchanged(self.map_epoch)) }
    }

    /// A start of an index node has nothing in memory; a lost one serves nothing.
    pub(super) fn turn_to_loading(&mut self, at: Epoch, node: NodeId) {
        let mut changed = false;
        for replica in self.shards.iter_mut().flat_map(|shard| &mut shard.replicas) {
            if replica.node == node {
                replica.complete = false;
                replica.since = at;
                changed = true;
            }
        }
        if changed {
            self.map_epoch = at;
            self.epoch = at;
        }
    }

    fn shard_replica(&mut self, shard: ShardId, node: NodeId) -> Option<&mut ShardReplicaRecord> {
        let record = self.shards.get_mut(usize::from(shard.0))?;
        record.replicas.iter_mut().find(|replica| replica.node == node)
    }

    fn map_changed(&mut self, at: Epoch) -> Applied {
        self.map_epoch = at;
        self.visible(at)
    }
}
