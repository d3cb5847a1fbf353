//! Random histories of a group: writes, retries, duplicates, late proposals, flushes, compactions, splits, leaders,
//! restarts. After each entry the group must equal the single server (W1, W2, V1), every readable version must read
//! as on it (R2, C1), each version must be in one place (F1), and a second replica must have the same state (G1).
//! At the end, checkpoints taken on the way and written out later, with the rest of the log, must give the state (L2).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use lamina_engine::Entry as Stored;
use lamina_types::{ClientToken, Epoch, LogIndex, NodeId, RequestId, ShardId, SnapshotId, TabletId, Version};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::super::entry::*;
use super::super::*;
use super::rig::*;
use super::server::Server;

type Step = (u8, u16, u16, u16);
type Reached = BTreeMap<String, usize>;

/// A mistake that the checks must find (protocols §13, M3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// The window is not in the checkpoint.
    WindowLost,
    /// Ids are forgotten by age alone, without a floor.
    EvictionByClock,
    /// A write whose conditions did not hold is not remembered.
    RefusalForgotten,
    /// A condition that a flush overtook counts as the leader saw it (rule (c) of §5.2 is missing).
    NoRuleC,
}

struct World {
    rig: Rig,
    twin: DataGroup,
    server: Server,
    log: Vec<Bytes>,
    views: Vec<Arc<GroupView>>,
    pending: Vec<Entry>,
    frozen: Vec<(usize, FrozenGroup)>,
    tokens: Vec<(ClientToken, u64)>,
    sent: Vec<ClientWrite>,
    now: u64,
    fault: Option<Fault>,
    reached: Reached,
}

fn config() -> GroupConfig {
    GroupConfig {
        immutables_max: 2,
        pins_max: 2,
        pin_ahead_ms: 30,
        token_ahead_ms: 20,
        dedupe_ms: 60,
        open_requests_max: 4,
        dedupe_results_max: 9,
        ..GroupConfig::default()
    }
}

fn name(n: u16) -> Bytes {
    key(std::str::from_utf8(&[b'a' + (n % 12) as u8]).unwrap())
}

impl World {
    fn new(fault: Option<Fault>) -> World {
        let rig = Rig::new(config());
        let view = rig.view();
        let range = view.tablet(FIRST).unwrap().range.clone();
        let initial = InitialGroup {
            config: config(),
            tablet: Some((range.clone(), ShardId(5))),
            ..Default::default()
        };
        let mut world = World {
            twin: DataGroup::new(GROUP, initial),
            server: Server::new(FIRST, range, config()),
            log: Vec::new(),
            views: vec![view],
            pending: Vec::new(),
            frozen: Vec::new(),
            tokens: (0..3).map(|id| (ClientToken { id, base: Version::ZERO }, 0)).collect(),
            sent: Vec::new(),
            now: 1000,
            fault,
            reached: Reached::new(),
            rig,
        };
        let begin = BeginReign { node: node(1), incarnation: lamina_types::Incarnation(1) };
        let bytes = Entry::from(begin).encode().unwrap();
        world.twin.apply(LogIndex(1), bytes.clone()).unwrap();
        world.log.push(bytes);
        world
    }

    /// Begins at a time at which tokens are young.
    fn begin(&mut self) -> Result<(), String> {
        self.submit(Tick { hint: ms(self.now) })?;
        (0..3).for_each(|client| self.new_token(client, 0));
        Ok(())
    }

    fn new_token(&mut self, client: usize, ahead_ms: u64) {
        let id = self.tokens.iter().map(|(token, _)| token.id).max().unwrap_or(0) + 1;
        self.tokens[client] = (ClientToken { id, base: self.server.last.plus_ms(ahead_ms) }, 0);
    }

    fn reach(&mut self, what: impl Into<String>) {
        *self.reached.entry(what.into()).or_default() += 1;
    }

    fn view(&self) -> Arc<GroupView> {
        self.rig.view()
    }

