//! A node where something may be put.

use std::collections::BTreeMap;

use lamina_types::NodeId;

/// A node that may be given something: an Active one of the role in question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// The node.
    pub node: NodeId,
    /// Its failure domain. Nodes whose domain is not known (empty) count as one domain.
    pub zone: String,
}

/// Counts in which zones the nodes chosen so far lie.
pub(crate) struct Zones<'a> {
    zones: BTreeMap<NodeId, &'a str>,
    chosen: BTreeMap<&'a str, usize>,
}

impl<'a> Zones<'a> {
    pub(crate) fn new(sites: impl Iterator<Item = &'a Site>) -> Zones<'a> {
        Zones { zones: sites.map(|site| (site.node, site.zone.as_str())).collect(), chosen: BTreeMap::new() }
    }

    /// Counts a chosen node; one that is no site (any more) counts nowhere.
    pub(crate) fn choose(&mut self, node: NodeId) {
        if let Some(zone) = self.zones.get(&node) {
            *self.chosen.entry(zone).or_default() += 1;
        }
    }

    /// How many chosen nodes share the zone of `node`.
    pub(crate) fn crowding(&self, node: NodeId) -> usize {
        self.zones.get(&node).and_then(|zone| self.chosen.get(zone)).copied().unwrap_or(0)
    }
}
