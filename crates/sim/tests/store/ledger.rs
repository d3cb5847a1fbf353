//! What clients did and saw, and whether one store that executes its log in order could have answered so.
//!
//! The ledger knows nothing of the store. It uses that every value is written once, that every write tells its
//! version and every read the version at which it read, and that the store has one data group, so that versions
//! order everything. Checked are: no acknowledged write is lost (I1), no read is stale or ahead (I3, V1, R1),
//! snapshots and scans see one version (I4, R2), batches are whole (I5), no write takes effect twice (I7, W2) or
//! after it was refused, conditions were decided as the order says (W1), no bytes that nobody wrote (I8).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use lamina_client::{Expected, Version};
use lamina_workload::{Answer, Call, Item, Operation, Seen};
use parking_lot::Mutex;

/// What a write does to a key: a value, perhaps for a time, or nothing any more.
#[derive(Clone, PartialEq, Eq)]
pub enum Action {
    Put { value: Bytes, ttl_ms: Option<u64> },
    Delete,
}

/// How a write ended for its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Done(Version),
    NotDone,
    Unknown,
}

/// A write that has been asked for. Moments are numbers of the ledger, not times.
pub struct WriteRecord {
    client: usize,
    called: u64,
    answered: Option<u64>,
    actions: BTreeMap<Bytes, Action>,
    conditions: Vec<(Bytes, Expected)>,
    outcome: Outcome,
}

/// What a read saw of one key.
struct ReadRecord {
    what: &'static str,
    key: Bytes,
    called: u64,
    answered: u64,
    at: Version,
    /// The read asked for the newest state, not for one in the past.
    newest: bool,
    found: Option<(Bytes, Version)>,
}

/// The ledger. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    moment: u64,
    writes: Vec<WriteRecord>,
    reads: Vec<ReadRecord>,
}

/// Names a write under way.
#[derive(Clone, Copy)]
pub struct Ticket(usize);

impl Ledger {
    /// A moment, to be taken before a call.
    pub fn moment(&self) -> u64 {
        self.0.lock().tick()
    }

    /// A write is about to be asked for.
    pub fn write(
        &self,
        client: usize,
        actions: BTreeMap<Bytes, Action>,
        conditions: Vec<(Bytes, Expected)>,
    ) -> Ticket {
        let mut book = self.0.lock();
        let called = book.tick();
        let outcome = Outcome::Unknown;
        book.writes.push(WriteRecord { client, called, answered: None, actions, conditions, outcome });
        Ticket(book.writes.len() - 1)
    }

    /// A write has ended. One that never does is unknown.
    pub fn written(&self, ticket: Ticket, outcome: Outcome) {
        let mut book = self.0.lock();
        let now = book.tick();
        let write = &mut book.writes[ticket.0];
        write.answered = Some(now);
        write.outcome = outcome;
    }

    /// A read that was called at `called` has seen this of these keys, all at one version.
    pub fn read(
        &self,
        what: &'static str,
        called: u64,
        at: Version,
        newest: bool,
        seen: impl IntoIterator<Item = (Bytes, Option<(Bytes, Version)>)>,
    ) {
        let mut book = self.0.lock();
        let answered = book.tick();
        let all = seen.into_iter();
        book.reads.extend(all.map(|(key, found)| ReadRecord {
            what,
            key,
            called,
            answered,
            at,
            newest,
            found,
        }));
    }

    /// How many writes were acknowledged, refused, left open; how many keys were read.
    pub fn counts(&self) -> (usize, usize, usize, usize) {
        let book = self.0.lock();
        let count = |of: fn(&Outcome) -> bool| book.writes.iter().filter(|write| of(&write.outcome)).count();
        (
            count(|outcome| matches!(outcome, Outcome::Done(_))),
            count(|outcome| *outcome == Outcome::NotDone),
            count(|outcome| *outcome == Outcome::Unknown),
            book.reads.len(),
        )
    }

