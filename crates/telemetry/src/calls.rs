//! Rate, errors and duration of the operations that a process serves, by port and operation.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::durations::Durations;
use crate::metrics::{Metrics, NameError};

/// The result of an operation that succeeded; others are named by their reason, in capitals.
pub const OK: &str = "OK";

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct CallLabels {
    port: &'static str,
    operation: &'static str,
    result: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct DurationLabels {
    port: &'static str,
    operation: &'static str,
}

/// The metrics of served operations. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Calls {
    calls: Family<CallLabels, Counter>,
    seconds: Family<DurationLabels, Durations>,
}

/// The metrics of one operation, looked up once: what a stream keeps, because looking up costs more than counting.
#[derive(Clone, Debug)]
pub struct CallsOf {
    port: &'static str,
    operation: &'static str,
    ok: Counter,
    seconds: Durations,
    all: Calls,
}

impl Calls {
    /// Registers `lamina_rpc_calls_total{port,operation,result}` and `lamina_rpc_call_seconds{port,operation}`.
    ///
    /// # Errors
    /// They are registered already.
    pub fn register(metrics: &Metrics) -> Result<Calls, NameError> {
        let calls = Calls { calls: Family::default(), seconds: Family::default() };
        metrics.register("lamina_rpc_calls_total", "Operations answered", calls.calls.clone())?;
        metrics.register("lamina_rpc_call_seconds", "Time from receipt to answer", calls.seconds.clone())?;
        Ok(calls)
    }

    /// The metrics of one operation.
    pub fn of(&self, port: &'static str, operation: &'static str) -> CallsOf {
        let ok = self.calls.get_or_create_owned(&CallLabels { port, operation, result: OK });
        let seconds = self.seconds.get_or_create_owned(&DurationLabels { port, operation });
        CallsOf { port, operation, ok, seconds, all: self.clone() }
    }
}

impl CallsOf {
    /// The name of the operation.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// Counts one answer: [`OK`], or the word of the reason.
    pub fn record(&self, result: &'static str, duration: Duration) {
        if result == OK {
            self.ok.inc();
        } else {
            let labels = CallLabels { port: self.port, operation: self.operation, result };
            self.all.calls.get_or_create(&labels).inc();
        }
        self.seconds.observe(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successes_and_failures_are_counted_apart_and_timed_together() {
        let metrics = Metrics::new();
        let get = Calls::register(&metrics).unwrap().of("kv", "Get");
        get.record(OK, Duration::from_micros(80));
        get.record("OVERLOADED", Duration::from_millis(3));
        get.record(OK, Duration::from_micros(90));
        let text = metrics.encode();
        assert!(
            text.contains(r#"lamina_rpc_calls_total{port="kv",operation="Get",result="OK"} 2"#),
            "{text}"
        );
        assert!(text.contains(r#"result="OVERLOADED"} 1"#), "{text}");
        assert!(text.contains(r#"lamina_rpc_call_seconds_count{port="kv",operation="Get"} 3"#), "{text}");
    }
}
