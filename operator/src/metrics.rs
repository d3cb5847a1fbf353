//! Figures of the operator itself.

use lamina_crds::{ConditionType, StorageClusterStatus, Verdict};
use lamina_env::time::Duration;
use lamina_telemetry::Durations;
use lamina_telemetry::metrics::NameError;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::names::Key;

/// Figures of the operator itself. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    passes: Counter,
    failures: Counter,
    steps: Counter,
    refusals: Counter,
    seconds: Durations,
    leading: Gauge,
    conditions: Family<ConditionLabels, Gauge>,
}

/// Which condition of which store.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ConditionLabels {
    namespace: String,
    store: String,
    r#type: String,
}

impl Metrics {
    /// Figures, registered.
    ///
    /// # Errors
    /// They are registered already.
    pub fn new(registry: &lamina_telemetry::Metrics) -> Result<Metrics, NameError> {
        Ok(Metrics {
            passes: registry.counter("lamina_operator_passes_total", "Passes over stores")?,
            failures: registry.counter(
                "lamina_operator_reconcile_failures_total",
                "Passes that failed, and steps that did",
            )?,
            steps: registry.counter("lamina_operator_steps_total", "Steps that were taken")?,
            refusals: registry.counter(
                "lamina_operator_refusals_total",
                "Steps that the store or a budget did not allow yet",
            )?,
            seconds: registry.seconds("lamina_operator_pass_seconds", "Time of a pass")?,
            leading: registry.gauge("lamina_operator_leading", "1: this operator holds the lease")?,
            conditions: conditions(registry)?,
        })
    }

    /// What is said of a store.
    pub fn conditions(&self, key: &Key, status: &StorageClusterStatus) {
        for condition in &status.conditions {
            let value = match condition.status {
                Verdict::True => 1,
                Verdict::False => 0,
                Verdict::Unknown => -1,
            };
            self.conditions.get_or_create(&labels(key, &condition.kind)).set(value);
        }
    }

    /// The store is gone.
    pub fn forget(&self, key: &Key) {
        for kind in ConditionType::ALL {
            self.conditions.remove(&labels(key, kind.as_str()));
        }
    }

    /// A pass ended.
    pub fn passed(&self, time: Duration, failed: bool) {
        self.passes.inc();
        self.failures.inc_by(u64::from(failed));
        self.seconds.observe(time);
    }

    /// What came of a plan.
    pub fn steps(&self, taken: usize, refused: usize, failed: usize) {
        self.steps.inc_by(taken as u64);
        self.refusals.inc_by(refused as u64);
        self.failures.inc_by(failed as u64);
    }

    /// Whether this operator holds the lease.
    pub fn leading(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }
}

fn conditions(registry: &lamina_telemetry::Metrics) -> Result<Family<ConditionLabels, Gauge>, NameError> {
    let family = Family::default();
    registry.register(
        "lamina_operator_condition",
        "Conditions of stores: 1 true, 0 false, -1 unknown",
        family.clone(),
    )?;
    Ok(family)
}

fn labels(key: &Key, kind: &str) -> ConditionLabels {
    ConditionLabels { namespace: key.namespace.clone(), store: key.name.clone(), r#type: kind.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_figure_is_documented_and_every_documented_one_is_shown() {
        let registry = lamina_telemetry::Metrics::new();
        let metrics = Metrics::new(&registry).unwrap();
        let key = Key { namespace: "ns".into(), name: "orders".into() };
        metrics.conditions.get_or_create(&labels(&key, "Ready")).set(1);
        let page = include_str!("../../docs/metrics.md");
        let names = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let documented: BTreeSet<&str> =
            names.map(|(name, _)| name).filter(|name| name.starts_with("lamina_operator_")).collect();
        let text = registry.encode();
        let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let shown: BTreeSet<String> = families
            .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
            .filter(|name| name.starts_with("lamina_operator_"))
            .collect();
        assert_eq!(documented, shown.iter().map(String::as_str).collect());
    }
}
