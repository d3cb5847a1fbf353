//! The project's own tools: what holds the house together and is no part of the store.
//!
//! | module | does |
//! |---|---|
//! | [`tidy`] | proves the rules of the house: sizes, words, walls between modules and crates, paths in documents |
//! | [`errors`] | writes `docs/errors.md` from the reasons of `crates/types` |
//! | [`crdgen`] | writes the Kubernetes definitions, and the pages about their fields and conditions |
//! | [`protogen`] | writes the Rust code of the protobuf files |
//! | [`peers`] | measures Lamina beside etcd and Redis |
//! | [`image`] | makes the container image without a registry |
//! | [`charts`] | lints the Helm charts, compares what they render with what is committed |
//! | [`e2e`] | builds what the stories on Kubernetes need, and runs them |

#![expect(
    clippy::disallowed_methods,
    reason = "a tool reads and writes the repository; it is never simulated"
)]

pub mod charts;
pub mod crdgen;
pub mod e2e;
pub mod errors;
pub mod image;
pub mod peers;
pub mod protogen;
pub mod tidy;

use std::path::PathBuf;

/// The root of the repository that these tools were built from.
#[must_use]
pub fn repository() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or(here.clone(), PathBuf::from)
}
