//! The program from outside, as a real process: its words and exit codes, and what a whole store does under faults.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests of real processes and files in real time"
)]

mod commands;
mod damage;
mod files;
mod kills;
mod program;
mod refusals;
mod replacement;
mod waiting;
