//! What a process tells about itself: logs, metrics, and the HTTP door for both.
//!
//! | module | holds |
//! |---|---|
//! | [`logs`] | log lines, as text or JSON, filtered by `LAMINA_LOG` |
//! | [`metrics`] | the registry and the rule of names (docs/metrics.md) |
//! | [`calls`] | rate, errors and duration of every operation of every port |
//! | [`durations`] | times, counted without a lock |
//! | [`http`] | `/live` `/ready` `/metrics` and a page |
//! | [`memory`] | what the allocator holds |

pub mod calls;
pub mod durations;
pub mod http;
pub mod logs;
pub mod memory;
pub mod metrics;

pub use calls::Calls;
pub use durations::Durations;
pub use http::{HttpDoor, HttpOptions};
pub use metrics::Metrics;
