//! Doors: what a frontend takes from others. Each decodes nothing and decides nothing: it calls one flow.

pub mod admin;
pub mod figures;
pub mod group;
pub mod kv;
pub mod raft;
