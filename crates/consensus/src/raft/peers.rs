//! What a replica knows of its peers from their answers: their clocks, what they acknowledged, who is shut out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lamina_engine::wal::LogPoint;
use lamina_env::time::{Instant, now};
use lamina_env::{Clock, watch};
use lamina_types::ReplicaId;
use parking_lot::Mutex;

/// How far the median of the clocks may be behind the leader's own (protocols §4).
const CLOCK_LEAD_MS: u64 = 500;

/// What is known of the peers. Cheap to clone.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    peers: Mutex<BTreeMap<u64, Peer>>,
    shut_out: watch::Sender<BTreeSet<ReplicaId>>,
}

#[derive(Clone, Copy, Default)]
struct Peer {
    /// Its wall clock, and when it said so.
    clock: Option<(u64, Instant)>,
    /// What it acknowledged, to the leader of this term.
    acknowledged: Option<(u64, LogPoint)>,
    heard: Option<Instant>,
}

impl Peers {
    /// Nobody is known yet.
    pub fn new(clock: Arc<dyn Clock>) -> Peers {
        Peers(Arc::new(Inner { clock, peers: Mutex::default(), shut_out: watch::channel(BTreeSet::new()).0 }))
    }

    /// This node's wall clock.
    pub fn clock_ms(&self) -> u64 {
        self.0.clock.now_ms()
    }

    /// A peer answered, and its wall clock showed this.
    pub fn heard(&self, peer: u64, clock_ms: u64) {
        let mut peers = self.0.peers.lock();
        let peer = peers.entry(peer).or_default();
        peer.clock = Some((clock_ms, now()));
        peer.heard = Some(now());
    }

    /// When a peer last answered.
    pub fn last_heard(&self, peer: u64) -> Option<Instant> {
        self.0.peers.lock().get(&peer).and_then(|peer| peer.heard)
    }

    /// What a peer had acknowledged to the leader of `term`. Ask before a message is sent: what was acknowledged
    /// then must be there when the message arrives.
    pub fn acknowledged(&self, peer: u64, term: u64) -> Option<LogPoint> {
        let peers = self.0.peers.lock();
        peers.get(&peer)?.acknowledged.filter(|(of, _)| *of == term).map(|(_, at)| at)
    }

    /// A peer acknowledged everything up to `at` to the leader of `term`.
    pub fn acknowledge(&self, peer: u64, term: u64, at: LogPoint) {
        let mut peers = self.0.peers.lock();
        let acknowledged = &mut peers.entry(peer).or_default().acknowledged;
        match acknowledged {
            Some((of, known)) if *of == term => *known = (*known).max(at),
            Some((of, _)) if *of > term => {}
            _ => *acknowledged = Some((term, at)),
        }
    }

    /// A peer rejected `rejected`, which it had acknowledged: its volume has lost what it promised to keep (G7). It
    /// gets no messages any more from here, and its answers do not count.
    pub fn shut_out(&self, peer: u64, rejected: LogPoint, acknowledged: LogPoint) {
        tracing::error!(
            replica = peer,
            rejected = rejected.index,
            acknowledged = acknowledged.index,
            "a replica rejects an entry that it had acknowledged: it is shut out, replace its node"
        );
        self.0.shut_out.send_if_modified(|out| out.insert(ReplicaId(peer)));
    }

    /// Whether a peer is shut out.
    pub fn is_shut_out(&self, peer: u64) -> bool {
        self.0.shut_out.borrow().contains(&ReplicaId(peer))
    }

    /// Who is shut out.
    pub fn who_is_shut_out(&self) -> watch::Receiver<BTreeSet<ReplicaId>> {
        self.0.shut_out.subscribe()
    }

    /// The time of day for the entries of this leader: its own clock, but at most half a second above the median of
    /// the clocks of those `members` that have been heard, itself included.
    pub fn hint_ms(&self, me: u64, members: impl Iterator<Item = u64>) -> u64 {
        let own = self.clock_ms();
        let mut clocks: Vec<u64> = {
            let peers = self.0.peers.lock();
            members
                .filter(|member| *member != me)
                .filter_map(|member| peers.get(&member)?.clock)
                .map(|(ms, at)| {
                    ms.saturating_add(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
                })
                .collect()
        };
        clocks.push(own);
        clocks.sort_unstable();
        // Of an even number the lower one: a hint that is too low does no harm, apply never goes back.
        let median = clocks.get((clocks.len() - 1) / 2).copied().unwrap_or(own);
        own.min(median.saturating_add(CLOCK_LEAD_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl Clock for Fixed {
        fn now_ms(&self) -> u64 {
            self.0
        }
    }

    fn point(index: u64) -> LogPoint {
        LogPoint { term: 1, index }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_runs_ahead_is_held_half_a_second_above_the_median() {
        let ahead = Peers::new(Arc::new(Fixed(100_000)));
        assert_eq!(ahead.hint_ms(1, [1, 2, 3].into_iter()), 100_000, "nobody else was heard");
        ahead.heard(2, 10_000);
        assert_eq!(ahead.hint_ms(1, [1, 2, 3].into_iter()), 10_500, "of two the lower one counts");
        ahead.heard(3, 20_000);
        assert_eq!(ahead.hint_ms(1, [1, 2, 3].into_iter()), 20_500);
        ahead.heard(9, 90_000);
        assert_eq!(ahead.hint_ms(1, [1, 2, 3].into_iter()), 20_500, "strangers do not count");
        let behind = Peers::new(Arc::new(Fixed(5_000)));
        behind.heard(2, 10_000);
        behind.heard(3, 20_000);
        assert_eq!(behind.hint_ms(1, [1, 2, 3].into_iter()), 5_000);
    }

    #[test]
    fn acknowledgements_of_an_earlier_term_do_not_count() {
        let peers = Peers::new(Arc::new(Fixed(0)));
        peers.acknowledge(2, 5, point(9));
        peers.acknowledge(2, 5, point(7));
        assert_eq!(peers.acknowledged(2, 5), Some(point(9)));
        assert_eq!(peers.acknowledged(2, 6), None);
        peers.acknowledge(2, 6, point(3));
        peers.acknowledge(2, 5, point(20));
        assert_eq!(peers.acknowledged(2, 6), Some(point(3)));
    }
}
