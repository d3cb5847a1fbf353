//! Disruption budgets: one eviction at a time while a role's redundancy is full, else none.

use lamina_crds::operation::Component;
use serde_json::{Value, json};

use super::metadata;
use crate::names::Key;

/// The budget of a role. None is made for a single pod: it could never be satisfied.
pub fn budget(key: &Key, owner: &str, component: Component, full: bool) -> Value {
    // A pod that is not ready holds nothing that others wait for, except in memory that would have to be loaded again.
    let unhealthy = if component == Component::Index { "IfHealthyBudget" } else { "AlwaysAllow" };
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(key, owner, &key.set(component), Some(component)),
        "spec": {
            "maxUnavailable": u32::from(full),
            "unhealthyPodEvictionPolicy": unhealthy,
            "selector": { "matchLabels": key.selector(Some(component)) },
        },
    })
}
