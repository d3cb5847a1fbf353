//! Figures of the operator itself.

use lamina_telemetry::metrics::NameError;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// Figures of the operator itself. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    passes: Counter,
    failures: Counter,
    steps: Counter,
    refusals: Counter,
    seconds: Histogram,
    leading: Gauge,
}

impl Metrics {
    /// Figures, registered.
    ///
    /// # Errors
    /// They are registered already.
    pub fn new(registry: &lamina_telemetry::Metrics) -> Result<Metrics, NameError> {
        Ok(Metrics {
            passes: registry.counter("lamina_operator_passes_total", "Passes over stores")?,
            failures: registry
                .counter("lamina_operator_failures_total", "Passes that failed, and steps that did")?,
            steps: registry.counter("lamina_operator_steps_total", "Steps that were taken")?,
            refusals: registry.counter(
                "lamina_operator_refusals_total",
                "Steps that the store or a budget did not allow yet",
            )?,
            seconds: registry.seconds("lamina_operator_pass_seconds", "Time of a pass")?,
            leading: registry.gauge("lamina_operator_leading", "1: this operator holds the lease")?,
        })
    }

    /// A pass ended.
    pub fn passed(&self, seconds: f64, failed: bool) {
        self.passes.inc();
        self.failures.inc_by(u64::from(failed));
        self.seconds.observe(seconds);
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