    /// The same for the judges of `lamina-workload`, which know less and judge by other rules: every write, and each
    /// key that a read of the newest state saw as a get of its own.
    pub fn history(&self) -> Vec<Operation> {
        let book = self.0.lock();
        let writes = book.writes.iter().map(|write| {
            let items = write.actions.iter().map(|(key, action)| match action {
                Action::Put { value, ttl_ms } => {
                    Item { expires: ttl_ms.is_some(), ..Item::put(key.clone(), value.clone()) }
                }
                Action::Delete => Item::delete(key.clone()),
            });
            let (end, answer) = match write.outcome {
                Outcome::Done(version) => (write.answered, Answer::Written { version: version.0 }),
                Outcome::NotDone => (write.answered, Answer::Refused),
                Outcome::Unknown => (None, Answer::Unknown),
            };
            let call = Call::Write { items: items.collect() };
            Operation { session: write.client as u64, begin: write.called, end, call, answer }
        });
        let reads = book.reads.iter().filter(|read| read.newest).map(|read| {
            let seen = |(value, version): &(Bytes, Version)| Seen {
                value: value.clone().into(),
                version: version.0,
            };
            Operation {
                session: u64::MAX,
                begin: read.called,
                end: Some(read.answered),
                call: Call::Get { key: read.key.clone().into() },
                answer: Answer::Got { found: read.found.as_ref().map(seen), read_at: read.at.0 },
            }
        });
        writes.chain(reads).collect()
    }

    /// Every contradiction, the first of each kind first; empty: the store kept its word.
    pub fn contradictions(&self) -> Vec<String> {
        let book = self.0.lock();
        let mut found = Vec::new();
        let order = book.order(&mut found);
        book.check_times(&order, &mut found);
        for read in &book.reads {
            book.check_read(&order, read, &mut found);
        }
        for (version, write) in &order.all {
            book.check_conditions(&order, *version, &book.writes[*write], &mut found);
        }
        found
    }
}

/// Effective writes in the order of their versions.
#[derive(Default)]
struct Order {
    all: BTreeMap<Version, usize>,
    by_key: BTreeMap<Bytes, BTreeMap<Version, usize>>,
    by_value: BTreeMap<Bytes, usize>,
}

impl Order {
    /// The newest effective write of a key up to a version.
    fn newest(&self, key: &Bytes, at: Version) -> Option<(Version, usize)> {
        let of_key = self.by_key.get(key)?;
        of_key.range(..=at).next_back().map(|(version, write)| (*version, *write))
    }
}

