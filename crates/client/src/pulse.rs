//! Whether calls of a client get on: for how long some have been open while none came to an end.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use lamina_env::time::{self, Duration, Instant};

/// Open calls, and when the last one ended. Two atomics for each call.
pub(crate) struct Pulse {
    begun: Instant,
    open: AtomicUsize,
    /// Milliseconds from `begun` to the last end of a call, or to the first begin behind a pause.
    last: AtomicU64,
}

/// A call, as long as it lives.
pub(crate) struct Open<'a>(&'a Pulse);

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse { begun: time::now(), open: AtomicUsize::new(0), last: AtomicU64::new(0) }
    }
}

impl Pulse {
    /// A call begins.
    pub fn open(&self) -> Open<'_> {
        if self.open.fetch_add(1, Ordering::Relaxed) == 0 {
            self.beat();
        }
        Open(self)
    }

    /// For how long calls have been open of which none ended; `None`: no call is open.
    pub fn still_for(&self) -> Option<Duration> {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        let open = self.open.load(Ordering::Relaxed) > 0;
        open.then(|| self.begun.elapsed().saturating_sub(last))
    }

    fn beat(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.beat();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_stand_still_from_the_last_end_on_while_one_is_open() {
        let pulse = Pulse::default();
        assert_eq!(pulse.still_for(), None);
        time::sleep(Duration::from_secs(5)).await;
        let first = pulse.open();
        assert_eq!(pulse.still_for(), Some(Duration::ZERO));
        time::sleep(Duration::from_secs(2)).await;
        let second = pulse.open();
        assert_eq!(pulse.still_for(), Some(Duration::from_secs(2)));
        drop(second);
        assert_eq!(pulse.still_for(), Some(Duration::ZERO));
        drop(first);
        assert_eq!(pulse.still_for(), None);
    }
}
