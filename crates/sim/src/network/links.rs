//! The quality of links, and cuts.

use std::collections::{BTreeMap, BTreeSet};

use lamina_env::random;
use lamina_env::time::Duration;

/// The quality of the way from one node to another. Chances are per mille of messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// The least time that a message takes, in milliseconds.
    pub delay_ms_min: u64,
    /// The most time that a message takes, in milliseconds.
    pub delay_ms_max: u64,
    /// The message is lost.
    pub lost: u64,
    /// A request arrives a second time, up to ten times later.
    pub doubled: u64,
    /// What is lost is lost without a word: the caller learns nothing until its deadline. Otherwise the connection
    /// breaks, and the caller gets `UNREACHABLE`.
    pub silent: u64,
}

impl Default for Link {
    /// A good link in one building: nothing is lost, messages overtake each other by a few milliseconds.
    fn default() -> Link {
        Link { delay_ms_min: 0, delay_ms_max: 3, lost: 0, doubled: 0, silent: 500 }
    }
}

impl Link {
    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(random::between(self.delay_ms_min, self.delay_ms_max.saturating_add(1)))
    }
}

/// Whether something happens that has this chance, per mille.
pub(super) fn happens(per_mille: u64) -> bool {
    per_mille > 0 && random::between(0, 1000) < per_mille
}

/// What does not get through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cut {
    /// Messages from one node to another.
    OneWay {
        /// Who is not heard.
        from: String,
        /// By whom.
        to: String,
    },
    /// Messages between two nodes.
    Between(String, String),
    /// Messages to and from a node.
    Isolated(String),
    /// Messages to a node, while its own get out.
    Deaf(String),
    /// Messages between these nodes and all others.
    Apart(BTreeSet<String>),
}

impl Cut {
    fn stops(&self, from: &str, to: &str) -> bool {
        match self {
            Cut::OneWay { from: a, to: b } => from == a && to == b,
            Cut::Between(a, b) => (from == a && to == b) || (from == b && to == a),
            Cut::Isolated(node) => from == node || to == node,
            Cut::Deaf(node) => to == node,
            Cut::Apart(side) => side.contains(from) != side.contains(to),
        }
    }
}

/// Names a cut, to end it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CutId(u64);

#[derive(Default)]
pub(super) struct Links {
    pub(super) everywhere: Link,
    own: BTreeMap<(String, String), Link>,
    cuts: BTreeMap<CutId, Cut>,
    next: u64,
}

impl Links {
    pub(super) fn set(&mut self, from: &str, to: &str, link: Option<Link>) {
        let way = (from.to_owned(), to.to_owned());
        match link {
            Some(link) => self.own.insert(way, link),
            None => self.own.remove(&way),
        };
    }

    pub(super) fn between(&self, from: &str, to: &str) -> Link {
        self.own.get(&(from.to_owned(), to.to_owned())).copied().unwrap_or(self.everywhere)
    }

    pub(super) fn is_cut(&self, from: &str, to: &str) -> bool {
        from != to && self.cuts.values().any(|cut| cut.stops(from, to))
    }

    pub(super) fn cut(&mut self, cut: Cut) -> CutId {
        let id = CutId(self.next);
        self.next += 1;
        self.cuts.insert(id, cut);
        id
    }

    pub(super) fn mend(&mut self, id: CutId) {
        self.cuts.remove(&id);
    }

    /// Good links everywhere. Ids of earlier cuts stay used up, so that mending one later mends nothing else.
    pub(super) fn heal(&mut self) {
        *self = Links { next: self.next, ..Links::default() };
    }
}