impl Book {
    fn tick(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// Gives each write that is known to have had an effect its place: by its acknowledgement, or because somebody
    /// has seen what it wrote.
    fn order(&self, found: &mut Vec<String>) -> Order {
        let mut order = Order::default();
        for (at, write) in self.writes.iter().enumerate() {
            for action in write.actions.values() {
                if let Action::Put { value, .. } = action {
                    let before = order.by_value.insert(value.clone(), at);
                    assert!(before.is_none(), "the test wrote one value twice");
                }
            }
        }
        let mut version_of: BTreeMap<usize, Version> = BTreeMap::new();
        for (at, write) in self.writes.iter().enumerate() {
            if let Outcome::Done(version) = write.outcome {
                version_of.insert(at, version);
            }
        }
        for read in &self.reads {
            let Some((value, version)) = &read.found else { continue };
            let Some(at) = order.by_value.get(value).copied() else {
                found.push(format!("{read}: nobody ever wrote that value"));
                continue;
            };
            let write = &self.writes[at];
            if !matches!(write.actions.get(&read.key), Some(Action::Put { value: put, .. }) if put == value) {
                found.push(format!("{read}: the value was written to another key, by {write}"));
                continue;
            }
            if write.outcome == Outcome::NotDone {
                found.push(format!("{read}: the write was refused: {write}"));
            }
            let known = *version_of.entry(at).or_insert(*version);
            if known != *version {
                found.push(format!("{read}: {write} took effect at {known:?} too: twice"));
            }
        }
        for (at, version) in version_of {
            if let Some(other) = order.all.insert(version, at) {
                let (a, b) = (&self.writes[other], &self.writes[at]);
                found.push(format!("{version:?} was given to two writes: {a} and {b}"));
            }
            for key in self.writes[at].actions.keys() {
                order.by_key.entry(key.clone()).or_default().insert(version, at);
            }
        }
        order
    }

    /// V1 and R1 over all clients: what is called after something was answered does not come before it.
    fn check_times(&self, order: &Order, found: &mut Vec<String>) {
        let version_of: BTreeMap<usize, Version> = order.all.iter().map(|(v, at)| (*at, *v)).collect();
        // (moment, is an answer, version, told as)
        let mut events: Vec<(u64, bool, bool, Version, String)> = Vec::new();
        for (at, write) in self.writes.iter().enumerate() {
            let Some(version) = version_of.get(&at) else { continue };
            events.push((write.called, false, true, *version, write.to_string()));
            if let (Some(answered), Outcome::Done(_)) = (write.answered, write.outcome) {
                events.push((answered, true, true, *version, write.to_string()));
            }
        }
        for read in &self.reads {
            if read.newest {
                events.push((read.called, false, false, read.at, read.to_string()));
            }
            events.push((read.answered, true, false, read.at, read.to_string()));
        }
        events.sort_by_key(|event| (event.0, event.1));
        let mut highest: Option<(Version, String)> = None;
        for (_, is_answer, is_write, version, told) in events {
            match &highest {
                _ if is_answer => {
                    if highest.as_ref().is_none_or(|(high, _)| version > *high) {
                        highest = Some((version, told));
                    }
                }
                Some((high, before)) if version < *high || (is_write && version == *high) => {
                    found.push(format!("{told} lies before what was answered earlier: {before}"));
                }
                _ => {}
            }
        }
    }

    fn check_read(&self, order: &Order, read: &ReadRecord, found: &mut Vec<String>) {
        let newest = order.newest(&read.key, read.at);
        match (&read.found, newest) {
            (Some((_, version)), _) if *version > read.at => {
                found.push(format!("{read}: from behind the version that is read"));
            }
            (Some((_, version)), Some((expected, at))) => {
                if expected != *version {
                    found.push(format!("{read}: STALE, there is {} at {expected:?}", self.writes[at]));
                } else if self.writes[at].is_absent(&read.key, expected, read.at) {
                    found.push(format!("{read}: it had expired: {}", self.writes[at]));
                }
            }
            (None, Some((version, at))) if !self.writes[at].is_absent(&read.key, version, read.at) => {
                if !self.may_hide(order, &read.key, version, read.at, Some(read.answered)) {
                    found.push(format!("{read}: LOST, there is {} at {version:?}", self.writes[at]));
                }
            }
            // Present without any effective write: told already when the order was made.
            _ => {}
        }
    }

    /// Whether a write whose outcome nobody knows may have made the key absent after `from` and up to `to`.
    fn may_hide(&self, order: &Order, key: &Bytes, from: Version, to: Version, by: Option<u64>) -> bool {
        let placed: Vec<usize> = order.all.values().copied().collect();
        self.writes.iter().enumerate().any(|(at, write)| {
            write.outcome == Outcome::Unknown
                && by.is_none_or(|by| write.called < by)
                && from < to
                && match write.actions.get(key) {
                    Some(Action::Delete) => !placed.contains(&at),
                    Some(Action::Put { ttl_ms, .. }) => ttl_ms.is_some() && !placed.contains(&at),
                    None => false,
                }
        })
    }

    /// W1: the conditions held just below the version of the write.
    fn check_conditions(
        &self,
        order: &Order,
        version: Version,
        write: &WriteRecord,
        found: &mut Vec<String>,
    ) {
        for (key, expected) in &write.conditions {
            let before = order.newest(key, Version(version.0 - 1));
            let present =
                before.filter(|(at, by)| !self.writes[*by].is_absent(key, *at, version)).map(|(at, _)| at);
            let from = before.map_or(Version::ZERO, |(at, _)| at);
            let unknown =
                |write: &WriteRecord| write.outcome == Outcome::Unknown && write.actions.contains_key(key);
            // A write of unknown place may lie between.
            let may_differ = self.writes.iter().any(unknown);
            let hidden = self.may_hide(order, key, from, version, None);
            let held = match expected {
                Expected::Absent => present.is_none() || hidden,
                Expected::Present => present.is_some() || may_differ,
                Expected::Version(wanted) => present == Some(*wanted) || (before.is_none() && may_differ),
            };
            if !held {
                found.push(format!(
                    "{write} was done though {expected:?} did not hold: before it the key had {present:?}"
                ));
            }
        }
    }
}

impl WriteRecord {
    /// Whether this write, done at `version`, leaves the key absent for a read at `at`.
    fn is_absent(&self, key: &Bytes, version: Version, at: Version) -> bool {
        match self.actions.get(key) {
            Some(Action::Put { ttl_ms: Some(ttl), .. }) => version.ms() + ttl <= at.ms(),
            Some(Action::Put { ttl_ms: None, .. }) => false,
            Some(Action::Delete) | None => true,
        }
    }
}

impl fmt::Display for WriteRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write of client {} at {}", self.client, self.called)?;
        if let Some(answered) = self.answered {
            write!(f, "..{answered}")?;
        }
        for (key, action) in &self.actions {
            match action {
                Action::Put { value, ttl_ms } => {
                    write!(f, " {}={}", text(key), text(value))?;
                    if let Some(ttl) = ttl_ms {
                        write!(f, "({ttl} ms)")?;
                    }
                }
                Action::Delete => write!(f, " {}=deleted", text(key))?,
            }
        }
        write!(f, " [{:?}]", self.outcome)
    }
}

