//! The single server that a group must equal: it executes the log in order, keeps every version of every key for
//! ever, and has no memtables, tables, splits or checkpoints. Its windows are the words of §5.3, without cleverness.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lamina_types::{KeyRange, RequestId, TabletId, Version};

use super::super::entry::*;
use super::super::*;
use super::rig::Found;

type Value = Option<(Bytes, Option<u64>)>;

pub struct Server {
    pub last: Version,
    pub history: BTreeMap<Bytes, Vec<(Version, Value)>>,
    /// Ranges only matter for which window a request id belongs to.
    tablets: Vec<(TabletId, KeyRange, PlainWindow)>,
    /// Every effective id, never forgotten: what W2 is judged by.
    effects: BTreeMap<(Version, u128, u64), Version>,
    /// Every id whose client was told that its conditions do not hold, never forgotten: what W3 is judged by.
    refused: BTreeSet<(Version, u128, u64)>,
    config: GroupConfig,
}

#[derive(Clone, Default)]
struct PlainWindow {
    floor: Version,
    done_below: BTreeMap<(Version, u128), u64>,
    results: BTreeMap<(Version, u128, u64), WriteOutcome>,
}

impl Server {
    pub fn new(id: TabletId, range: KeyRange, config: GroupConfig) -> Server {
        let tablets = vec![(id, range, PlainWindow::default())];
        Server {
            last: Version::ZERO,
            history: BTreeMap::new(),
            tablets,
            effects: BTreeMap::new(),
            refused: BTreeSet::new(),
            config,
        }
    }

    pub fn split(&mut self, left: TabletId, right: TabletId, at: &Bytes) {
        let at_left = self.tablets.iter().position(|tablet| tablet.0 == left).unwrap();
        let (_, range, window) = self.tablets[at_left].clone();
        let (low, high) = range.split(at);
        self.tablets[at_left].1 = low;
        self.tablets.push((right, high, window));
    }

    pub fn move_clock(&mut self, to: Version) {
        self.last = self.last.max(to);
    }

    /// What a key has at a version.
    pub fn read(&self, key: &[u8], at: Version) -> Found {
        let versions = self.history.get(key)?;
        let (version, value) = versions.iter().rev().find(|(version, _)| *version <= at)?;
        let (bytes, expires) = value.clone()?;
        expires.is_none_or(|ms| ms > at.ms()).then_some((*version, bytes))
    }

    pub fn owns(&self, key: &[u8]) -> bool {
        self.tablets.iter().any(|(_, range, _)| range.contains(key))
    }

    /// Executes the write, and says what is wrong with the answer that the group gave.
    pub fn write(&mut self, hint: Version, write: &ClientWrite, answer: WriteOutcome) -> Result<(), String> {
        let version = self.last.next().max(hint);
        if let (WriteOutcome::Written { .. }, Some(id)) = (answer, &write.request_id)
            && let Some(first) = self.effects.get(&name(id))
        {
            return Err(format!("W2: {id:?} took effect at {first} and again"));
        }
        if let (WriteOutcome::Written { .. }, Some(id)) = (answer, &write.request_id)
            && self.refused.contains(&name(id))
        {
            return Err(format!("W3: {id:?} took effect after its client was told that it never will"));
        }
        let right = self.decide(version, write);
        match (right, answer) {
            (WriteOutcome::Written { .. } | WriteOutcome::ConditionFailed { .. }, WriteOutcome::Retry)
                if !write.conditions.is_empty() =>
            {
                return Ok(());
            }
            (right, answer) if right != answer => {
                let law = if write.conditions.is_empty() { "§5" } else { "W1" };
                return Err(format!(
                    "{law}: {write:?} was answered {answer:?}, a single server says {right:?}"
                ));
            }
            (WriteOutcome::Written { version }, _) => self.execute(version, write)?,
            (WriteOutcome::ConditionFailed { .. }, _) => self.refuse(right, write),
            _ => {}
        }
        Ok(())
    }

