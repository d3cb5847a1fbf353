//! One whole store: the wiring of the three services, the supervisor of `lamina up`, the embedded API.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | [`Store`]: a whole store in one process, supervised |
//! | [`assemble`] | one node of each role behind its guard |
//! | [`network`] | peers inside one process |
//! | [`directory`] | what lies in the directory of `lamina up` |
//! | [`process`] | one node as a process of its own, over gRPC |
//! | [`processes`] | a whole store as one process for each node |
//!
//! The same services run in all forms; only what lies between them differs.

pub mod assemble;
pub mod directory;
pub mod network;
pub mod process;
pub mod processes;
pub mod store;

pub use network::LocalNetwork;
pub use process::{NodeOptions, run_data, run_frontend, run_index};
pub use processes::Processes;
pub use store::{Store, UpError, UpOptions};
