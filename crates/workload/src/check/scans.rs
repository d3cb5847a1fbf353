//! Is every scan the content of its range at one version?
//!
//! The version must lie at or above every write of the range that was acknowledged before the scan began; the rows
//! must be, key by key, what stood at it. Then no batch can be half visible; where it is, the report says so.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::check::index::Index;
use crate::check::{Rule, Violation};
use crate::history::{Answer, Call, Operation, SeenRow};
use crate::octets::Octets;

/// One scan with its answer.
struct Scan<'a> {
    at: usize,
    by: &'a Operation,
    from: &'a Octets,
    to: Option<&'a Octets>,
    reverse: bool,
    limit: Option<u64>,
    rows: &'a [SeenRow],
    read_at: u64,
}

/// Judges every scan that was answered.
pub fn check(index: &Index<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (at, by) in index.operations.iter().enumerate() {
        if let (Call::Scan { from, to, reverse, limit }, Answer::Rows { rows, read_at }) =
            (&by.call, &by.answer)
        {
            let scan = Scan {
                at,
                by,
                from,
                to: to.as_ref(),
                reverse: *reverse,
                limit: *limit,
                rows,
                read_at: *read_at,
            };
            violations.extend(scan.shape());
            violations.extend(scan.content(index));
        }
    }
    violations
}

impl Scan<'_> {
    /// In order, unique, in the range, not more than asked for, not newer than the version.
    fn shape(&self) -> Option<Violation> {
        let broken = |key: &Octets, what: &str| Some(Violation::new(Rule::ScanShape, key, &[self.at], what));
        for pair in self.rows.windows(2) {
            let [a, b] = pair else { continue };
            let ordered = if self.reverse { a.key > b.key } else { a.key < b.key };
            if !ordered {
                return broken(
                    &b.key,
                    if a.key == b.key { "the key came twice" } else { "the key came out of order" },
                );
            }
        }
        for row in self.rows {
            if row.key < *self.from || self.to.is_some_and(|to| row.key >= *to) {
                return broken(&row.key, "the key lies outside the range");
            }
            if row.version > self.read_at {
                return broken(&row.key, "the row is newer than the version of the scan");
            }
        }
        let too_many = self.limit.is_some_and(|limit| self.rows.len() as u64 > limit);
        self.rows
            .last()
            .filter(|_| too_many)
            .and_then(|row| broken(&row.key, "there are more rows than asked for"))
    }

    /// The keys that the scan speaks of: all of the range, or up to the row with which it reached its limit.
    fn covered(&self) -> Option<(Bound<&Octets>, Bound<&Octets>)> {
        let mut low = Bound::Included(self.from);
        let mut high = self.to.map_or(Bound::Unbounded, Bound::Excluded);
        if self.limit.is_some_and(|limit| self.rows.len() as u64 >= limit) {
            let last = &self.rows.last()?.key;
            if self.reverse { low = Bound::Included(last) } else { high = Bound::Included(last) }
        }
        let empty = match (low, high) {
            (Bound::Included(low), Bound::Excluded(high)) => low >= high,
            (Bound::Included(low), Bound::Included(high)) => low > high,
            _ => false,
        };
        (!empty).then_some((low, high))
    }

    /// Key by key: what the range had at the version of the scan.
    fn content(&self, index: &Index<'_>) -> Vec<Violation> {
        let rows: BTreeMap<&Octets, &SeenRow> = self.rows.iter().map(|row| (&row.key, row)).collect();
        let shown: BTreeSet<u64> = self.rows.iter().map(|row| row.version).collect();
        let Some(range) = self.covered() else { return Vec::new() };
        let mut violations = Vec::new();
        for (key, writes) in index.keys.range::<Octets, _>(range) {
            let late = writes.done.range(self.read_at.saturating_add(1)..).find(|(_, write)| {
                let end = index.operations.get(write.at).and_then(|by| by.end);
                end.is_some_and(|end| end < self.by.begin)
            });
            if let Some((version, write)) = late {
                let what = format!(
                    "the scan read at version {}, and version {version} had been acknowledged before it began",
                    self.read_at
                );
                violations.push(Violation::new(Rule::ScanContent, key, &[write.at, self.at], what));
            }
            let Some((version, write)) = writes.standing_at(self.read_at) else { continue };
            let seen = rows.get(*key).map(|row| row.version);
            let lacks = match seen {
                Some(seen) => seen < version,
                None => {
                    let excused = write.item.expires || writes.may_be_deleted(index.operations, self.by.end);
                    write.item.value.is_some() && !excused
                }
            };
            if lacks {
                let half = shown.contains(&version);
                let rule = if half { Rule::HalfBatch } else { Rule::ScanContent };
                let has = seen.map_or("is absent".to_owned(), |seen| format!("has version {seen}"));
                let also = if half { ", of which another key is there" } else { "" };
                let what =
                    format!("at version {} the key {has}, where version {version} stood{also}", self.read_at);
                violations.push(Violation::new(rule, key, &[write.at, self.at], what));
            }
        }
        violations
    }
}