    /// One entry through the log of both replicas, and everything that must hold afterwards.
    fn submit(&mut self, entry: impl Into<Entry>) -> Result<Outcome, String> {
        let entry = entry.into();
        let bytes = entry.encode().map_err(|error| error.to_string())?;
        self.rig.index += 1;
        let index = LogIndex(self.rig.index);
        let outcome = self.rig.group.apply(index, bytes.clone()).map_err(|stop| stop.to_string())?;
        if self.fault == Some(Fault::EvictionByClock) {
            self.evict_by_clock();
        }
        if self.fault == Some(Fault::RefusalForgotten) {
            self.forget_refusals();
        }
        if self.fault.is_none() {
            let same = self.twin.apply(index, bytes.clone()).map_err(|stop| stop.to_string())?;
            if same != outcome || self.twin.digest() != self.rig.group.digest() {
                return Err(format!("G1: two replicas differ after {entry:?}"));
            }
        }
        self.log.push(bytes);
        self.follow(&entry, &outcome)?;
        self.check_reads()?;
        self.check_places()?;
        self.views.push(self.rig.view());
        Ok(outcome)
    }

    /// The single server executes the entry.
    fn follow(&mut self, entry: &Entry, outcome: &Outcome) -> Result<(), String> {
        match (entry, outcome) {
            (Entry::Writes(writes), Outcome::Writes(answers)) => {
                for (write, answer) in writes.writes.iter().zip(answers) {
                    self.server.write(writes.hint, write, *answer)?;
                    let text = format!("{answer:?}");
                    self.reach(text.split_whitespace().next().unwrap_or_default());
                }
            }
            (Entry::Tick(tick), _) => self.server.move_clock(tick.hint),
            // A known pin moves no clock: it is answered at its own version.
            (Entry::PinSnapshot(pin), Outcome::Pinned { .. }) if !self.pinned_before(pin.snapshot) => {
                self.server.move_clock(pin.at.max(pin.hint));
            }
            (Entry::SplitTablet(split), Outcome::Split { right }) => {
                self.server.split(split.tablet, *right, &split.at);
            }
            _ => {}
        }
        if self.view().last_version != self.server.last {
            return Err(format!("§4: the clock stands at {} after {entry:?}", self.view().last_version));
        }
        if !matches!(outcome, Outcome::Writes(_)) {
            let text = match outcome {
                Outcome::Refused(refusal) => format!("Refused {refusal:?}"),
                other => format!("{other:?}"),
            };
            let words: Vec<&str> = text.split([' ', '{']).filter(|word| !word.is_empty()).take(2).collect();
            self.reach(if words[0] == "Refused" { words.join(" ") } else { words[0].to_owned() });
        }
        Ok(())
    }

    fn pinned_before(&self, snapshot: SnapshotId) -> bool {
        self.views.last().is_some_and(|view| view.pins.contains_key(&snapshot))
    }

    fn check_reads(&mut self) -> Result<(), String> {
        let view = self.view();
        let mut at: BTreeSet<Version> = view.pins.values().map(|pin| pin.at).collect();
        let middle = Version(view.read_floor.0 + (view.last_version.0 - view.read_floor.0) / 2);
        at.extend([view.last_version, view.read_floor, middle]);
        for n in 0..12 {
            let key = name(n);
            if view.tablet_of(&key).is_some() != self.server.owns(&key) {
                return Err(format!("O1: the ranges of tablets do not say who owns {key:?}"));
            }
            for at in &at {
                let (is, should) = (self.rig.get(&view, &key, *at), self.server.read(&key, *at));
                if self.server.owns(&key) && is != should {
                    return Err(format!("R2: {key:?} at {at} reads {is:?}, should be {should:?}"));
                }
            }
            let old = &self.views[self.views.len().saturating_sub(8)];
            let (is, should) =
                (self.rig.get(old, &key, old.last_version), self.server.read(&key, old.last_version));
            if is != should && self.server.owns(&key) {
                return Err(format!("R1: an older view reads {is:?} for {key:?}, should be {should:?}"));
            }
        }
        Ok(())
    }

