//! Request ids: a retry of a write with the same one takes effect at most once (protocols §5.3).

use std::collections::BTreeSet;

use lamina_env::random;
use lamina_env::time::{self, Duration, Instant};
use lamina_types::{ClientToken, RequestId, Version};
use parking_lot::Mutex;

/// A token older than this is replaced.
const LIFE: Duration = Duration::from_secs(300);
/// Requests of one token that may be open at once: below what the store takes.
const OPEN_MAX: usize = 900;
/// How far the numbers of one token may run ahead of its lowest open one: the store remembers all results from there
/// on, and takes no more of a token than it can remember.
const SPAN_MAX: u64 = 1000;

/// Gives request ids out.
#[derive(Default)]
pub(crate) struct Requests(Mutex<Option<Series>>);

/// The ids of one token.
struct Series {
    token: ClientToken,
    made: Instant,
    next: u64,
    open: BTreeSet<u64>,
}

/// What a caller needs before it can have an id.
pub(crate) enum Ticket {
    /// Here it is.
    Id(RequestId),
    /// A new token is needed: ask the store for a version.
    NeedVersion,
    /// Too many are open: wait.
    Busy,
}

impl Requests {
    /// The next id.
    pub fn next(&self) -> Ticket {
        let mut series = self.0.lock();
        match series.as_mut() {
            Some(series) if series.made.elapsed() < LIFE => {
                if series.open.len() >= OPEN_MAX {
                    return Ticket::Busy;
                }
                if series.open.first().is_some_and(|first| series.next - first >= SPAN_MAX) {
                    // Few that take long do not hold up the others: those go on under a new token.
                    return if series.open.len() > OPEN_MAX / 4 { Ticket::Busy } else { Ticket::NeedVersion };
                }
                let seq = series.next;
                series.next += 1;
                series.open.insert(seq);
                let done_below = series.open.first().copied().unwrap_or(seq);
                Ticket::Id(RequestId { token: series.token, seq, done_below })
            }
            _ => Ticket::NeedVersion,
        }
    }

    /// Begins a new token with a version of the store.
    pub fn begin(&self, base: Version) {
        let token = ClientToken { id: random::u128(), base };
        *self.0.lock() = Some(Series { token, made: time::now(), next: 1, open: BTreeSet::new() });
    }

    /// The answer to this id is known, or nobody will ask for it again.
    pub fn done(&self, id: &RequestId) {
        if let Some(series) = self.0.lock().as_mut()
            && series.token == id.token
        {
            series.open.remove(&id.seq);
        }
    }

    /// The store does not take the token any more.
    pub fn forget(&self, token: ClientToken) {
        let mut series = self.0.lock();
        if series.as_ref().is_some_and(|series| series.token == token) {
            *series = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn numbers_rise_and_what_is_done_is_told_with_the_next() {
        let requests = Requests::default();
        assert!(matches!(requests.next(), Ticket::NeedVersion));
        requests.begin(Version(7));
        let (Ticket::Id(first), Ticket::Id(second)) = (requests.next(), requests.next()) else {
            panic!("ids")
        };
        assert_eq!((first.seq, second.seq, second.done_below), (1, 2, 1));
        requests.done(&first);
        let Ticket::Id(third) = requests.next() else { panic!("an id") };
        assert_eq!((third.seq, third.done_below), (3, 2), "the second is still open");
    }

    #[tokio::test]
    async fn more_than_the_store_takes_are_never_open() {
        let requests = Requests::default();
        requests.begin(Version(1));
        let ids: Vec<_> = std::iter::from_fn(|| match requests.next() {
            Ticket::Id(id) => Some(id),
            _ => None,
        })
        .collect();
        assert_eq!(ids.len(), OPEN_MAX);
        requests.done(&ids[5]);
        assert!(matches!(requests.next(), Ticket::Id(_)));
    }
}
