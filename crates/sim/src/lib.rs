//! The deterministic world: clock, disks, network, faults and nodes, all in one seeded thread.
//!
//! A [`World`] runs a scenario on a runtime of one thread whose clock is simulated: it stands still while anybody
//! has something to do, and jumps to the next timer when all wait. Everything that happens by chance is drawn from
//! the seed, so a failing run is repeated exactly by its seed:
//!
//! ```
//! use lamina_env::{random, task, time};
//! use lamina_sim::World;
//!
//! let (sum, digest) = World::run_traced(7, async |world: World| {
//!     let late = task::spawn(async {
//!         time::sleep(time::Duration::from_secs(3600 / 2)).await;
//!         random::between(0, 100)
//!     });
//!     let drawn = late.await.unwrap();
//!     world.trace(format_args!("drew {drawn}"));
//!     drawn
//! });
//! # let _ = (sum, digest);
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`world`] | [`World`]: the runtime, what a failed run prints |
//! | [`trace`] | what happened, and its digest |
//! | [`node`] | [`SimNode`]: tasks that a crash ends, a disk that survives it, a clock that may be wrong |
//! | [`network`] | [`SimNetwork`]: calls that come late, twice or never |
//! | [`faults`] | [`faults::FaultSchedule`]: what goes wrong when, drawn from the seed |
//!
//! What makes two runs of one seed equal: one thread; no timers but the simulated ones; randomness from
//! [`lamina_env::random`]; no hash maps with a random order where it can be seen; and of tokio nothing that draws
//! random numbers of its own: `tokio::select!` without `biased` and `tokio::sync::watch` do, while `mpsc`,
//! `oneshot`, `Notify`, `Semaphore`, `Mutex`, `RwLock`, `broadcast`, `JoinSet` and the timers do not.

pub mod faults;
pub mod network;
pub mod node;
pub mod trace;
pub mod world;

pub use network::SimNetwork;
pub use node::SimNode;
pub use trace::Digest;
pub use world::World;
