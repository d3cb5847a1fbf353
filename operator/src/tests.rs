//! A whole small world in which the operator is crashed, shown stale lists and refused by the API server, thousands of times.
//!
//! | module | holds |
//! |---|---|
//! | [`api`] | an API server behind kube's client: objects, server-side apply, preconditions, evictions |
//! | [`request`] | what a request asks for |
//! | [`controllers`] | the StatefulSet controller, the garbage collector, kubelets, the provisioner of volumes |
//! | [`fakestore`] | the administration of a store that lives on the volumes of that world |
//! | [`world`] | all of it, with a clock, and faults |
//! | [`stories`] | single stories |
//! | [`troubles`] | what a cluster does to a store, and what a person does by hand |
//! | [`wakes`] | what wakes passes |
//! | [`wedges`] | what once could wedge a store |
//! | [`runs`] | seeded runs |
//! | [`rights`] | what the operator may do and does; what it looks at |

mod api;
mod controllers;
mod fakestore;
mod request;
mod rights;
mod runs;
mod stories;
mod troubles;
mod wakes;
mod wedges;
pub mod world;
