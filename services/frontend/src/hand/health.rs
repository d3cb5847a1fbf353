//! Which nodes did not answer lately, so that the next call goes to another one first.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamina_env::time::{self, Duration, Instant};
use lamina_types::NodeId;
use parking_lot::Mutex;

/// How long a node that did not answer is asked last.
const SUSPECT: Duration = Duration::from_secs(1);

/// Remembers which nodes did not answer. Cheap to clone; clones share what they know.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<NodeId, Instant>>>);

impl Health {
    /// The node did not answer.
    pub fn suspect(&self, node: NodeId) {
        self.0.lock().insert(node, time::now() + SUSPECT);
    }

    /// The node answered.
    pub fn trust(&self, node: NodeId) {
        let mut suspects = self.0.lock();
        if !suspects.is_empty() {
            suspects.remove(&node);
        }
    }

    /// Whether the node did not answer lately.
    pub fn is_suspect(&self, node: NodeId) -> bool {
        let suspects = self.0.lock();
        suspects.get(&node).is_some_and(|until| time::now() < *until)
    }

    /// Puts the nodes that did not answer lately behind the others; keeps the order otherwise.
    pub fn order(&self, nodes: &mut [NodeId]) {
        nodes.sort_by_key(|node| self.is_suspect(*node));
    }
}
