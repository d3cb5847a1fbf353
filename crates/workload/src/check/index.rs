//! Which write did each read see?
//!
//! Acknowledged writes are known by their versions. A write of unknown outcome that somebody saw was done: its
//! version is learnt from whoever saw it, for all keys of its batch. What is left was refused, or never seen.

use std::collections::BTreeMap;

use crate::check::{Rule, Violation};
use crate::history::{Answer, Call, Item, Operation};
use crate::octets::Octets;

/// The writes of a history, by key and version.
pub struct Index<'a> {
    pub(crate) operations: &'a [Operation],
    pub(crate) keys: BTreeMap<&'a Octets, Writes<'a>>,
    pub(crate) findings: Vec<Violation>,
}

/// The writes of one key.
#[derive(Default)]
pub(crate) struct Writes<'a> {
    /// Those that were done, by version.
    pub done: BTreeMap<u64, WriteOf<'a>>,
    /// Those that nobody knows of, and nobody saw.
    pub open: Vec<WriteOf<'a>>,
}

/// One key's part in a write.
#[derive(Clone, Copy)]
pub(crate) struct WriteOf<'a> {
    /// The operation.
    pub at: usize,
    /// What was written.
    pub item: &'a Item,
}

/// A value that somebody saw.
struct Sight<'a> {
    at: usize,
    key: &'a Octets,
    value: Option<&'a Octets>,
    version: u64,
}

impl<'a> Writes<'a> {
    /// The write whose effect a reader at `version` has to see; `None`: the key was never written before.
    pub fn standing_at(&self, version: u64) -> Option<(u64, WriteOf<'a>)> {
        self.done.range(..=version).next_back().map(|(version, write)| (*version, *write))
    }

    /// Whether some write of unknown outcome, begun before `moment`, may have made the key absent.
    pub fn may_be_deleted(&self, operations: &[Operation], moment: Option<u64>) -> bool {
        let begun = |write: &WriteOf<'_>| {
            operations.get(write.at).is_some_and(|by| moment.is_none_or(|moment| by.begin < moment))
        };
        self.open.iter().any(|write| (write.item.value.is_none() || write.item.expires) && begun(write))
    }
}

impl<'a> Index<'a> {
    /// Reads a history.
    pub fn of(operations: &'a [Operation]) -> Index<'a> {
        let mut index = Index { operations, keys: BTreeMap::new(), findings: Vec::new() };
        index.take_writes();
        for sight in sights(operations) {
            index.explain(&sight);
        }
        index
    }

    fn take_writes(&mut self) {
        for (at, operation) in self.operations.iter().enumerate() {
            let Call::Write { items } = &operation.call else { continue };
            for item in items {
                let write = WriteOf { at, item };
                let writes = self.keys.entry(&item.key).or_default();
                match operation.answer {
                    Answer::Refused => {}
                    Answer::Written { version } => {
                        if let Some(other) = writes.done.insert(version, write) {
                            let what = format!("two writes were acknowledged with version {version}");
                            self.findings.push(Violation::new(
                                Rule::NotOnce,
                                &item.key,
                                &[other.at, at],
                                what,
                            ));
                        }
                    }
                    _ => writes.open.push(write),
                }
            }
        }
    }

    /// Finds the write that a sight comes from, or notes down that there is none.
    fn explain(&mut self, sight: &Sight<'a>) {
        let Sight { at, key, value, version } = *sight;
        let writes = self.keys.entry(key).or_default();
        if let Some(write) = writes.done.get(&version) {
            let other = value.is_some() && write.item.value.as_ref() != value;
            if other || write.item.value.is_none() {
                let what = format!("version {version} was read with another value than was written with it");
                self.findings.push(Violation::new(Rule::WrongValue, key, &[write.at, at], what));
            }
            return;
        }
        let fits = |write: &&WriteOf<'_>| match value {
            Some(value) => write.item.value.as_ref() == Some(value),
            None => write.item.value.is_some(),
        };
        if let Some(open) = writes.open.iter().find(fits) {
            let by = open.at;
            self.learn(by, version);
            return;
        }
        let twin =
            writes.done.iter().find(|(_, write)| value.is_some() && write.item.value.as_ref() == value);
        let violation = match twin {
            Some((other, write)) => {
                let what =
                    format!("the value was read with version {version} and written with version {other}");
                Violation::new(Rule::NotOnce, key, &[write.at, at], what)
            }
            None => {
                let what = format!("nobody wrote what was read with version {version}");
                Violation::new(Rule::Phantom, key, &[at], what)
            }
        };
        self.findings.push(violation);
    }

    /// The write `by` was done with this version: all its keys have it.
    fn learn(&mut self, by: usize, version: u64) {
        let Some(Operation { call: Call::Write { items }, .. }) = self.operations.get(by) else { return };
        for item in items {
            let writes = self.keys.entry(&item.key).or_default();
            writes.open.retain(|open| open.at != by);
            writes.done.insert(version, WriteOf { at: by, item });
        }
    }
}

fn sights(operations: &[Operation]) -> impl Iterator<Item = Sight<'_>> {
    operations.iter().enumerate().flat_map(|(at, operation)| {
        let mut sights = Vec::new();
        match (&operation.call, &operation.answer) {
            (Call::Get { key }, Answer::Got { found: Some(seen), .. }) => {
                sights.push(Sight { at, key, value: Some(&seen.value), version: seen.version });
            }
            (_, Answer::Rows { rows, .. }) => sights.extend(rows.iter().map(|row| Sight {
                at,
                key: &row.key,
                value: row.value.as_ref(),
                version: row.version,
            })),
            _ => {}
        }
        sights
    })
}
