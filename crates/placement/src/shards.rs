//! Which index nodes serve each index shard. The first node of a shard's list is the preferred one.

use std::collections::{BTreeMap, BTreeSet};

use lamina_types::{NodeId, ShardId};

use crate::balance::balanced_choice;
use crate::site::{Site, Zones};

/// For each shard, in the order of their numbers, who serves it.
pub type ShardMap = Vec<Vec<NodeId>>;

/// One replica of a shard goes from a node that is lost to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replacement {
    /// The shard.
    pub shard: ShardId,
    /// Who is lost.
    pub out: NodeId,
    /// Who takes its place.
    pub into: NodeId,
}

/// The first map: each shard on `replication` nodes (on all, if there are fewer), spread over zones first and
/// evenly over nodes second; and each node preferred for an equal part of the shards. Neighbours are mixed, so
/// that the load of a lost node spreads over many others.
pub fn first_map(shards: u16, replication: u32, sites: &[Site]) -> ShardMap {
    let mut plan = Plan::new(sites, &[]);
    let mut map: ShardMap = Vec::with_capacity(usize::from(shards));
    for _ in 0..shards {
        let mut chosen = Vec::new();
        for _ in 0..replication {
            let Some(node) = plan.next_for(&chosen, &BTreeSet::new()) else { break };
            plan.take(node, &chosen);
            chosen.push(node);
        }
        map.push(chosen);
    }
    let preferred = balanced_choice(&map);
    for (list, first) in map.iter_mut().zip(preferred) {
        list.sort_by_key(|node| Some(*node) != first);
    }
    map
}

/// Replaces the nodes of `lost` in `map` by nodes of `sites`, as far as there are any that do not serve the shard
/// already. What is not lost does not move.
pub fn repair(map: &[Vec<NodeId>], lost: &BTreeSet<NodeId>, sites: &[Site]) -> Vec<Replacement> {
    let mut plan = Plan::new(sites, map);
    let mut out = Vec::new();
    for (shard, list) in (0..).map(ShardId).zip(map) {
        let mut stay: Vec<NodeId> = list.iter().copied().filter(|node| !lost.contains(node)).collect();
        for gone in list.iter().filter(|node| lost.contains(*node)) {
            let Some(into) = plan.next_for(&stay, lost) else { break };
            plan.take(into, &stay);
            stay.push(into);
            out.push(Replacement { shard, out: *gone, into });
        }
    }
    out
}

/// The shard for a new tablet: the one with the least load; of several, the one whose preferred node, then whose
/// nodes together carry least. `loads` has the load of each shard in the order of their numbers, in any one unit
/// (tablets, or bytes plus something for each tablet, so that an empty one counts too). `None` if there is no shard.
pub fn shard_for_tablet(map: &[Vec<NodeId>], loads: &[u64]) -> Option<ShardId> {
    let mut of_node: BTreeMap<NodeId, u64> = BTreeMap::new();
    for (list, load) in map.iter().zip(loads) {
        for node in list {
            let sum = of_node.entry(*node).or_default();
            *sum = sum.saturating_add(*load);
        }
    }
    let load_of = |node: &NodeId| of_node.get(node).copied().unwrap_or(0);
    let key = |(shard, load): &(ShardId, u64)| {
        let list = map.get(usize::from(shard.0)).map(Vec::as_slice).unwrap_or_default();
        let preferred = list.first().map_or(0, load_of);
        let together = list.iter().map(load_of).fold(0u64, u64::saturating_add);
        (*load, preferred, together, *shard)
    };
    (0..).map(ShardId).zip(loads.iter().copied()).min_by_key(key).map(|(shard, _)| shard)
}

/// What each node carries while a map is made.
struct Plan<'a> {
    sites: &'a [Site],
    load: BTreeMap<NodeId, usize>,
    together: BTreeMap<(NodeId, NodeId), usize>,
}

impl<'a> Plan<'a> {
    fn new(sites: &'a [Site], map: &[Vec<NodeId>]) -> Plan<'a> {
        let mut plan = Plan { sites, load: BTreeMap::new(), together: BTreeMap::new() };
        for list in map {
            for (at, node) in list.iter().enumerate() {
                plan.take(*node, list.get(..at).unwrap_or_default());
            }
        }
        plan
    }

    fn take(&mut self, node: NodeId, with: &[NodeId]) {
        *self.load.entry(node).or_default() += 1;
        for other in with {
            *self.together.entry(pair(node, *other)).or_default() += 1;
        }
    }

    fn next_for(&self, chosen: &[NodeId], not: &BTreeSet<NodeId>) -> Option<NodeId> {
        let mut zones = Zones::new(self.sites.iter());
        chosen.iter().for_each(|node| zones.choose(*node));
        let key = |node: &NodeId| {
            let load = self.load.get(node).copied().unwrap_or(0);
            let shared = |other: &NodeId| self.together.get(&pair(*node, *other)).copied().unwrap_or(0);
            (zones.crowding(*node), load, chosen.iter().map(shared).sum::<usize>(), *node)
        };
        let free = |node: &NodeId| !chosen.contains(node) && !not.contains(node);
        self.sites.iter().map(|site| site.node).filter(free).min_by_key(key)
    }
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

#[cfg(test)]
mod tests;
