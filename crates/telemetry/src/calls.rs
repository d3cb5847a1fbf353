//! Rate, errors and duration of the operations that a process serves, by port and operation.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::durations::Durations;
use crate::metrics::{Metrics, NameError};

/// The result of an operation that succeeded; others are named by their reason, in capitals.
pub const OK: &str = "OK";
/// The result of a client's call that only a lost copy explains. One is reason enough to wake somebody, and a rise is seen only of
/// a counter that was there before: so it is there from the first call on, at 0.
const LOSS: &str = "DATA_LOSS";
/// The port of clients.
const CLIENTS: &str = "kv";

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
    known: Arc<OnceLock<Box<Known>>>,
}

/// A list of what was looked up, which only grows: read without a lock.
#[derive(Debug)]
struct Known {
    of: CallsOf,
    next: OnceLock<Box<Known>>,
}

/// The metrics of one operation, looked up once: what a stream keeps, because looking up costs more than counting.
#[derive(Clone, Debug)]
pub struct CallsOf {
    port: &'static str,
    operation: &'static str,
    ok: Counter,
    seconds: Durations,
    calls: Family<CallLabels, Counter>,
}

impl Calls {
    /// Registers `lamina_rpc_calls_total{port,operation,result}` and `lamina_rpc_call_seconds{port,operation}`.
    ///
    /// # Errors
    /// They are registered already.
    pub fn register(metrics: &Metrics) -> Result<Calls, NameError> {
        let calls = Calls { calls: Family::default(), seconds: Family::default(), known: Arc::default() };
        metrics.register("lamina_rpc_calls_total", "Operations answered", calls.calls.clone())?;
        metrics.register("lamina_rpc_call_seconds", "Time from receipt to answer", calls.seconds.clone())?;
        Ok(calls)
    }

    /// The metrics of one operation.
    pub fn of(&self, port: &'static str, operation: &'static str) -> CallsOf {
        let ok = self.calls.get_or_create_owned(&CallLabels { port, operation, result: OK });
        let seconds = self.seconds.get_or_create_owned(&DurationLabels { port, operation });
        if port == CLIENTS {
            drop(self.calls.get_or_create(&CallLabels { port, operation, result: LOSS }));
        }
        CallsOf { port, operation, ok, seconds, calls: self.calls.clone() }
    }

    /// Counts one answer of an operation: for callers that cannot keep a [`CallsOf`]. Looks it up once all the same.
    pub fn record(&self, port: &'static str, operation: &'static str, result: &'static str, took: Duration) {
        let mut place = &*self.known;
        loop {
            let known =
                place.get_or_init(|| Box::new(Known { of: self.of(port, operation), next: OnceLock::new() }));
            if known.of.port == port && known.of.operation == operation {
                return known.of.record(result, took);
            }
            place = &known.next;
        }
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
            self.calls.get_or_create(&labels).inc();
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

    #[test]
    fn a_loss_is_counted_from_0_on_and_of_clients_only() {
        let metrics = Metrics::new();
        let calls = Calls::register(&metrics).unwrap();
        let get = calls.of("kv", "Get");
        calls.record("raft", "Append", OK, Duration::from_micros(80));
        let text = metrics.encode();
        assert!(text.contains(r#"{port="kv",operation="Get",result="DATA_LOSS"} 0"#), "{text}");
        assert_eq!(text.matches("DATA_LOSS").count(), 1, "{text}");
        get.record("DATA_LOSS", Duration::from_micros(80));
        let text = metrics.encode();
        assert!(text.contains(r#"{port="kv",operation="Get",result="DATA_LOSS"} 1"#), "{text}");
    }

    #[test]
    fn operations_that_are_counted_by_name_are_counted_with_those_that_were_looked_up() {
        let metrics = Metrics::new();
        let calls = Calls::register(&metrics).unwrap();
        calls.of("kv", "Get").record(OK, Duration::from_micros(80));
        for (port, operation) in
            [("kv", "Get"), ("admin", "Get"), ("kv", "Write"), ("kv", "Get"), ("kv", "Write")]
        {
            calls.record(port, operation, OK, Duration::from_micros(80));
        }
        let text = metrics.encode();
        for (port, operation, count) in [("kv", "Get", 3), ("admin", "Get", 1), ("kv", "Write", 2)] {
            let labels = format!(r#"port="{port}",operation="{operation}""#);
            assert!(
                text.contains(&format!(r#"lamina_rpc_calls_total{{{labels},result="OK"}} {count}"#)),
                "{text}"
            );
            assert!(text.contains(&format!("lamina_rpc_call_seconds_count{{{labels}}} {count}")), "{text}");
        }
    }
}
