//! Which data nodes hold the copies of a table.
//!
//! Each tablet has its own order of the data nodes (weighted rendezvous hashing), and its tables go to the front of
//! it: so the tables of a tablet lie together, which lets a compaction read its inputs locally, and a node that
//! comes or goes changes the order of few tablets.

use std::collections::BTreeMap;

use lamina_types::{NodeId, TabletId};

use crate::site::{Site, Zones};

/// An Active data node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataSite {
    /// The node and its zone.
    pub site: Site,
    /// Room on its volume, in bytes; 0 with `total_bytes` 0: not known.
    pub free_bytes: u64,
    /// The size of its volume, in bytes; 0 if not known.
    pub total_bytes: u64,
}

/// What a data node is good for, seen by a leader that looks after copies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// Its copies count (Active, or back soon: Joining).
    Holds,
    /// Its copies can be read, but shall be elsewhere (Draining, Drained).
    Leaves,
    /// Its copies do not count (Dead, Removed, unknown).
    Lost,
}

/// What the copies of a table lack.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Audit {
    /// How many copies are to be made.
    pub missing: u32,
    /// Copies that may be taken out of the record now: never so many that fewer than the replication factor, or
    /// than there are now, remain that count (invariant T5).
    pub superfluous: Vec<NodeId>,
}

/// The nodes for the copies of a new table of `tablet`, first to last: at most `replication`, fewer if there are
/// fewer sites. Spread over zones first; then the tablet's own order decides. Nodes with less than a twentieth of
/// their volume free come last.
pub fn choose(tablet: TabletId, replication: u32, sites: &[DataSite]) -> Vec<NodeId> {
    let mut chosen = Vec::new();
    for _ in 0..replication {
        let Some(node) = next(tablet, &chosen, sites) else { break };
        chosen.push(node);
    }
    chosen
}

/// The node for one more copy of a table of `tablet` that has `copies`, of which those on lost nodes do not matter
/// for the spread; `None` if each site has one.
pub fn repair_target(tablet: TabletId, copies: &[NodeId], sites: &[DataSite]) -> Option<NodeId> {
    next(tablet, copies, sites)
}

/// Compares the copies in a table's record with what they should be.
pub fn audit(
    tablet: TabletId,
    copies: &[NodeId],
    replication: u32,
    standing: &BTreeMap<NodeId, Standing>,
    sites: &[DataSite],
) -> Audit {
    let of = |node: &NodeId| standing.get(node).copied().unwrap_or(Standing::Lost);
    let (mut holding, others): (Vec<NodeId>, Vec<NodeId>) =
        copies.iter().copied().partition(|node| of(node) == Standing::Holds);
    let wanted = replication as usize;
    let Some(excess) = holding.len().checked_sub(wanted) else {
        let missing = u32::try_from(wanted - holding.len()).unwrap_or(u32::MAX);
        return Audit { missing, superfluous: Vec::new() };
    };
    let keep = keep_best(tablet, wanted, &holding, sites);
    holding.retain(|node| !keep.contains(node));
    holding.truncate(excess);
    Audit { missing: 0, superfluous: others.into_iter().chain(holding).collect() }
}

/// Of `holding`, the `wanted` nodes that [`choose`] would take if there were no others.
fn keep_best(tablet: TabletId, wanted: usize, holding: &[NodeId], sites: &[DataSite]) -> Vec<NodeId> {
    let only: Vec<DataSite> =
        sites.iter().filter(|data| holding.contains(&data.site.node)).cloned().collect();
    let mut keep = choose(tablet, u32::try_from(wanted).unwrap_or(u32::MAX), &only);
    let unlisted = holding.iter().copied().filter(|node| !keep.contains(node)).collect::<Vec<_>>();
    keep.extend(unlisted.into_iter().take(wanted.saturating_sub(keep.len())));
    keep
}

fn next(tablet: TabletId, chosen: &[NodeId], sites: &[DataSite]) -> Option<NodeId> {
    let mut zones = Zones::new(sites.iter().map(|data| &data.site));
    chosen.iter().for_each(|node| zones.choose(*node));
    let rank = |data: &&DataSite| {
        let node = data.site.node;
        (zones.crowding(node), nearly_full(data), Distance(distance(tablet, data)), node)
    };
    sites.iter().filter(|data| !chosen.contains(&data.site.node)).min_by_key(rank).map(|data| data.site.node)
}

fn nearly_full(data: &DataSite) -> bool {
    data.free_bytes < data.total_bytes / 20
}

/// A distance that is never NaN, so that it has a total order.
#[derive(PartialEq)]
struct Distance(f64);

impl Eq for Distance {}

impl PartialOrd for Distance {
    fn partial_cmp(&self, other: &Distance) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Distance {
    fn cmp(&self, other: &Distance) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Weighted rendezvous hashing: the node with the least −ln(u) / weight is first, u being a hash of tablet and node
/// in (0, 1]. So each node is first in a share of tablets that is proportional to its weight. The weight is the free
/// room rounded down to a power of two: an order changes when a node's room halves, not with each table.
fn distance(tablet: TabletId, data: &DataSite) -> f64 {
    let node = data.site.node.0;
    let words = [u64::from(tablet.group.0), tablet.index, (node >> 64) as u64, node as u64];
    let hash = words.into_iter().fold(0, |hash, word| mix(hash ^ word));
    let unit = ((hash >> 11) + 1) as f64 / (1u64 << 53) as f64;
    let weight = (1u64 << data.free_bytes.max(1).ilog2()) as f64;
    -unit.ln() / weight
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014), after one step of its sequence.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
