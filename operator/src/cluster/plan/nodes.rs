//! Which node a pod is.

use lamina_peers::admin::Status;
use lamina_peers::view::{NodeState, NodeView};

use super::Input;
use crate::cluster::seen::Place;
use crate::names::role;

/// The nodes of a place: those that bear its pod's name, or are expected at its address.
pub fn nodes_of<'a>(
    input: &'a Input<'_>,
    status: &'a Status,
    place: Place,
) -> impl Iterator<Item = &'a NodeView> {
    let (name, address) = (input.key.pod(place.0, place.1), input.key.address(place.0, place.1));
    let here =
        move |node: &&NodeView| node.role == role(place.0) && (node.name == name || node.address == address);
    status.view.nodes.iter().filter(here)
}

/// The node that a pod is now.
pub fn node_at<'a>(input: &'a Input<'_>, status: &'a Status, place: Place) -> Option<&'a NodeView> {
    let said = input.seen.identities.get(&place).and_then(|identity| identity.node);
    match said {
        Some(node) => status.view.node(node),
        // Ids are made in the order of time: the last one is the present one.
        None => nodes_of(input, status, place).filter(|node| !is_gone(node)).max_by_key(|node| node.node),
    }
}

/// Whether a node will not come back by itself.
pub fn is_gone(node: &NodeView) -> bool {
    matches!(node.state, NodeState::Dead | NodeState::Removed)
}
