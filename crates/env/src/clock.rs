//! Wall clocks. Used for hints of versions, logs and certificates, never for safety.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::time;

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970. May jump, forward and back.
    fn now_ms(&self) -> u64;
}

/// The clock of the machine.
#[derive(Clone, Copy, Default, Debug)]
pub struct OsClock;

impl Clock for OsClock {
    #[expect(clippy::disallowed_methods, reason = "this is the port to the machine's clock")]
    fn now_ms(&self) -> u64 {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since_1970.map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that follows the timers' time, so that it stands still and jumps as the simulator says.
#[derive(Debug)]
pub struct SimClock {
    start: time::Instant,
    start_ms: u64,
    skew_ms: AtomicI64,
}

impl SimClock {
    /// A clock that shows `start_ms` now.
    pub fn starting_at(start_ms: u64) -> SimClock {
        SimClock { start: time::now(), start_ms, skew_ms: AtomicI64::new(0) }
    }

    /// Makes the clock wrong by this many milliseconds from now on.
    pub fn set_skew_ms(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.start_ms.saturating_add(elapsed).saturating_add_signed(self.skew_ms.load(Ordering::Relaxed))
    }
}
