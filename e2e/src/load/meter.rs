//! The figures of a load, by stretches.

use lamina_env::time::{self, Instant};
use lamina_types::Error;
use parking_lot::Mutex;

use crate::wire::Progress;

/// Failures that are told in words.
const TOLD_MAX: usize = 100;

/// Counts calls.
pub struct Meter(Mutex<Counts>);

struct Counts {
    progress: Progress,
    began: Instant,
    acknowledged_at: Instant,
    told: usize,
    untold: Vec<String>,
}

impl Meter {
    /// Nothing was called.
    pub fn new() -> Meter {
        let now = time::now();
        let counts = Counts {
            progress: Progress::default(),
            began: now,
            acknowledged_at: now,
            told: 0,
            untold: Vec::new(),
        };
        Meter(Mutex::new(counts))
    }

    /// Begins a new stretch.
    pub fn mark(&self) {
        let mut counts = self.0.lock();
        let now = time::now();
        counts.progress = Progress { stretch: counts.progress.stretch + 1, ..Progress::default() };
        counts.began = now;
        counts.acknowledged_at = now;
    }

    /// How the stretch goes.
    pub fn progress(&self) -> Progress {
        let counts = self.0.lock();
        let now = time::now();
        let gap = ms(counts.acknowledged_at, now);
        Progress {
            gap_ms_max: counts.progress.gap_ms_max.max(gap),
            took_ms: ms(counts.began, now),
            ..counts.progress
        }
    }

    /// Failures that were not told yet.
    pub fn failures(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().untold)
    }

    /// A write came to its end.
    pub fn wrote(&self, begun: Instant, result: Result<(), Error>) {
        let mut counts = self.0.lock();
        let now = time::now();
        counts.called(begun, now);
        match result {
            Ok(()) => {
                counts.progress.acknowledged += 1;
                let gap = ms(counts.acknowledged_at, now);
                counts.progress.gap_ms_max = counts.progress.gap_ms_max.max(gap);
                counts.acknowledged_at = now;
            }
            Err(error) => counts.failed("write", begun, now, &error),
        }
    }

    /// A read came to its end.
    pub fn has_read(&self, call: &str, begun: Instant, result: Result<(), Error>) {
        let mut counts = self.0.lock();
        let now = time::now();
        counts.called(begun, now);
        match result {
            Ok(()) => counts.progress.read += 1,
            Err(error) => counts.failed(call, begun, now, &error),
        }
    }
}

impl Counts {
    fn called(&mut self, begun: Instant, now: Instant) {
        self.progress.call_ms_max = self.progress.call_ms_max.max(ms(begun, now));
    }

    fn failed(&mut self, call: &str, begun: Instant, now: Instant, error: &Error) {
        self.progress.failed += 1;
        if self.told < TOLD_MAX {
            self.told += 1;
            let at = ms(self.began, now);
            self.untold.push(format!("a {call} failed at {at} ms after {} ms: {error}", ms(begun, now)));
        }
    }
}

fn ms(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use lamina_env::time::Duration;
    use lamina_types::Reason;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_gap_counts_the_one_under_way_and_begins_anew_with_each_stretch() {
        let meter = Meter::new();
        meter.mark();
        time::sleep(Duration::from_millis(30)).await;
        meter.wrote(time::now(), Ok(()));
        time::sleep(Duration::from_millis(70)).await;
        let progress = meter.progress();
        assert_eq!((progress.gap_ms_max, progress.took_ms, progress.acknowledged), (70, 100, 1));
        meter.mark();
        assert_eq!(meter.progress(), Progress { stretch: 2, ..Progress::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_write_is_no_acknowledged_one() {
        let meter = Meter::new();
        let begun = time::now();
        time::sleep(Duration::from_millis(40)).await;
        meter.wrote(begun, Err(Error::new(Reason::DeadlineExceeded, "too late")));
        meter.has_read("get", begun, Ok(()));
        let progress = meter.progress();
        assert_eq!((progress.acknowledged, progress.failed, progress.read), (0, 1, 1));
        assert_eq!((progress.gap_ms_max, progress.call_ms_max), (40, 40));
        assert_eq!(meter.failures().len(), 1);
        assert_eq!(meter.failures().len(), 0);
    }
}
