//! Log groups as their users see them, in the simulated world.

#[path = "all/fleet.rs"]
mod fleet;
#[path = "all/journal.rs"]
mod journal;

#[path = "all/chaos.rs"]
mod chaos;
#[path = "all/disk.rs"]
mod disk;
#[path = "all/group.rs"]
mod group;
