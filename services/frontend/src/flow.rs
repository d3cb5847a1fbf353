//! Flows: one verb each, one page of story each. They ask the heart, use the hands, tell the heart.

pub mod read;
pub mod route;
pub mod scan;
pub mod search;
pub mod snapshot;
pub mod write;
pub mod writer;
