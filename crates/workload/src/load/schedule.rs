//! When the next call is due, and when there is none any more.

use std::sync::atomic::{AtomicU64, Ordering};

use lamina_env::time::{self, Duration, Instant};

/// How late a timer may wake a caller without the store being to blame. What is later counts as waiting.
const TIMER_SLACK: Duration = Duration::from_millis(2);

/// Hands out calls to all callers of a run.
#[derive(Debug)]
pub(crate) struct Schedule {
    start: Instant,
    deadline: Option<Instant>,
    operations_max: u64,
    next: AtomicU64,
    /// Between two calls, in nanoseconds; `None`: closed loop.
    interval_ns: Option<f64>,
}

impl Schedule {
    pub fn new(duration: Option<Duration>, operations_max: Option<u64>, rate: Option<f64>) -> Schedule {
        let start = time::now();
        Schedule {
            start,
            deadline: duration.map(|duration| start + duration),
            operations_max: operations_max.unwrap_or(u64::MAX),
            next: AtomicU64::new(0),
            interval_ns: rate.map(|rate| 1e9 / rate),
        }
    }

    /// Waits until the next call is due and gives the moment from which its latency counts; `None`: the run is over.
    pub async fn next(&self) -> Option<Instant> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        if ticket >= self.operations_max {
            return None;
        }
        let over = |moment: Instant| self.deadline.is_some_and(|deadline| moment >= deadline);
        let now = time::now();
        if over(now) {
            return None;
        }
        let Some(interval) = self.interval_ns else { return Some(now) };
        let due = self.start + Duration::from_nanos((ticket as f64 * interval) as u64);
        if over(due) {
            return None;
        }
        if due <= now {
            // All callers were busy: the store, or the way to it, is behind. The wait counts.
            return Some(due);
        }
        time::sleep_until(due).await;
        let woken = time::now();
        Some(if woken > due + TIMER_SLACK { due } else { woken })
    }

    /// How much of the run is over, from 0 to 1, if its end is known.
    pub fn done(&self) -> Option<f64> {
        let by_time = self.deadline.map(|deadline| {
            let whole = deadline.duration_since(self.start).as_secs_f64();
            self.start.elapsed().as_secs_f64() / whole
        });
        let given = self.next.load(Ordering::Relaxed).min(self.operations_max) as f64;
        let by_count = (self.operations_max < u64::MAX).then(|| given / self.operations_max as f64);
        match (by_time, by_count) {
            (None, None) => None,
            (time, count) => Some(time.unwrap_or(0.0).max(count.unwrap_or(0.0)).min(1.0)),
        }
    }

    pub fn start(&self) -> Instant {
        self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_nobody_could_make_in_time_counts_from_when_it_was_due() {
        let schedule = Schedule::new(None, Some(3), Some(100.0));
        let start = schedule.start();
        assert_eq!(schedule.next().await, Some(start));
        assert_eq!(schedule.next().await, Some(start + Duration::from_millis(10)));
        time::sleep(Duration::from_secs(5)).await;
        assert_eq!(schedule.next().await, Some(start + Duration::from_millis(20)), "not from now on");
        assert_eq!(schedule.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_loop_ends_at_its_deadline() {
        let schedule = Schedule::new(Some(Duration::from_secs(1)), None, Some(10.0));
        let mut calls = 0;
        while schedule.next().await.is_some() {
            calls += 1;
        }
        assert_eq!(calls, 10);
        assert_eq!(schedule.start().elapsed(), Duration::from_millis(900));
    }
}