impl fmt::Display for ReadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (called, answered) = (self.called, self.answered);
        write!(f, "{} at {called}..{answered} of {} at {:?}: ", self.what, text(&self.key), self.at)?;
        match &self.found {
            Some((value, version)) => write!(f, "{} of {version:?}", text(value)),
            None => write!(f, "absent"),
        }
    }
}

/// The telling part of a key or a value: values carry a tail that only makes them long.
fn text(bytes: &Bytes) -> String {
    let telling = bytes.split(|byte| *byte == b'.').next().unwrap_or_default();
    String::from_utf8_lossy(telling).into_owned()
}

/// The ledger must find what it is for, or nothing that passes it means anything.
mod proofs {
    use super::*;

    fn put(ledger: &Ledger, value: &'static str, outcome: Outcome) {
        let action = Action::Put { value: Bytes::from_static(value.as_bytes()), ttl_ms: None };
        let ticket = ledger.write(0, BTreeMap::from([(Bytes::from_static(b"k"), action)]), Vec::new());
        ledger.written(ticket, outcome);
    }

    fn get(ledger: &Ledger, at: u64, found: Option<(&'static str, u64)>) {
        let called = ledger.moment();
        let found = found.map(|(value, version)| (Bytes::from_static(value.as_bytes()), Version(version)));
        ledger.read("get", called, Version(at), true, [(Bytes::from_static(b"k"), found)]);
    }

    fn finds(ledger: &Ledger, word: &str) {
        let found = ledger.contradictions();
        assert!(found.iter().any(|one| one.contains(word)), "{word} is not among {found:?}");
    }

    #[test]
    fn the_ledger_takes_what_one_store_could_have_answered() {
        let ledger = Ledger::default();
        put(&ledger, "a", Outcome::Done(Version(5)));
        get(&ledger, 6, Some(("a", 5)));
        put(&ledger, "b", Outcome::Unknown);
        get(&ledger, 8, Some(("b", 7)));
        assert_eq!(ledger.contradictions(), Vec::<String>::new());
    }

    #[test]
    fn the_ledger_finds_a_lost_write_a_stale_read_and_a_version_out_of_order() {
        let ledger = Ledger::default();
        put(&ledger, "a", Outcome::Done(Version(5)));
        get(&ledger, 6, None);
        finds(&ledger, "LOST");
        let ledger = Ledger::default();
        put(&ledger, "a", Outcome::Done(Version(5)));
        put(&ledger, "b", Outcome::Done(Version(7)));
        get(&ledger, 8, Some(("a", 5)));
        finds(&ledger, "STALE");
        let ledger = Ledger::default();
        put(&ledger, "a", Outcome::Done(Version(5)));
        get(&ledger, 4, None);
        finds(&ledger, "lies before");
    }

    #[test]
    fn the_ledger_finds_a_write_that_took_effect_twice_or_after_it_was_refused() {
        let ledger = Ledger::default();
        put(&ledger, "a", Outcome::Done(Version(5)));
        get(&ledger, 9, Some(("a", 8)));
        finds(&ledger, "twice");
        let ledger = Ledger::default();
        put(&ledger, "a", Outcome::NotDone);
        get(&ledger, 9, Some(("a", 8)));
        finds(&ledger, "was refused");
        let ledger = Ledger::default();
        get(&ledger, 9, Some(("x", 8)));
        finds(&ledger, "nobody ever wrote");
    }
}
