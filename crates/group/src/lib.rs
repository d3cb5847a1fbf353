//! The replicated state machines and their log entries: pure apply

pub mod data;
