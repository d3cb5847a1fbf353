//! Lamina's Kubernetes resources: what a user writes, what the operator answers, and what is refused before anything
//! is done.
//!
//! | module | holds |
//! |---|---|
//! | [`cluster`] | `StorageCluster`: one store |
//! | [`status`] | what the operator says of a store, within 8 KiB |
//! | [`operation`] | `StorageOperation`: something to be done once, outside the spec |
//! | [`reasons`] | the types of conditions, and every reason that one can have |
//! | [`quantity`] | sizes and processor shares |
//! | [`rules`] | the rules of validation: CEL and words |
//! | [`check`] | the same validation without an API server: for `lamina up -f` and `kubectl lamina plan` |
//! | [`shape`] | a spec as plain numbers, for whoever starts a store |
//! | [`definitions`] | the CustomResourceDefinitions as they are installed |
//! | [`yaml`] | the only place that reads and writes YAML |
//!
//! Every field of a spec has a default, so `spec: {}` is a store of three nodes of each role. Every string, list and map
//! has a bound: the API server estimates what a rule can cost, and refuses definitions that could cost too much.
//!
//! Fields and conditions that nothing implements are absent. They come with what they do.

pub mod check;
pub mod cluster;
pub mod definitions;
pub mod operation;
pub mod quantity;
pub mod reasons;
pub mod rules;
mod schema;
pub mod shape;
pub mod status;
pub mod yaml;

pub use check::{Finding, Findings};
pub use cluster::{StorageCluster, StorageClusterSpec};
pub use operation::{StorageOperation, StorageOperationSpec, StorageOperationStatus};
pub use quantity::{Bytes, Cpu};
pub use reasons::{ConditionType, Reason};
pub use shape::Shape;
pub use status::{Condition, StorageClusterStatus, Verdict};

/// The API group of all kinds.
pub const GROUP: &str = "lamina.dev";
/// The version of all kinds.
pub const VERSION: &str = "v1alpha1";