    /// F1: each version of each key is in one memtable or one run of its tablet, unless it could be dropped.
    fn check_places(&self) -> Result<(), String> {
        let view = self.view();
        let mut places: BTreeMap<(Bytes, Version), usize> = BTreeMap::new();
        let mut named = BTreeSet::new();
        let mut count = |entries: Vec<Stored>| {
            entries.into_iter().for_each(|entry| *places.entry((entry.key, entry.version)).or_default() += 1);
        };
        for tablet in view.tablets.iter() {
            let (range, memtable) = (tablet.range.clone(), Arc::clone(&tablet.active));
            count(entries_of(&MemoryView { rotated_at: LogIndex(0), range, memtable }));
            tablet.memory.iter().for_each(|memory| count(entries_of(memory)));
            tablet.tree.views().for_each(|table| count(self.rig.entries_in(table)));
            named.extend(tablet.tree.tables());
        }
        if let Some((place, count)) = places.iter().find(|(_, count)| **count != 1) {
            return Err(format!("F1: {place:?} is in {count} places"));
        }
        for (key, versions) in &self.server.history {
            for (version, _) in versions.iter().filter(|(version, _)| *version > view.read_floor) {
                if !places.contains_key(&(key.clone(), *version)) {
                    return Err(format!("F1: {version} of {key:?} is nowhere"));
                }
            }
        }
        if let Some(window) = self.rig.group.windows.values().find(|it| it.floor > view.last_version) {
            return Err(format!("§5.3: the floor {} lies ahead of every version given so far", window.floor));
        }
        if !view.tables.keys().eq(named.iter()) {
            return Err("the list of tables is not what views name".to_owned());
        }
        Ok(())
    }

    fn evict_by_clock(&mut self) {
        let before = self.rig.view().last_version.minus_ms(15);
        for window in self.rig.group.windows.values_mut() {
            let window = Arc::make_mut(window);
            window.tokens.retain(|(base, _), _| *base >= before);
            window.results = window.tokens.values().map(|token| token.len()).sum();
        }
    }

    fn forget_refusals(&mut self) {
        for window in self.rig.group.windows.values_mut() {
            let window = Arc::make_mut(window);
            for token in window.tokens.values_mut() {
                Arc::make_mut(token).refused.clear();
            }
            window.results = window.tokens.values().map(|token| token.len()).sum();
        }
    }

    fn hint(&self, c: u16) -> Version {
        ms(self.now + u64::from(c % 9)).minus_ms(4)
    }

    fn client_write(&mut self, a: u16, b: u16, c: u16) -> (ClientWrite, bool) {
        let value = format!("v{}", self.rig.index).repeat(1 + usize::from(c % 3));
        let action = match c % 7 {
            0 => Action::Delete,
            1 => Action::Put { value: value.into(), ttl_ms: Some(1 + u64::from(b % 40)) },
            _ => Action::Put { value: value.into(), ttl_ms: None },
        };
        let mut operations = vec![Operation { key: name(b), action: action.clone() }];
        if c.is_multiple_of(5) {
            operations.push(Operation { key: name(b / 12), action });
        }
        let mut write = ClientWrite { request_id: self.request_id(a, c), ..ClientWrite::new(operations) };
        let back = usize::from(c / 7) % self.views.len().min(12);
        if (a / 3).is_multiple_of(3) {
            let seen_in = Arc::clone(&self.views[self.views.len() - 1 - back]);
            let key = name(if a.is_multiple_of(2) { b } else { b / 7 });
            let known = self.server.history.get(&key).and_then(|versions| versions.last());
            let expected = match (b / 12) % 3 {
                0 => Expected::Absent,
                1 => Expected::Present,
                _ => Expected::Version(known.map_or(Version(5), |(version, _)| *version)),
            };
            write.conditions.push(self.rig.condition(&seen_in, &key, expected));
            write.read_at = self.read_at(&seen_in);
        }
        (write, back == 0)
    }

