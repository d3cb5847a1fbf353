//! Which copies were verified since a data node died (protocols §10.5, invariant N2).

use std::collections::BTreeMap;

use lamina_engine::tree::TableRecord;
use lamina_group::data::GroupView;
use lamina_peers::view::{ClusterView, NodeState};
use lamina_types::{Epoch, NodeId, TableId};
use parking_lot::Mutex;

/// Copies that were read and verified in this reign: for each the epoch of the cluster's view when that began. A death
/// of that epoch or an earlier one came before it.
#[derive(Default)]
pub struct Verified(Mutex<BTreeMap<(TableId, NodeId), Epoch>>);

impl Verified {
    /// A copy was read and verified, which began under this view.
    pub fn note(&self, table: TableId, node: NodeId, epoch: Epoch) {
        let mut copies = self.0.lock();
        let known = copies.entry((table, node)).or_default();
        *known = (*known).max(epoch);
    }

    /// Whether a copy of the table on a node that takes part, other than the lost ones, was verified since `death`.
    pub fn has_since(
        &self,
        table: TableId,
        record: &TableRecord,
        cluster: &ClusterView,
        death: Epoch,
    ) -> bool {
        let copies = self.0.lock();
        let verified = |node: &NodeId| copies.get(&(table, *node)).is_some_and(|epoch| *epoch >= death);
        record.copies.keys().any(|node| holds(cluster, *node) && verified(node))
    }

    /// Forgets tables that are gone.
    pub fn keep_only_live(&self, view: &GroupView) {
        self.0.lock().retain(|(table, _), _| view.is_live(*table));
    }
}

/// Live tables that name a lost node and have another copy that was verified since that node's death; of a table that
/// names several, since the death of each. `lost` says when each node died; `None`: it is not known to be dead, and
/// nothing counts as verified.
pub fn count_verified(
    verified: &Verified,
    view: &GroupView,
    cluster: &ClusterView,
    lost: &[(NodeId, Option<Epoch>)],
) -> u64 {
    let is_verified = |table: TableId, record: &TableRecord| {
        let mut named = lost.iter().filter(|(node, _)| record.copies.contains_key(node)).peekable();
        let since = |death: Option<Epoch>| {
            death.is_some_and(|death| verified.has_since(table, record, cluster, death))
        };
        named.peek().is_some() && named.all(|(_, death)| since(*death))
    };
    view.live_tables().filter(|(table, record)| is_verified(*table, record)).count() as u64
}

/// When a data node died, if it is dead by both the map and the group's own bans: the later of the two counts.
pub fn death_of(view: &GroupView, cluster: &ClusterView, node: NodeId) -> Option<Epoch> {
    let known = cluster.node(node).filter(|known| known.state == NodeState::Dead)?;
    let ban = view.bans.get(&node).filter(|ban| ban.banned)?;
    Some(known.state_epoch.max(ban.epoch))
}

/// Whether a node takes part, so that its copies count.
pub fn holds(cluster: &ClusterView, node: NodeId) -> bool {
    let state = cluster.node(node).map(|node| node.state);
    matches!(state, Some(NodeState::Active | NodeState::Joining))
}
