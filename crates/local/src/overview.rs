//! What the HTTP door of a process shows of its nodes: their figures, and whether they serve.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamina_env::clock::{Clock, OsClock};
use lamina_node::IdentityDoor;
use lamina_telemetry::Calls;
use lamina_telemetry::metrics::{Metrics, NameError};
use lamina_types::Role;
use parking_lot::Mutex;

/// The nodes of one process by their names. Cheap to clone; clones are the same overview.
#[derive(Clone)]
pub struct Overview {
    metrics: Metrics,
    calls: Calls,
    nodes: Arc<Mutex<BTreeMap<String, Shown>>>,
}

/// One node.
struct Shown {
    role: Role,
    /// `None`: it is not there at this moment.
    readiness: Option<Arc<IdentityDoor>>,
}

impl Overview {
    /// An overview of the process itself, which runs this version of the program, without nodes.
    ///
    /// # Errors
    /// A metric breaks the rule of names: a defect.
    pub fn new(version: &str) -> Result<Overview, NameError> {
        let metrics = Metrics::new();
        metrics.show_build(version, OsClock.now_ms())?;
        metrics.show_memory();
        let calls = Calls::register(&metrics)?;
        Ok(Overview { metrics, calls, nodes: Arc::default() })
    }

    /// The process should have this node.
    pub fn expect(&self, role: Role, name: &str) {
        self.nodes.lock().insert(name.to_owned(), Shown { role, readiness: None });
    }

    /// The node is there.
    pub fn came(&self, role: Role, name: &str, metrics: Metrics, readiness: Arc<IdentityDoor>) {
        self.metrics.show_node(name, metrics);
        self.nodes.lock().insert(name.to_owned(), Shown { role, readiness: Some(readiness) });
    }

    /// The node has ended; it is still one that should be there.
    pub fn left(&self, name: &str) {
        self.metrics.hide_node(name);
        if let Some(shown) = self.nodes.lock().get_mut(name) {
            shown.readiness = None;
        }
    }

    /// The metrics of the process and of all its nodes.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The metrics of the operations that the process serves over gRPC.
    pub fn calls(&self) -> Calls {
        self.calls.clone()
    }

    /// Whether the process serves: of each role that it has, more than half of the nodes do.
    ///
    /// # Errors
    /// Why not, in one sentence.
    pub fn ready(&self) -> Result<(), String> {
        let nodes = self.nodes.lock();
        for role in Role::ALL {
            let of_role: Vec<&Shown> = nodes.values().filter(|shown| shown.role == role).collect();
            let serves = |shown: &&&Shown| shown.readiness.as_ref().is_some_and(|door| door.is_ready());
            let serving = of_role.iter().filter(serves).count();
            if !of_role.is_empty() && serving * 2 <= of_role.len() {
                return Err(format!("{serving} of {} nodes of the role {role} serve", of_role.len()));
            }
        }
        Ok(())
    }
}
