//! What a meta leader has heard: the latest heartbeat of each node. Kept in its memory for its reign only, and
//! never part of the state.

use std::collections::{BTreeMap, BTreeSet};

use lamina_peers::admin::{Heartbeat, LedGroup};
use lamina_types::{Epoch, GroupId, Incarnation, KeyRange, NodeId, ReplicaId, ShardId};

use super::entry::Found;
use super::state::MetaState;

/// Listens to heartbeats. Times are milliseconds of one clock that does not go back, the caller's.
#[derive(Clone, Debug)]
pub struct Observer {
    since_ms: u64,
    nodes: BTreeMap<NodeId, (u64, Heartbeat)>,
    groups: BTreeMap<GroupId, GroupObserved>,
}

/// What a meta leader knows beside the state when it decides.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Observed {
    /// The bootstrap record, if this process was given one: it founds the store with it.
    pub bootstrap: Option<Found>,
    /// For how long this leader has listened, in milliseconds.
    pub leading_ms: u64,
    /// Who was heard in this reign.
    pub nodes: BTreeMap<NodeId, NodeObserved>,
    /// What leaders of groups say, each the one with the highest term.
    pub groups: BTreeMap<GroupId, GroupObserved>,
    /// Frontends whose replicas are all caught up ([`super::guard::caught_up_frontends`]). Only needed while a
    /// grant for a frontend is out.
    pub caught_up: BTreeSet<NodeId>,
    /// Data nodes that no group names any more ([`super::guard::can_forget`]), with the epoch of the state for which
    /// the groups were asked. Only needed for released data nodes.
    pub forgettable: BTreeMap<NodeId, Epoch>,
}

/// The latest heartbeat of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeObserved {
    /// Of which start.
    pub incarnation: Incarnation,
    /// How long ago, in milliseconds.
    pub silent_ms: u64,
    /// The node's view then.
    pub epoch: Epoch,
    /// Index nodes: shards that are complete, by that view.
    pub complete: BTreeSet<ShardId>,
}

/// What the leader of a group says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupObserved {
    /// The leader.
    pub leader: NodeId,
    /// Its term.
    pub term: u64,
    /// The leader's view then.
    pub epoch: Epoch,
    /// Voters of the committed uniform configuration; empty while it is joint.
    pub voters: BTreeSet<ReplicaId>,
    /// The keys of its tablets.
    pub ranges: Vec<KeyRange>,
    /// Data nodes whose ban the group has applied, with its epoch.
    pub bans: BTreeMap<NodeId, Epoch>,
    /// Replicas that rejected what they had acknowledged to this leader (rule G7).
    pub shut_out: BTreeSet<ReplicaId>,
}

impl Observer {
    /// Begins to listen, with a new reign.
    pub fn new(now_ms: u64) -> Observer {
        Observer { since_ms: now_ms, nodes: BTreeMap::new(), groups: BTreeMap::new() }
    }

    /// Takes a heartbeat that the state admits ([`super::MetaState::admits`]).
    pub fn heartbeat(&mut self, heartbeat: Heartbeat, now_ms: u64) {
        let node = heartbeat.node;
        let older = |(_, known): &(u64, Heartbeat)| {
            (known.incarnation, known.epoch) > (heartbeat.incarnation, heartbeat.epoch)
        };
        if self.nodes.get(&node).is_some_and(older) {
            return;
        }
        for led in &heartbeat.leads {
            if self.groups.get(&led.group).is_none_or(|known| known.term <= led.term) {
                self.groups.insert(led.group, GroupObserved::new(node, heartbeat.epoch, led));
            }
        }
        self.nodes.insert(node, (now_ms, heartbeat));
    }

    /// Hears of a node in another way (its registration).
    pub fn registered(&mut self, node: NodeId, incarnation: Incarnation, now_ms: u64) {
        if self.nodes.get(&node).is_some_and(|(_, known)| known.incarnation >= incarnation) {
            return;
        }
        let said = Heartbeat {
            node,
            incarnation,
            epoch: Epoch::ZERO,
            complete: Vec::new(),
            leads: Vec::new(),
            replicas: Vec::new(),
        };
        self.nodes.insert(node, (now_ms, said));
    }

    /// How long this leader has not heard of a node; at most for how long it has listened, because it cannot know
    /// more.
    pub fn unseen_ms(&self, node: NodeId, now_ms: u64) -> u64 {
        let since = self.nodes.get(&node).map_or(self.since_ms, |(at, _)| *at);
        now_ms.saturating_sub(since)
    }

    /// A group of which the node's volume has lost entries that it had acknowledged, if some leader says so of a
    /// replica that is placed there.
    pub fn shut_out_on(&self, state: &MetaState, node: NodeId) -> Option<GroupId> {
        let lost = |(group, said): &(&GroupId, &GroupObserved)| {
            let record = state.groups().get(*group).filter(|record| said.term >= record.term);
            let placed = |replica: &ReplicaId| record?.replicas.get(replica).map(|placed| placed.node);
            said.shut_out.iter().any(|replica| placed(replica) == Some(node))
        };
        self.groups.iter().find(lost).map(|(group, _)| *group)
    }

    /// What is known now.
    pub fn observed(&self, now_ms: u64) -> Observed {
        let one = |(node, (at, said)): (&NodeId, &(u64, Heartbeat))| {
            let seen = NodeObserved {
                incarnation: said.incarnation,
                silent_ms: now_ms.saturating_sub(*at),
                epoch: said.epoch,
                complete: said.complete.iter().copied().collect(),
            };
            (*node, seen)
        };
        Observed {
            leading_ms: now_ms.saturating_sub(self.since_ms),
            nodes: self.nodes.iter().map(one).collect(),
            groups: self.groups.clone(),
            ..Observed::default()
        }
    }
}

impl Observed {
    /// How long the present start of a node has been silent, as far as this leader can know.
    pub(super) fn silent_ms(&self, node: NodeId, incarnation: Incarnation) -> u64 {
        let heard = self.nodes.get(&node).filter(|seen| seen.incarnation == incarnation);
        heard.map_or(self.leading_ms, |seen| seen.silent_ms)
    }

    /// Whether this start of the node was heard within `within_ms`.
    pub(super) fn answers(&self, node: NodeId, incarnation: Incarnation, within_ms: u64) -> bool {
        let heard = self.nodes.get(&node).filter(|seen| seen.incarnation == incarnation);
        heard.is_some_and(|seen| seen.silent_ms < within_ms)
    }
}

impl GroupObserved {
    fn new(leader: NodeId, epoch: Epoch, led: &LedGroup) -> GroupObserved {
        GroupObserved {
            leader,
            term: led.term,
            epoch,
            voters: led.voters.iter().copied().collect(),
            ranges: led.ranges.clone(),
            bans: led.bans.iter().copied().collect(),
            shut_out: led.shut_out.iter().copied().collect(),
        }
    }
}
