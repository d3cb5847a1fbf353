//! The outside world as ports. Nothing else in Lamina reads a clock, draws a random number, touches a disk or
//! starts a task, so that the simulator (`crates/sim`) can be the world instead.
//!
//! | module | holds | in the simulator |
//! |---|---|---|
//! | [`time`] | monotonic time and timers, over tokio's | tokio's paused clock, which jumps when all tasks wait |
//! | [`clock`] | the wall clock of a node, in milliseconds | the simulated time plus a skew per node |
//! | [`random`] | random numbers | one seeded generator per thread |
//! | [`task`] | tasks that end with their node; heavy work beside them | the same tasks, heavy work in place |
//! | [`watch`] | a value that others wait on, woken in order | the same |
//! | [`disk`] | files: the port, the operating system's form, the one in memory, the faulty one | memory, with faults |
//!
//! [`Env`] is what one node gets of it.

pub mod clock;
pub mod disk;
pub mod random;
pub mod task;
pub mod time;
pub mod watch;

use std::sync::Arc;

pub use clock::Clock;
pub use disk::{Disk, File};
pub use task::TaskGroup;

/// The outside world of one node. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// The node's wall clock.
    pub clock: Arc<dyn Clock>,
    /// The node's volume; paths are relative to it.
    pub disk: Arc<dyn Disk>,
}
