//! Is every key a linearizable register?
//!
//! Two judges. **Zones** (Gibbons and Korach, "Testing Shared Memories", 1997) take each write with the reads that saw
//! it; the stretch from the earliest end to the latest begin is the cluster's zone. Two forward zones that overlap,
//! or a backward zone inside a forward one, exclude every order. They do not look at what versions promise.
//! **Versions** must rise with real time: what ended before an operation began has no higher version than what the
//! operation saw or made. Both O(n log n).

use std::collections::BTreeMap;

use crate::check::index::{Index, Writes};
use crate::check::{Rule, Violation};
use crate::history::{Answer, Call};
use crate::octets::Octets;

/// The version of a key that was never written.
const NEVER: u64 = 0;

/// One operation on one key: it made, or saw, a version.
#[derive(Clone, Copy)]
struct Event {
    at: usize,
    begin: u64,
    end: u64,
    version: u64,
    writes: bool,
}

/// Judges every key.
pub fn check(index: &Index<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut events: BTreeMap<&Octets, Vec<Event>> = BTreeMap::new();
    for (key, writes) in &index.keys {
        let list = events.entry(key).or_default();
        for (version, write) in &writes.done {
            let Some(by) = index.operations.get(write.at) else { continue };
            let end = by.end.unwrap_or(u64::MAX);
            list.push(Event { at: write.at, begin: by.begin, end, version: *version, writes: true });
        }
    }
    let never_written = Writes::default();
    for (at, operation) in index.operations.iter().enumerate() {
        let (Call::Get { key }, Answer::Got { found, read_at }) = (&operation.call, &operation.answer) else {
            continue;
        };
        let writes = index.keys.get(key).unwrap_or(&never_written);
        let standing = writes.standing_at(*read_at);
        let version = match found {
            Some(seen) => Some(seen.version),
            None => absence(index, writes, at, *read_at),
        };
        let Some(version) = version else { continue };
        if let Some(violation) = misses(key, at, version, *read_at, standing.map(|(version, _)| version)) {
            violations.push(violation);
            continue;
        }
        let end = operation.end.unwrap_or(u64::MAX);
        let event = Event { at, begin: operation.begin, end, version, writes: false };
        events.entry(key).or_default().push(event);
    }
    for (key, events) in &mut events {
        violations.extend(zones(key, events));
        violations.extend(versions(key, events));
    }
    violations
}

/// Which version a reader that found nothing saw; `None`: it cannot be decided, because the value may have expired or
/// somebody may have deleted it without an answer.
fn absence(index: &Index<'_>, writes: &Writes<'_>, at: usize, read_at: u64) -> Option<u64> {
    let Some((version, write)) = writes.standing_at(read_at) else { return Some(NEVER) };
    if write.item.value.is_none() {
        return Some(version);
    }
    let end = index.operations.get(at).and_then(|operation| operation.end);
    if write.item.expires || writes.may_be_deleted(index.operations, end) {
        return None;
    }
    // It had to see that value: say that it saw what was before every write.
    Some(NEVER)
}

/// Whether a read at `read_at` that saw `version` misses what stood there.
fn misses(key: &Octets, at: usize, version: u64, read_at: u64, standing: Option<u64>) -> Option<Violation> {
    let standing = standing.unwrap_or(NEVER);
    if version > read_at {
        let what = format!("a read at version {read_at} saw version {version}");
        return Some(Violation::new(Rule::VersionOrder, key, &[at], what));
    }
    (version < standing).then(|| {
        let saw = if version == NEVER { "nothing".to_owned() } else { format!("version {version}") };
        let what = format!("a read at version {read_at} saw {saw}, where version {standing} stood");
        Violation::new(Rule::Stale, key, &[at], what)
    })
}

/// A write and the reads that saw it, as the stretch between the earliest end and the latest begin.
struct Zone {
    version: u64,
    earliest_end: u64,
    latest_begin: u64,
    /// Who ended first, and who began last.
    shown_by: [usize; 2],
}

impl Zone {
    fn is_forward(&self) -> bool {
        self.earliest_end < self.latest_begin
    }

    fn low(&self) -> u64 {
        self.earliest_end.min(self.latest_begin)
    }

    fn high(&self) -> u64 {
        self.earliest_end.max(self.latest_begin)
    }
}

fn zones(key: &Octets, events: &[Event]) -> Vec<Violation> {
    let mut zones: BTreeMap<u64, Zone> = BTreeMap::new();
    for event in events {
        let zone = zones.entry(event.version).or_insert_with(|| {
            // The state before every write was made before everything.
            let earliest_end = if event.version == NEVER { 0 } else { u64::MAX };
            Zone { version: event.version, earliest_end, latest_begin: 0, shown_by: [event.at; 2] }
        });
        if event.end < zone.earliest_end {
            zone.earliest_end = event.end;
            zone.shown_by[0] = event.at;
        }
        if event.begin >= zone.latest_begin {
            zone.latest_begin = event.begin;
            zone.shown_by[1] = event.at;
        }
    }
    let (mut forward, backward): (Vec<Zone>, Vec<Zone>) = zones.into_values().partition(Zone::is_forward);
    forward.sort_by_key(Zone::low);
    let mut violations = Vec::new();
    let mut conflict = |a: &Zone, b: &Zone| {
        let mut operations = [a.shown_by, b.shown_by].concat();
        operations.sort_unstable();
        operations.dedup();
        let what = format!(
            "versions {} and {} were each seen before and after the other: no order explains that",
            a.version, b.version
        );
        violations.push(Violation::new(Rule::NotLinearizable, key, &operations, what));
    };
    let mut furthest: Option<&Zone> = None;
    for zone in &forward {
        if let Some(before) = furthest.filter(|before| zone.low() < before.high()) {
            conflict(before, zone);
        }
        if furthest.is_none_or(|before| before.high() < zone.high()) {
            furthest = Some(zone);
        }
    }
    for zone in &backward {
        let at = forward.partition_point(|other| other.low() < zone.low());
        let around = at.checked_sub(1).and_then(|at| forward.get(at));
        if let Some(around) = around.filter(|around| zone.high() < around.high()) {
            conflict(around, zone);
        }
    }
    violations
}

/// What ended before an operation began is not newer than what the operation saw, and older than what it wrote.
fn versions(key: &Octets, events: &mut [Event]) -> Vec<Violation> {
    let mut by_end = events.to_vec();
    by_end.sort_by_key(|event| event.end);
    events.sort_by_key(|event| event.begin);
    let mut ended = by_end.into_iter().peekable();
    let mut newest: Option<Event> = None;
    let mut violations = Vec::new();
    for event in events.iter() {
        while let Some(before) = ended.next_if(|before| before.end < event.begin) {
            if newest.is_none_or(|newest| newest.version < before.version) {
                newest = Some(before);
            }
        }
        let Some(newest) = newest else { continue };
        let too_old =
            if event.writes { event.version <= newest.version } else { event.version < newest.version };
        if too_old {
            let (rule, did) = if event.writes { (Rule::VersionOrder, "got") } else { (Rule::Stale, "saw") };
            let what = format!(
                "version {} was known before an operation began that {did} version {}",
                newest.version, event.version
            );
            violations.push(Violation::new(rule, key, &[newest.at, event.at], what));
        }
    }
    violations
}