    fn read_at(&self, view: &GroupView) -> LogIndex {
        // Apply then takes every condition for younger than the last flush.
        if self.fault == Some(Fault::NoRuleC) { LogIndex(u64::MAX) } else { view.applied }
    }

    fn request_id(&mut self, a: u16, c: u16) -> Option<RequestId> {
        let client = usize::from(a % 3);
        if a.is_multiple_of(17) {
            self.new_token(client, if c.is_multiple_of(6) { 30 } else { 0 });
        }
        let (token, seq) = &mut self.tokens[client];
        *seq += 1;
        let done_below = seq.saturating_sub(u64::from(c % 6));
        (!c.is_multiple_of(4)).then_some(RequestId { token: *token, seq: *seq, done_below })
    }

    fn writes(&mut self, (_, a, b, c): Step) -> Result<(), String> {
        let (write, fresh) = self.client_write(a, b, c);
        let mut writes = vec![write];
        if a.is_multiple_of(4) {
            writes.push(self.client_write(b, c, a).0);
        }
        self.sent.extend(writes.iter().cloned());
        let hint = self.hint(c);
        match self.submit(Writes { hint, writes })? {
            Outcome::Writes(answers) if fresh && answers[0] == WriteOutcome::Retry => {
                Err("§5.2: a condition that was read just now is undecided".to_owned())
            }
            Outcome::Writes(answers) if answers[0] == WriteOutcome::TokenExpired => {
                self.new_token(usize::from(a % 3), 0);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn retry(&mut self, (_, a, b, c): Step) -> Result<(), String> {
        let Some(mut write) = self.sent.get(usize::from(a) % self.sent.len().max(1)).cloned() else {
            return Ok(());
        };
        if b.is_multiple_of(2) && !write.conditions.is_empty() {
            let view = self.view();
            for condition in &mut write.conditions {
                *condition = self.rig.condition(&view, &condition.key, condition.expected);
            }
            write.read_at = self.read_at(&view);
        }
        let hint = self.hint(c);
        self.submit(Writes { hint, writes: vec![write] }).map(drop)
    }

    /// Some proposals reach the log late, when the state has moved on.
    fn propose(&mut self, a: u16, entry: impl Into<Entry>) -> Result<(), String> {
        let entry = entry.into();
        if a.is_multiple_of(4) {
            self.pending.push(entry);
            return Ok(());
        }
        let must = matches!(entry, Entry::CommitFlush(_) | Entry::CommitCompaction(_));
        match self.submit(entry)? {
            Outcome::Refused(refusal) if must => Err(format!("a fresh proposal was refused: {refusal}")),
            _ => Ok(()),
        }
    }

    fn tablet(&self, n: u16) -> TabletId {
        let view = self.view();
        view.tablets[usize::from(n) % view.tablets.len()].id
    }

    fn compact(&mut self, a: u16, b: u16, c: u16) -> Result<(), String> {
        let tablet = self.tablet(b);
        let runs = self.view().tablet(tablet).map_or(0, |tablet| tablet.tree.runs().len());
        if runs == 0 {
            return Ok(());
        }
        let newest = usize::from(c) % runs;
        let oldest = newest + usize::from(c / 8) % (runs - newest);
        match self.rig.compact_entry(tablet, newest, oldest) {
            Some(entry) => self.propose(a, entry),
            None => Ok(()),
        }
    }

    fn split(&mut self, a: u16, b: u16) -> Result<(), String> {
        let view = self.view();
        let at = name(b);
        match view.tablet_of(&at) {
            Some(tablet) if view.tablets.len() < 6 => {
                let (reign, tablet, generation) = (view.reign, tablet.id, tablet.generation);
                self.propose(a, SplitTablet { reign, tablet, generation, at })
            }
            _ => Ok(()),
        }
    }

    fn administer(&mut self, a: u16, b: u16) -> Result<(), String> {
        let view = self.view();
        let reign = view.reign;
        match a % 3 {
            0 => self.submit(SetBan {
                node: node(3),
                epoch: Epoch(u64::from(b % 50)),
                banned: b.is_multiple_of(2),
            }),
            1 => {
                let (tablet, generation) = (self.tablet(b), u64::from(b % 4));
                self.submit(SetShard { reign, tablet, generation, shard: ShardId(b % 64) })
            }
            _ => {
                let Some((table, record)) = view.live_tables().nth(usize::from(b) % view.tables.len().max(1))
                else {
                    return Ok(());
                };
                let copies: BTreeMap<NodeId, _> = copies(if b.is_multiple_of(2) { &[1, 3] } else { &[2, 4] });
                let rev = record.copies_rev.saturating_sub(u64::from(a.is_multiple_of(5)));
                self.submit(SetCopies { reign, table, rev, copies })
            }
        }
        .map(drop)
    }

    fn restart(&mut self) {
        self.rig.restart();
        self.reach("restart");
        if self.fault == Some(Fault::WindowLost) {
            self.rig.group.windows.values_mut().for_each(|window| *window = Arc::default());
        }
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        let (kind, a, b, c) = step;
        let reign = self.view().reign;
        let hint = self.hint(c);
        match kind % 34 {
            0..=10 => self.writes(step),
            11..=14 => self.retry(step),
            15 => match self.log.get(usize::from(a) % self.log.len()).cloned().map(Entry::decode) {
                Some(Ok(Entry::BeginReign(_))) | None => Ok(()),
                Some(entry) => self.submit(entry.map_err(|error| error.to_string())?).map(drop),
            },
            16 | 17 => {
                self.now += u64::from(a % 20);
                self.submit(Tick { hint }).map(drop)
            }
            18 => {
                let at = ms(self.now + u64::from(b % 70)).minus_ms(20);
                let snapshot = SnapshotId(u128::from(a % 4));
                self.submit(PinSnapshot { snapshot, at, ttl_ms: u64::from(c % 30), hint }).map(drop)
            }
            19 => {
                let by = if a.is_multiple_of(2) { UnpinBy::Client } else { UnpinBy::Expiry };
                let snapshots = vec![SnapshotId(u128::from(b % 4)), SnapshotId(u128::from(c % 4))];
                self.submit(UnpinSnapshots { snapshots, by }).map(drop)
            }
            20 => self.propose(a, RaiseFloor { reign, to: self.server.last.minus_ms(u64::from(b % 20)) }),
            21 | 22 => self.propose(a, RotateMemtable { reign, tablet: self.tablet(b) }),
            23..=25 => match self.rig.flush_entry(self.tablet(b)) {
                Some(entry) => self.propose(a, entry),
                None => Ok(()),
            },
            26 | 27 => self.compact(a, b, c),
            28 => self.split(a, b),
            29 => {
                let begin = BeginReign { node: node(2), incarnation: lamina_types::Incarnation(2) };
                self.submit(begin).map(drop)
            }
            30 => {
                self.restart();
                Ok(())
            }
            31 => {
                self.frozen.push((self.log.len(), self.rig.group.freeze()));
                Ok(())
            }
            32 if !self.pending.is_empty() => {
                let entry = self.pending.remove(usize::from(a) % self.pending.len());
                self.submit(entry).map(drop)
            }
            _ => self.administer(a, b),
        }
    }

    /// L2: each picture, written out only now, and the rest of the log give the present state.
    fn check_pictures(&mut self) -> Result<(), String> {
        for (from, frozen) in std::mem::take(&mut self.frozen) {
            let restored = DataGroup::restore(GROUP, &mut frozen.chunks());
            let mut group = restored.map_err(|stop| stop.to_string())?;
            group.advance(LogIndex(from as u64));
            for (bytes, index) in self.log[from..].iter().zip(from as u64 + 1..) {
                group.apply(LogIndex(index), bytes.clone()).map_err(|stop| stop.to_string())?;
            }
            if group.digest() != self.rig.group.digest() {
                return Err(format!("L2: the picture at {from} and the rest of the log give another state"));
            }
        }
        Ok(())
    }
}

/// Runs histories; the first violation (with a fault: of the named law), shrunk, and what was reached.
fn explore(fault: Option<(Fault, &str)>, cases: u32) -> (Result<(), String>, Reached) {
    let seed = std::env::var("GROUP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u8);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: if fault.is_some() { 0 } else { 2000 },
        ..Config::default()
    };
    let steps = prop::collection::vec((any::<u8>(), any::<u16>(), any::<u16>(), any::<u16>()), 1..160);
    let reached = RefCell::new(Reached::new());
    let outcome = TestRunner::new_with_rng(config, rng).run(&steps, |steps| {
        let mut world = World::new(fault.map(|(fault, _)| fault));
        let run = world.begin().and_then(|()| steps.into_iter().try_for_each(|step| world.step(step)));
        let run = match fault {
            None => run.and_then(|()| world.check_pictures()),
            // A mistake may show in several ways; what counts is that the law it breaks finds it.
            Some((_, law)) => run.or_else(|why| if why.starts_with(law) { Err(why) } else { Ok(()) }),
        };
        for (what, count) in world.reached {
            *reached.borrow_mut().entry(what).or_default() += count;
        }
        run.map_err(TestCaseError::fail)
    });
    (outcome.map_err(|error| error.to_string()), reached.into_inner())
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100)
}

#[test]
fn a_group_equals_a_single_server_that_executes_the_log_in_order() {
    let (outcome, reached) = explore(None, cases());
    outcome.unwrap_or_else(|violation| panic!("{violation}"));
    // A history that never gets anywhere proves nothing.
    let probes = [
        "Written",
        "Remembered",
        "NotOwner",
        "BatchSpansGroups",
        "Retry",
        "ConditionFailed",
        "TokenExpired",
        "ClockAhead",
        "AlreadyAnswered",
        "TooManyOpen",
        "Rotated",
        "Flushed",
        "Compacted",
        "Split",
        "Pinned",
        "Unpinned",
        "FloorRaised",
        "CopiesSet",
        "BanSet",
        "ShardSet",
        "ReignBegun",
        "restart",
        "Refused StaleReign",
        "Refused MemoryViewGone",
        "Refused Tree",
        "Refused GenerationDiffers",
        "Refused TooManyImmutables",
        "Refused TooManyPins",
        "Refused BelowFloor",
        "Refused PinAhead",
    ];
    let missed: Vec<&&str> = probes.iter().filter(|probe| !reached.contains_key(**probe)).collect();
    assert!(missed.is_empty(), "never reached: {missed:?}; reached: {reached:?}");
}

#[test]
fn a_window_that_is_not_in_the_checkpoint_is_found() {
    let (outcome, _) = explore(Some((Fault::WindowLost, "W2")), 2000);
    assert!(outcome.is_err(), "no history shows it");
}

#[test]
fn eviction_by_the_clock_alone_is_found() {
    let (outcome, _) = explore(Some((Fault::EvictionByClock, "W2")), 2000);
    assert!(outcome.is_err(), "no history shows it");
}

#[test]
fn a_refusal_that_is_not_remembered_is_found() {
    let (outcome, _) = explore(Some((Fault::RefusalForgotten, "W3")), 2000);
    assert!(outcome.is_err(), "no history shows it");
}

#[test]
fn a_condition_that_ignores_flushes_is_found() {
    let (outcome, _) = explore(Some((Fault::NoRuleC, "W1")), 2000);
    assert!(outcome.is_err(), "no history shows it");
}
