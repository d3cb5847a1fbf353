//! The stories, by what goes wrong.

mod clocks;
mod disks;
mod machines;
mod network;
mod power;
mod tables;
mod tablets;
mod usual;
