//! A data node from outside: its port, its disk, its neighbours.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that is surprised has failed"
)]

mod compactions;
mod copies;
mod crashes;
mod jobs;
mod lan;
mod reads;
mod real_disk;
mod sealing;
mod tables;
