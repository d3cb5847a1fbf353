//! Nodes: registration and the states of their lives (protocols §10.3, §10.4).

use lamina_peers::view::NodeState;
use lamina_types::{Epoch, Incarnation, NodeId, Role};

use super::{Applied, check_text};
use crate::meta::entry::Registration;
use crate::meta::outcome::{Outcome, Refusal};
use crate::meta::state::{MetaState, NodeRecord};

/// A node may be declared dead when the meta leader has not heard of it for this long, in milliseconds.
pub(crate) const DEAD_UNSEEN_MS: u64 = 30_000;

impl MetaState {
    /// A node that takes part or may take part again.
    pub(super) fn live_node(&self, node: NodeId) -> Result<&NodeRecord, Refusal> {
        let record = self.nodes.get(&node).ok_or(Refusal::NoNode(node))?;
        if record.state == NodeState::Removed { Err(Refusal::NodeGone(node)) } else { Ok(record) }
    }

    /// A node of a role that may be given something: Active.
    pub(super) fn active_node(&self, node: NodeId, role: Role) -> Result<&NodeRecord, Refusal> {
        let record = self.nodes.get(&node).ok_or(Refusal::NoNode(node))?;
        if record.role != role {
            return Err(Refusal::WrongRole(node));
        }
        match record.state {
            NodeState::Active => Ok(record),
            state => Err(Refusal::WrongState { node, state }),
        }
    }

    /// A node whose registered start is this one. A first member that never registered has not started.
    fn started_node(&mut self, node: NodeId, incarnation: Incarnation) -> Result<&mut NodeRecord, Refusal> {
        let record = self.nodes.get_mut(&node).ok_or(Refusal::NoNode(node))?;
        if record.incarnation != incarnation || incarnation == Incarnation::ZERO {
            return Err(Refusal::StaleIncarnation { node, recorded: record.incarnation });
        }
        Ok(record)
    }

    /// A process has started. Its incarnation must be higher than the recorded one, or equal with the same nonce.
    pub(super) fn register(&mut self, at: Epoch, said: Registration) -> Applied {
        match self.cluster() {
            Some(present) if present != said.cluster => return Err(Refusal::OtherCluster { present }),
            _ => {}
        }
        let texts = [("the name", &said.name), ("the address", &said.address), ("the zone", &said.zone)];
        texts.into_iter().try_for_each(|(field, text)| check_text(field, text))?;
        check_text("the version", &said.version)?;
        let known = self.nodes.get(&said.node);
        let incarnation = next_incarnation(known, &said)?;
        let record = registered(known, &said, incarnation, at);
        let restarted = known.is_none_or(|known| known.incarnation != incarnation);
        if known != Some(&record) {
            self.nodes.insert(said.node, record);
            self.epoch = at;
        }
        if restarted && said.role == Role::Index {
            self.turn_to_loading(at, said.node);
        }
        Ok(Outcome::Registered(incarnation))
    }

    /// Joining → Active.
    pub(super) fn activate(&mut self, at: Epoch, node: NodeId, incarnation: Incarnation) -> Applied {
        let record = self.started_node(node, incarnation)?;
        match record.state {
            NodeState::Joining => {
                record.state = NodeState::Active;
                record.state_epoch = at;
                record.seen = true;
                self.visible(at)
            }
            NodeState::Active => Ok(Outcome::Unchanged(record.state_epoch)),
            state => Err(Refusal::WrongState { node, state }),
        }
    }

    /// Active, Joining, Draining → Dead. What it holds stays in its name until others replace it.
    pub(super) fn declare_dead(
        &mut self,
        at: Epoch,
        node: NodeId,
        from: NodeState,
        unseen_ms: u64,
    ) -> Applied {
        let record = self.nodes.get_mut(&node).ok_or(Refusal::NoNode(node))?;
        let state = record.state;
        match state {
            NodeState::Dead => return Ok(Outcome::Unchanged(record.state_epoch)),
            NodeState::Drained | NodeState::Removed => return Err(Refusal::WrongState { node, state }),
            _ if from != state => return Err(Refusal::WrongState { node, state }),
            NodeState::Active | NodeState::Joining | NodeState::Draining => {}
        }
        if unseen_ms < DEAD_UNSEEN_MS {
            return Err(Refusal::SeenLately { node, unseen_ms, needed_ms: DEAD_UNSEEN_MS });
        }
        record.state = NodeState::Dead;
        record.state_epoch = at;
        record.seen = false;
        if record.role == Role::Index {
            self.turn_to_loading(at, node);
        }
        self.groups
            .values_mut()
            .filter(|group| group.leader == Some(node))
            .for_each(|group| group.leader = None);
        self.visible(at)
    }

