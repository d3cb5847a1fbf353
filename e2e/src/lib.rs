//! Stories on a real Kubernetes cluster, seen from outside, and the load inside it whose history is judged.
//!
//! Needs `docker`, `kind`, `kubectl` and `helm` on PATH, and nothing else. `cargo xtask e2e` builds the images and runs it.
//!
//! | module | holds |
//! |---|---|
//! | [`run`] | a whole run: cluster, images, charts, stories, the table at the end |
//! | [`stories`] | the stories |
//! | [`stage`] | a story's namespace, and the words in which it is told |
//! | [`world`] | what all stories share |
//! | [`loading`], [`verdict`] | a load seen from outside, and the judgement of its history |
//! | [`load`], [`wire`] | the load inside the cluster, and what it sends |
//! | [`cluster`], [`kube`], [`program`] | kind, kubectl and helm |
//! | [`evidence`] | what is kept of a story that failed |
//! | [`wait`] | waiting for conditions |

#![expect(clippy::disallowed_methods, reason = "it writes files of its own; it is never simulated")]

pub mod cluster;
pub mod evidence;
pub mod kube;
pub mod load;
pub mod loading;
pub mod program;
pub mod run;
pub mod stage;
pub mod stories;
pub mod verdict;
pub mod wait;
pub mod wire;
pub mod world;
