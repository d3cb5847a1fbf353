//! One whole store: the wiring of the three services, the supervisor of `lamina up`, the embedded API.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | [`Store`]: a whole store in one process, supervised |
//! | [`assemble`] | one node of each role behind its guard |
//! | [`network`] | peers inside one process |
//! | `overview` | what the HTTP door shows of the nodes of this process |
//! | [`directory`] | what lies in the directory of `lamina up` |
//! | [`error`] | why a store does not start, or ended |
//! | [`entrance`] | what is looked at before a store starts there, and before anything is written |
//! | `patience` | what a start that takes long waits for |
//! | [`volumes`] | where the volumes of nodes come from |
//! | [`keeper`] | replaces nodes whose volume is lost |
//! | [`process`] | one node as a process of its own, over gRPC |
//! | [`processes`] | a whole store as one process for each node |
//!
//! The same services run in all forms; only what lies between them differs.

pub mod assemble;
pub mod directory;
pub mod entrance;
pub mod error;
pub mod keeper;
pub mod network;
mod overview;
mod patience;
pub mod process;
pub mod processes;
pub mod store;
pub mod volumes;

pub use error::UpError;
pub use lamina_consensus::verify_checkpoint;
pub use network::LocalNetwork;
pub use process::{NodeOptions, run_data, run_frontend, run_index};
pub use processes::Processes;
pub use store::{StatusPage, Store, UpOptions};
pub use volumes::{OsVolumes, UnsyncedVolumes, Volumes};