    /// Dead, Drained → Removed (invariant N1). That no table record names a data node was certified for `epoch`;
    /// what meta itself knows is checked here.
    pub(super) fn remove(&mut self, at: Epoch, node: NodeId, epoch: Epoch) -> Applied {
        let record = self.nodes.get(&node).ok_or(Refusal::NoNode(node))?;
        match record.state {
            NodeState::Removed => return Ok(Outcome::Unchanged(record.state_epoch)),
            NodeState::Dead | NodeState::Drained => {}
            state => return Err(Refusal::WrongState { node, state }),
        }
        if record.state_epoch != epoch {
            return Err(Refusal::StaleEpoch { present: record.state_epoch });
        }
        self.check_unnamed(node)?;
        if let Some(record) = self.nodes.get_mut(&node) {
            record.state = NodeState::Removed;
            record.state_epoch = at;
            record.seen = false;
        }
        self.visible(at)
    }

    /// Tells a node's failure domain.
    pub(super) fn set_zone(&mut self, at: Epoch, node: NodeId, zone: String) -> Applied {
        check_text("the zone", &zone)?;
        self.live_node(node)?;
        let record = self.nodes.get_mut(&node).ok_or(Refusal::NoNode(node))?;
        record.zone_set = true;
        if record.zone == zone {
            return Ok(Outcome::Unchanged(self.epoch));
        }
        record.zone = zone;
        self.visible(at)
    }

    /// A hint for those who choose whom to ask.
    pub(super) fn set_seen(
        &mut self,
        at: Epoch,
        node: NodeId,
        incarnation: Incarnation,
        seen: bool,
    ) -> Applied {
        let record = self.started_node(node, incarnation)?;
        if record.is_lost() {
            return Err(Refusal::WrongState { node, state: record.state });
        }
        if record.seen == seen {
            return Ok(Outcome::Unchanged(self.epoch));
        }
        record.seen = seen;
        self.visible(at)
    }

    /// The volume of a dead node may be thrown away. Index nodes keep their ids, so theirs is never released.
    pub(super) fn release_volume(&mut self, at: Epoch, node: NodeId, epoch: Epoch) -> Applied {
        let record = self.nodes.get_mut(&node).ok_or(Refusal::NoNode(node))?;
        if record.role == Role::Index {
            return Err(Refusal::WrongRole(node));
        }
        if record.released {
            return Ok(Outcome::Unchanged(self.epoch));
        }
        if record.state != NodeState::Dead {
            return Err(Refusal::WrongState { node, state: record.state });
        }
        if record.state_epoch != epoch {
            return Err(Refusal::StaleEpoch { present: record.state_epoch });
        }
        record.released = true;
        Ok(Outcome::Done(at))
    }

    /// Refuses if a placement, a shard or a grant names the node.
    fn check_unnamed(&self, node: NodeId) -> Result<(), Refusal> {
        if self.groups.values().any(|group| group.names(node)) {
            return Err(Refusal::StillNamed(node, "a replica of a group"));
        }
        if self.shards.iter().any(|shard| shard.nodes().contains(&node)) {
            return Err(Refusal::StillNamed(node, "an index shard"));
        }
        if self.grant.as_ref().is_some_and(|grant| grant.node == node) {
            return Err(Refusal::StillNamed(node, "a grant to stop it"));
        }
        Ok(())
    }
}

/// The incarnation that a start gets, if it may register (protocols §2).
fn next_incarnation(known: Option<&NodeRecord>, said: &Registration) -> Result<Incarnation, Refusal> {
    let recorded = known.map_or(Incarnation::ZERO, |known| known.incarnation);
    if let Some(known) = known {
        if known.role != said.role {
            return Err(Refusal::WrongRole(said.node));
        }
        if known.released || (known.state == NodeState::Removed && said.role != Role::Index) {
            return Err(Refusal::NodeGone(said.node));
        }
    }
    let same_start = known.is_some_and(|known| known.nonce == said.nonce) && recorded > Incarnation::ZERO;
    match said.incarnation {
        Some(given) if given > recorded => Ok(given),
        Some(given) if given == recorded && same_start => Ok(given),
        Some(_) => Err(Refusal::RolledBackOrInUse { node: said.node, recorded }),
        None if said.role != Role::Index => Err(Refusal::Invalid {
            field: "the incarnation",
            problem: "is absent; only index nodes are given one",
        }),
        None if same_start => Ok(recorded),
        None => Ok(recorded.next()),
    }
}

/// The record after a registration.
fn registered(
    known: Option<&NodeRecord>,
    said: &Registration,
    incarnation: Incarnation,
    at: Epoch,
) -> NodeRecord {
    let (state, state_epoch) = match known {
        None => (NodeState::Joining, at),
        Some(known) if known.is_lost() => (NodeState::Joining, at),
        Some(known) => (known.state, known.state_epoch),
    };
    let set = known.filter(|known| known.zone_set);
    NodeRecord {
        role: said.role,
        name: said.name.clone(),
        address: said.address.clone(),
        zone: set.map_or_else(|| said.zone.clone(), |known| known.zone.clone()),
        zone_set: set.is_some(),
        version: said.version.clone(),
        level_max: said.level_max,
        incarnation,
        nonce: said.nonce,
        state,
        state_epoch,
        released: false,
        seen: true,
    }
}
