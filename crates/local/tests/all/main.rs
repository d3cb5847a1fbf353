//! Whole stores in this process, on real files.

mod doors;
mod full;
mod inputs;
mod large_parts;
mod losses;
mod rig;
mod stores;
