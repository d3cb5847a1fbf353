//! Back-pressure: how fast writes may come, from how fast flushes go. Delay first, then refuse; never a cliff.
//!
//! While memtables are below half of their budget, and trees are below half of their bound of runs, writes pass.
//! Above, they pass at a rate: what flushes take away, less the fuller it is. A write that would have to wait too
//! long is refused before it gets into the log, with the time after which it is worth another try.

use lamina_env::time::{self, Duration, Instant};
use lamina_types::{Error, Reason, Result};
use parking_lot::Mutex;

/// The longest that a write waits before it is refused.
const WAIT_MAX: Duration = Duration::from_millis(1_000);
/// The rate at which nothing can go lower: the store never stands still while flushes go on.
const RATE_MIN: f64 = 256.0 * 1024.0;
/// What is assumed of flushes before one was measured, in bytes per second.
const RATE_FIRST: f64 = 32.0 * 1024.0 * 1024.0;

/// Back-pressure of one group.
pub struct Throttle(Mutex<State>);

struct State {
    /// Bytes per second; `None`: no limit.
    rate: Option<f64>,
    /// Everything is full: nothing passes.
    full: bool,
    /// When what was let in so far will have passed at the present rate.
    passed_at: Instant,
    /// Bytes per second that flushes took away lately.
    flush_rate: f64,
    delayed: u64,
    refused: u64,
}

/// How a group presses back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pressure {
    /// Writes pass at a rate only.
    pub slows: bool,
    /// No write passes.
    pub stops: bool,
    /// Writes that had to wait since the start.
    pub delayed: u64,
    /// Writes that were refused since the start.
    pub refused: u64,
}

/// How full a group is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Fullness {
    /// Bytes of memtables.
    pub memtable_bytes: u64,
    /// Their budget.
    pub memtable_bytes_max: u64,
    /// Runs over one key, at most.
    pub runs: usize,
    /// The bound of that.
    pub runs_max: usize,
}

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle(Mutex::new(State {
            rate: None,
            full: false,
            passed_at: time::now(),
            flush_rate: RATE_FIRST,
            delayed: 0,
            refused: 0,
        }))
    }
}

impl Throttle {
    /// A flush took this many bytes of a memtable away in this time.
    pub fn flushed(&self, bytes: u64, took: Duration) {
        let rate = bytes as f64 / took.as_secs_f64().max(0.001);
        let mut state = self.0.lock();
        state.flush_rate = 0.7 * state.flush_rate + 0.3 * rate;
    }

    /// The group is this full now.
    pub fn set(&self, fullness: Fullness) {
        let memory = fullness.memtable_bytes as f64 / fullness.memtable_bytes_max.max(1) as f64;
        let runs = fullness.runs as f64 / fullness.runs_max.max(1) as f64;
        let used = memory.max(runs);
        let mut state = self.0.lock();
        state.full = memory >= 1.0 || runs >= 1.5;
        state.rate = (used > 0.5).then(|| {
            // At three quarters as fast as flushes; faster below, slower above.
            let factor = (2.0 * (1.0 - used) / 0.5).clamp(0.05, 2.0);
            (state.flush_rate * factor).max(RATE_MIN)
        });
    }

    /// How it presses back now.
    pub fn pressure(&self) -> Pressure {
        let state = self.0.lock();
        Pressure {
            slows: state.rate.is_some(),
            stops: state.full,
            delayed: state.delayed,
            refused: state.refused,
        }
    }

    /// Lets a write of this many bytes in: at once, or after a wait.
    ///
    /// # Errors
    /// `OVERLOADED`: nothing was done; the error says when to try again.
    pub async fn admit(&self, bytes: usize) -> Result<()> {
        let until = self.reserve(bytes)?;
        if let Some(until) = until {
            time::sleep_until(until).await;
        }
        Ok(())
    }

    fn reserve(&self, bytes: usize) -> Result<Option<Instant>> {
        let mut state = self.0.lock();
        if state.full {
            state.refused += 1;
            return Err(overloaded(WAIT_MAX));
        }
        let Some(rate) = state.rate else { return Ok(None) };
        let now = time::now();
        let start = state.passed_at.max(now);
        let wait = start.saturating_duration_since(now);
        if wait > WAIT_MAX {
            state.refused += 1;
            return Err(overloaded(wait.saturating_sub(WAIT_MAX / 2)));
        }
        state.passed_at = start + Duration::from_secs_f64(bytes as f64 / rate);
        // Timers tick in milliseconds: shorter waits add up until they are worth one.
        let waits = wait >= Duration::from_millis(1);
        state.delayed += u64::from(waits);
        Ok(waits.then_some(start))
    }
}

fn overloaded(wait: Duration) -> Error {
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(10);
    Error::new(
        Reason::Overloaded,
        "the store takes no more writes at this rate: memtables fill faster than they can be flushed; nothing was done",
    )
    .retry_after_ms(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fullness(memtable_bytes: u64, runs: usize) -> Fullness {
        Fullness { memtable_bytes, memtable_bytes_max: 100, runs, runs_max: 20 }
    }

    #[tokio::test(start_paused = true)]
    async fn writes_pass_while_there_is_room_wait_when_it_gets_less_and_are_refused_when_there_is_none() {
        let throttle = Throttle::default();
        throttle.set(fullness(40, 3));
        assert_eq!(throttle.reserve(1 << 20), Ok(None));
        throttle.set(fullness(80, 3));
        let start = time::now();
        for _ in 0..20 {
            throttle.admit(1 << 20).await.unwrap();
        }
        assert!(start.elapsed() > Duration::from_millis(100), "20 MiB take their time at a limited rate");
        throttle.set(fullness(100, 3));
        let refused = throttle.admit(1).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::Overloaded);
        assert!(refused.retry_after().is_some());
        let pressure = throttle.pressure();
        assert!(pressure.slows && pressure.stops && pressure.delayed > 0, "{pressure:?}");
        assert_eq!(pressure.refused, 1);
        throttle.set(fullness(10, 3));
        throttle.admit(1 << 20).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_never_grows_beyond_its_bound() {
        let throttle = Throttle::default();
        throttle.set(fullness(99, 3));
        let mut refused = 0;
        for _ in 0..10_000 {
            match throttle.reserve(1 << 16) {
                Ok(until) => {
                    let wait =
                        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(time::now()));
                    assert!(wait <= WAIT_MAX);
                }
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 9_000);
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_runs_slow_writes_down_as_well() {
        let throttle = Throttle::default();
        throttle.set(fullness(0, 18));
        for _ in 0..100 {
            let _ = throttle.reserve(1 << 20);
        }
        assert!(matches!(throttle.reserve(1), Ok(Some(_)) | Err(_)));
    }
}
