//! One module for each command of a client.

pub mod batch;
pub mod bench;
pub mod doctor;
pub mod explain;
pub mod export;
pub mod import;
pub mod keys;
pub mod progress;
pub mod scan;
pub mod upkeep;
