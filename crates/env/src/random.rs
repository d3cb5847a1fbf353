//! Random numbers. In the simulator one seeded generator serves a whole thread, and so a whole world; outside it
//! each thread has the operating system's seed.

use std::cell::RefCell;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

thread_local! {
    static SEEDED: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// Seeds this thread: from here on it draws the same numbers in each run. For the simulator and for tests.
pub fn seed_this_thread(seed: u64) {
    SEEDED.with(|seeded| *seeded.borrow_mut() = Some(StdRng::seed_from_u64(seed)));
}

/// Ends [`seed_this_thread`].
pub fn unseed_this_thread() {
    SEEDED.with(|seeded| *seeded.borrow_mut() = None);
}

/// Whether this thread draws from a seed, that is, whether it is a simulated world.
pub fn is_seeded() -> bool {
    SEEDED.with(|seeded| seeded.borrow().is_some())
}

/// Draws with the thread's generator.
#[expect(clippy::disallowed_methods, reason = "this is the port to randomness")]
pub fn with<T>(draw: impl FnOnce(&mut dyn Rng) -> T) -> T {
    SEEDED.with(|seeded| match seeded.borrow_mut().as_mut() {
        Some(rng) => draw(rng),
        None => draw(&mut rand::rng()),
    })
}

/// 64 random bits.
pub fn u64() -> u64 {
    with(|rng| rng.random())
}

/// 128 random bits, for ids.
pub fn u128() -> u128 {
    with(|rng| rng.random())
}

/// A number from `low` (included) to `high` (excluded); `low` if the range is empty.
pub fn between(low: u64, high: u64) -> u64 {
    if low >= high { low } else { with(|rng| rng.random_range(low..high)) }
}

#[cfg(test)]
mod tests;
