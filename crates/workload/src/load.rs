//! The load generator.
//!
//! A **closed loop** has a fixed number of callers, each of which calls again when it was answered: it measures how
//! much a store takes. An **open loop** has a fixed rate, whatever the store does: it measures how long one waits.
//! There a call that could not be made in time because all callers still waited counts from the moment at which it
//! should have been made, so a store that stalls cannot hide it (coordinated omission).
//!
//! | module | holds |
//! |---|---|
//! | [`mix`] | [`Mix`]: which operations, in which shares |
//! | [`keys`] | which key is next: uniform, zipfian, latest; how keys and values look |
//! | [`schedule`] | when the next call is due |
//! | [`meter`] | histograms of latency, second by second |
//! | [`outcome`] | [`Outcome`]: what was measured, as JSON |
//! | [`runner`] | [`run`] |

pub mod keys;
mod meter;
pub mod mix;
pub mod outcome;
mod runner;
mod schedule;

use lamina_env::time::Duration;
use serde::Serialize;

pub use keys::Distribution;
pub use mix::Mix;
pub use outcome::Outcome;
pub use runner::run;

use crate::target::Unreachable;

/// What is run.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Which operations.
    pub mix: Mix,
    /// Keys that are there, or that `fill` writes.
    pub keys: u64,
    /// Bytes of a key, at least 16.
    pub key_bytes: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Which keys are asked for.
    pub distribution: Distribution,
    /// Rows of a scan, at most.
    pub scan_rows: u32,
    /// Connections to the store.
    pub connections: u32,
    /// Callers on each connection.
    pub in_flight: u32,
    /// Operations per second (open loop); `None`: as many as it takes (closed loop).
    pub rate: Option<f64>,
    /// Ends after so many operations.
    pub operations: Option<u64>,
    /// Ends after this time.
    pub duration: Option<Duration>,
    /// What is measured in this time counts for nothing.
    pub warm_up: Duration,
    /// The same seed asks for the same keys.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            mix: Mix::Mixed,
            keys: 100_000,
            key_bytes: 16,
            value_bytes: 128,
            distribution: Distribution::Uniform,
            scan_rows: 100,
            connections: 1,
            in_flight: 64,
            rate: None,
            operations: None,
            duration: None,
            warm_up: Duration::ZERO,
            seed: 1,
        }
    }
}

/// How far a run is, once a second.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Since the begin.
    pub elapsed: Duration,
    /// Operations that were answered.
    pub operations: u64,
    /// Of those, failures.
    pub errors: u64,
    /// Answered in the last second.
    pub per_second: f64,
    /// The 99th percentile of the last second, in microseconds.
    pub p99_us: f64,
    /// From 0 to 1, if the end is known.
    pub done: Option<f64>,
}

/// Why there is no outcome.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoadError {
    /// The plan makes no sense.
    #[error("{0}")]
    Plan(String),
    /// The store cannot be reached.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The kind of store has no such operation.
    #[error("{0}")]
    Unsupported(String),
}

impl Plan {
    /// Refuses a plan that makes no sense.
    ///
    /// # Errors
    /// [`LoadError::Plan`], with what to change.
    pub fn check(&self) -> Result<(), LoadError> {
        let refuse = |why: &str| Err(LoadError::Plan(why.to_owned()));
        if self.keys == 0 {
            return refuse("there are no keys; name at least one");
        }
        if self.key_bytes < keys::KEY_BYTES_MIN {
            return refuse("a key of the load generator has at least 16 bytes");
        }
        if self.connections == 0 || self.in_flight == 0 {
            return refuse("there is no caller; connections and operations in flight are at least 1");
        }
        if self.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return refuse("the rate is not above 0 operations per second");
        }
        if self.operations.is_none() && self.duration.is_none() && self.mix != Mix::Fill {
            return refuse("the run has no end; name a number of operations or a duration");
        }
        Ok(())
    }

    /// After how many operations the run ends.
    pub(crate) fn operations_max(&self) -> Option<u64> {
        match (self.mix, self.operations, self.duration) {
            (Mix::Fill, None, _) => Some(self.keys),
            (Mix::Fill, Some(operations), _) => Some(operations.min(self.keys)),
            (_, operations, _) => operations,
        }
    }
}
