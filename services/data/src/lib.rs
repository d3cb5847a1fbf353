//! The data service: the data blocks of every table, as sealed files that never change.
//!
//! ```text
//! door        DataRequest → one flow → DataAnswer
//! flows       write · read · look up · copy · link · delete · list · compact · scrub
//! heart       catalogue (which tables are sealed here) · jobs (which merges run here)
//! hands       store (names and files on the volume) · open files · tails · peers
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`options`] | what a node may be told |
//! | [`service`] | the start of a node, and what stands for it in its process |
//! | [`member`] | one node from its start to its end: volume, registration, service |
//! | [`metrics`] | figures for Prometheus, all under `lamina_data_` |
//! | `door` | `impl Port<DataRequest, DataAnswer>` |
//! | `flows` | one module for each verb |
//! | `heart` | state without IO and without a clock |
//! | `hands` | files and peers |
//! | `node` | the rooms of one node, as flows see them |
//!
//! Files: `docs/formats/data-files.md`. Protocols: 7 (tables), 7.5 (copies), 11 (fallback of lookups).

mod door;
mod fault;
mod flows;
mod hands;
mod heart;
pub mod member;
pub mod metrics;
mod node;
pub mod options;
pub mod service;

pub use member::{DataNode, DataNodeOptions, Ended};
pub use metrics::DataMetrics;
pub use options::DataOptions;
pub use service::{DataService, StartError};
