//! When a second index node is asked because the first one takes long: after the 95th percentile of what was observed,
//! for at most one call in fifty, and not while many calls wait (Dean and Barroso, "The Tail at Scale", 2013). A node
//! that is only slow then delays few reads, and a service that is overloaded gets no more work from this.

use lamina_env::time::Duration;
use parking_lot::Mutex;

/// Calls that are observed before the percentile counts.
const SAMPLES_MIN: usize = 32;
/// The last calls that are observed.
const SAMPLES: usize = 256;
/// Between two looks at the percentile, in calls.
const LOOK: usize = 32;
/// The wait before enough was observed.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// The wait is never shorter: a call on a busy machine takes that long now and then.
const WAIT_MIN: Duration = Duration::from_millis(1);
/// Extra calls for each call.
const SHARE: f64 = 0.02;
/// Extra calls that may be saved up.
const SAVED_MAX: f64 = 8.0;
/// With more calls under way the queues are long.
const UNDER_WAY_MAX: usize = 128;

/// The observations of one frontend.
#[derive(Default)]
pub struct Hedge(Mutex<State>);

struct State {
    samples: Vec<Duration>,
    next: usize,
    wait: Duration,
    saved: f64,
    under_way: usize,
}

impl Default for State {
    fn default() -> State {
        State { samples: Vec::new(), next: 0, wait: FIRST_WAIT, saved: 1.0, under_way: 0 }
    }
}

/// A call that is under way.
pub struct Call<'a>(&'a Hedge);

impl Hedge {
    /// A call begins; and how long it is waited for before a second one may be worth it.
    pub fn begin(&self) -> (Call<'_>, Duration) {
        let mut state = self.0.lock();
        state.under_way += 1;
        state.saved = (state.saved + SHARE).min(SAVED_MAX);
        (Call(self), state.wait)
    }

    fn observe(&self, took: Duration) {
        let mut state = self.0.lock();
        let at = state.next % SAMPLES;
        match state.samples.get_mut(at) {
            Some(sample) => *sample = took,
            None => state.samples.push(took),
        }
        state.next = state.next.wrapping_add(1);
        if state.samples.len() >= SAMPLES_MIN && state.next.is_multiple_of(LOOK) {
            let mut sorted = state.samples.clone();
            sorted.sort_unstable();
            let p95 = sorted.get(sorted.len() * 95 / 100).copied().unwrap_or(FIRST_WAIT);
            state.wait = p95.max(WAIT_MIN);
        }
    }
}

impl Call<'_> {
    /// Whether a second call may be made now; it is paid for then.
    pub fn may_hedge(&self) -> bool {
        let mut state = self.0.0.lock();
        let may = state.saved >= 1.0 && state.under_way <= UNDER_WAY_MAX;
        if may {
            state.saved -= 1.0;
        }
        may
    }

    /// The node that was asked first answered after this time, or had not by then.
    pub fn took(&self, took: Duration) {
        self.0.observe(took);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.0.lock().under_way -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_the_95th_percentile() {
        let hedge = Hedge::default();
        assert_eq!(hedge.begin().1, FIRST_WAIT);
        for nth in 0..SAMPLES as u64 {
            hedge.begin().0.took(Duration::from_millis(if nth.is_multiple_of(10) { 50 } else { 4 }));
        }
        assert_eq!(hedge.begin().1, Duration::from_millis(50), "one in ten is more than one in twenty");
        for nth in 0..SAMPLES as u64 {
            hedge.begin().0.took(Duration::from_millis(if nth.is_multiple_of(50) { 50 } else { 4 }));
        }
        assert_eq!(hedge.begin().1, Duration::from_millis(4));
        (0..SAMPLES).for_each(|_| hedge.begin().0.took(Duration::ZERO));
        assert_eq!(hedge.begin().1, WAIT_MIN);
    }

    #[test]
    fn at_most_one_call_in_fifty_is_made_twice() {
        let hedge = Hedge::default();
        let twice = (0..10_000).filter(|_| hedge.begin().0.may_hedge()).count();
        assert!((199..=201 + SAVED_MAX as usize).contains(&twice), "{twice}");
    }

    #[test]
    fn none_is_made_twice_while_many_wait() {
        let hedge = Hedge::default();
        (0..1000).for_each(|_| drop(hedge.begin()));
        let waiting: Vec<_> = (0..=UNDER_WAY_MAX).map(|_| hedge.begin().0).collect();
        assert!(!waiting[0].may_hedge());
        drop(waiting);
        assert!(hedge.begin().0.may_hedge());
    }
}