    fn decide(&self, version: Version, write: &ClientWrite) -> WriteOutcome {
        let Some(first) = write.operations.first() else { return WriteOutcome::Empty };
        let Some((_, _, window)) = self.tablets.iter().find(|(_, range, _)| range.contains(&first.key))
        else {
            return WriteOutcome::NotOwner;
        };
        let check = |id| window.check(&id, version, self.last, &self.config);
        if let Some(answer) = write.request_id.and_then(check) {
            return answer;
        }
        let conditions = write.conditions.iter().map(|condition| &condition.key);
        if !write.operations.iter().map(|op| &op.key).chain(conditions).all(|key| self.owns(key)) {
            return WriteOutcome::BatchSpansGroups;
        }
        for (nth, condition) in (0..).zip(&write.conditions) {
            let current = self.read(&condition.key, version).map(|(version, _)| version);
            let holds = match condition.expected {
                Expected::Absent => current.is_none(),
                Expected::Present => current.is_some(),
                Expected::Version(expected) => current == Some(expected),
            };
            if !holds {
                return WriteOutcome::ConditionFailed { condition: nth, current };
            }
        }
        WriteOutcome::Written { version }
    }

    fn execute(&mut self, version: Version, write: &ClientWrite) -> Result<(), String> {
        if version <= self.last {
            return Err(format!("V1: {version} was given behind {}", self.last));
        }
        self.last = version;
        for operation in &write.operations {
            let value = match &operation.action {
                Action::Delete => None,
                Action::Put { value, ttl_ms } => Some((value.clone(), ttl_ms.map(|ttl| version.ms() + ttl))),
            };
            let versions = self.history.entry(operation.key.clone()).or_default();
            versions.retain(|(other, _)| *other != version);
            versions.push((version, value));
        }
        if let Some(id) = &write.request_id {
            self.effects.insert(name(id), version);
            let answer = WriteOutcome::Remembered { version };
            let (last, config) = (self.last, self.config);
            self.home(write).remember(id, answer, last, &config);
        }
        Ok(())
    }

    fn refuse(&mut self, answer: WriteOutcome, write: &ClientWrite) {
        let Some(id) = &write.request_id else { return };
        self.refused.insert(name(id));
        let (last, config) = (self.last, self.config);
        let window = self.home(write);
        if !window.results.contains_key(&name(id)) {
            window.remember(id, answer, last, &config);
        }
    }

    fn home(&mut self, write: &ClientWrite) -> &mut PlainWindow {
        let first = &write.operations[0].key;
        let home = self.tablets.iter_mut().find(|(_, range, _)| range.contains(first));
        &mut home.unwrap().2
    }
}

fn name(id: &RequestId) -> (Version, u128, u64) {
    (id.token.base, id.token.id, id.seq)
}

impl PlainWindow {
    fn check(
        &self,
        id: &RequestId,
        version: Version,
        last: Version,
        config: &GroupConfig,
    ) -> Option<WriteOutcome> {
        let token = (id.token.base, id.token.id);
        let mark = self.done_below.get(&token).copied().unwrap_or(0).max(id.done_below);
        if id.token.base < self.floor {
            return Some(WriteOutcome::TokenExpired);
        }
        if id.token.base > version.plus_ms(config.token_ahead_ms) {
            return Some(WriteOutcome::ClockAhead);
        }
        if id.seq < mark {
            // A request that contradicts itself, or one whose answer the client had.
            return Some(WriteOutcome::AlreadyAnswered);
        }
        if let Some(answer) = self.results.get(&name(id)) {
            return Some(*answer);
        }
        let answered = |(b, t, seq): &&(Version, u128, u64)| (*b, *t) == token && *seq < mark;
        let open = self.results.keys().filter(|(b, t, seq)| (*b, *t) == token && *seq >= mark).count();
        let all = self.results.len() - self.results.keys().filter(answered).count();
        let none_may_go = self.results.keys().all(|(base, _, _)| *base >= last);
        let full = all + 1 > config.dedupe_results_max as usize && none_may_go;
        (open + 1 > config.open_requests_max as usize || full).then_some(WriteOutcome::TooManyOpen)
    }

    fn remember(&mut self, id: &RequestId, answer: WriteOutcome, last: Version, config: &GroupConfig) {
        let token = (id.token.base, id.token.id);
        let mark = self.done_below.entry(token).or_default();
        *mark = (*mark).max(id.done_below);
        let mark = *mark;
        self.results.insert(name(id), answer);
        self.results.retain(|(b, t, seq), _| (*b, *t) != token || *seq >= mark);
        self.floor = self.floor.max(last.minus_ms(config.dedupe_ms));
        self.forget();
        while self.results.len() > config.dedupe_results_max as usize {
            let oldest = self.results.keys().map(|(base, _, _)| *base).min().unwrap();
            if oldest >= last {
                break;
            }
            self.floor = oldest.next();
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.results.retain(|(base, _, _), _| *base >= self.floor);
        self.done_below.retain(|(base, _), _| *base >= self.floor);
    }
}
