//! Whole stores in this process, on real files.

mod full;
mod inputs;
mod stores;
