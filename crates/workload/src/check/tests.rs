//! Good histories pass; every planted defect is found, by the rule that forbids it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::history::{Answer, Call, Item, Seen, SeenRow};

/// A history by hand: `(begin, end)` are given with each call.
#[derive(Default)]
struct Story(Vec<Operation>);

impl Story {
    fn add(mut self, span: (u64, u64), call: Call, answer: Answer) -> Story {
        let end = (answer != Answer::Unknown).then_some(span.1);
        self.0.push(Operation { session: self.0.len() as u64, begin: span.0, end, call, answer });
        self
    }

    fn write(
        self,
        span: (u64, u64),
        items: &[(&'static str, Option<&'static str>)],
        answer: Answer,
    ) -> Story {
        let item = |(key, value): &(&'static str, Option<&'static str>)| Item {
            key: (*key).into(),
            value: value.map(Into::into),
            expires: false,
        };
        self.add(span, Call::Write { items: items.iter().map(item).collect() }, answer)
    }

    fn put(self, span: (u64, u64), key: &'static str, value: &'static str, version: u64) -> Story {
        self.write(span, &[(key, Some(value))], Answer::Written { version })
    }

    fn get(
        self,
        span: (u64, u64),
        key: &'static str,
        found: Option<(&'static str, u64)>,
        read_at: u64,
    ) -> Story {
        let found = found.map(|(value, version)| Seen { value: value.into(), version });
        self.add(span, Call::Get { key: key.into() }, Answer::Got { found, read_at })
    }

    fn scan(self, span: (u64, u64), rows: &[(&'static str, &'static str, u64)], read_at: u64) -> Story {
        self.scan_with(span, false, None, rows, read_at)
    }

    fn scan_with(
        self,
        span: (u64, u64),
        reverse: bool,
        limit: Option<u64>,
        rows: &[(&'static str, &'static str, u64)],
        read_at: u64,
    ) -> Story {
        let row = |(key, value, version): &(&'static str, &'static str, u64)| SeenRow {
            key: (*key).into(),
            value: Some((*value).into()),
            version: *version,
        };
        let call = Call::Scan { from: "a".into(), to: Some("m".into()), reverse, limit };
        self.add(span, call, Answer::Rows { rows: rows.iter().map(row).collect(), read_at })
    }

    fn rules(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = check(&self.0).into_iter().map(|violation| violation.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }
}

/// `a` gets version 10 in (1, 2) and version 20 in (5, 6).
fn two_puts() -> Story {
    Story::default().put((1, 2), "a", "v10", 10).put((5, 6), "a", "v20", 20)
}

#[test]
fn reads_that_fit_between_the_writes_pass() {
    let story = two_puts()
        .get((0, 1), "a", None, 4)
        .get((3, 4), "a", Some(("v10", 10)), 12)
        .get((4, 9), "a", Some(("v10", 10)), 19)
        .get((7, 8), "a", Some(("v20", 20)), 21)
        .get((7, 8), "b", None, 21)
        .scan((7, 8), &[("a", "v20", 20)], 25);
    assert_eq!(story.rules(), []);
}

#[test]
fn a_read_of_an_overwritten_value_is_stale() {
    // The store says openly that it read at an old version ...
    assert_eq!(
        two_puts().get((7, 8), "a", Some(("v10", 10)), 15).rules(),
        [Rule::Stale, Rule::NotLinearizable]
    );
    // ... or claims a new one and brings an old value.
    assert_eq!(two_puts().get((7, 8), "a", Some(("v10", 10)), 25).rules(), [Rule::Stale]);
}

#[test]
fn a_miss_of_an_acknowledged_value_is_found_unless_a_delete_without_an_answer_may_explain_it() {
    assert_eq!(two_puts().get((7, 8), "a", None, 25).rules(), [Rule::Stale]);
    assert_eq!(two_puts().get((7, 8), "a", None, 5).rules(), [Rule::Stale, Rule::NotLinearizable]);
    let open = two_puts().write((3, 0), &[("a", None)], Answer::Unknown);
    assert_eq!(open.get((7, 8), "a", None, 25).rules(), []);
    let late = two_puts().write((9, 0), &[("a", None)], Answer::Unknown);
    assert_eq!(
        late.get((7, 8), "a", None, 25).rules(),
        [Rule::Stale],
        "a delete that begins later explains nothing"
    );
}

#[test]
fn a_deleted_key_that_is_read_again_is_found() {
    let deleted = two_puts().write((7, 8), &[("a", None)], Answer::Written { version: 30 });
    assert_eq!(deleted.get((9, 10), "a", Some(("v20", 20)), 31).rules(), [Rule::Stale]);
}

#[test]
fn two_reads_that_see_two_writes_in_two_orders_are_found_without_a_look_at_versions() {
    // Both writes are concurrent with everything; one reader saw x then y, the next x again.
    let story = Story::default()
        .put((1, 100), "a", "x", 10)
        .put((1, 100), "a", "y", 20)
        .get((2, 3), "a", Some(("x", 10)), 10)
        .get((4, 5), "a", Some(("y", 20)), 20)
        .get((6, 7), "a", Some(("x", 10)), 10);
    assert_eq!(story.rules(), [Rule::Stale, Rule::NotLinearizable]);
}

#[test]
fn versions_that_do_not_rise_with_real_time_are_found() {
    let story = Story::default().put((1, 2), "a", "first", 20).put((3, 4), "a", "second", 10);
    assert_eq!(story.rules(), [Rule::VersionOrder]);
    let story = two_puts().get((7, 8), "a", Some(("v20", 20)), 19);
    assert_eq!(story.rules(), [Rule::VersionOrder]);
}

#[test]
fn a_value_that_nobody_wrote_or_that_was_refused_or_not_yet_written_is_a_phantom() {
    assert_eq!(two_puts().get((7, 8), "a", Some(("z", 22)), 25).rules(), [Rule::Phantom]);
    let refused = two_puts().write((3, 4), &[("a", Some("no"))], Answer::Refused);
    assert_eq!(refused.get((7, 8), "a", Some(("no", 22)), 25).rules(), [Rule::Phantom]);
    let early = Story::default().get((1, 2), "a", Some(("x", 10)), 10).put((3, 4), "a", "x", 10);
    assert!(early.rules().contains(&Rule::VersionOrder), "{:?}", early.rules());
}

#[test]
fn other_bytes_under_a_written_version_are_found() {
    assert_eq!(two_puts().get((7, 8), "a", Some(("z", 20)), 25).rules(), [Rule::WrongValue]);
}

#[test]
fn a_write_of_unknown_outcome_may_be_seen_from_its_begin_on_and_then_stays() {
    let open = || two_puts().write((7, 0), &[("a", Some("late")), ("b", Some("late"))], Answer::Unknown);
    assert_eq!(open().get((8, 9), "a", Some(("v20", 20)), 25).rules(), []);
    let seen = || open().get((8, 9), "a", Some(("late", 30)), 31);
    assert_eq!(seen().rules(), []);
    assert_eq!(seen().get((10, 11), "a", Some(("v20", 20)), 40).rules(), [Rule::Stale]);
    assert_eq!(seen().get((10, 11), "b", None, 40).rules(), [Rule::Stale], "the batch was done on both keys");
    assert_eq!(seen().get((10, 11), "b", Some(("late", 30)), 40).rules(), []);
}

#[test]
fn a_write_that_took_effect_twice_is_found() {
    let acked = two_puts().get((7, 8), "a", Some(("v10", 25)), 26);
    assert!(acked.rules().contains(&Rule::NotOnce), "{:?}", acked.rules());
    let unknown = Story::default()
        .write((1, 0), &[("a", Some("x"))], Answer::Unknown)
        .get((2, 3), "a", Some(("x", 10)), 11)
        .get((4, 5), "a", Some(("x", 15)), 16);
    assert!(unknown.rules().contains(&Rule::NotOnce), "{:?}", unknown.rules());
    let shared = Story::default().put((1, 2), "a", "x", 10).put((3, 4), "a", "y", 10);
    assert!(shared.rules().contains(&Rule::NotOnce), "{:?}", shared.rules());
}

/// `a`, `b`, `c` get version 10 together; then `b` gets version 20.
fn batch() -> Story {
    Story::default()
        .write(
            (1, 2),
            &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))],
            Answer::Written { version: 10 },
        )
        .put((3, 9), "b", "2", 20)
}

#[test]
fn a_scan_of_one_version_passes_in_both_directions_and_with_a_limit() {
    let rows = [("a", "1", 10), ("b", "1", 10), ("c", "1", 10)];
    assert_eq!(batch().scan((4, 5), &rows, 15).rules(), []);
    assert_eq!(batch().scan((4, 5), &[("a", "1", 10), ("b", "2", 20), ("c", "1", 10)], 20).rules(), []);
    let turned = [("c", "1", 10), ("b", "1", 10)];
    assert_eq!(batch().scan_with((4, 5), true, Some(2), &turned, 15).rules(), []);
    assert_eq!(batch().scan_with((4, 5), true, None, &turned, 15).rules(), [Rule::HalfBatch]);
}

#[test]
fn half_a_batch_is_found() {
    assert_eq!(batch().scan((4, 5), &[("a", "1", 10), ("c", "1", 10)], 15).rules(), [Rule::HalfBatch]);
    let unknown = Story::default()
        .write((1, 0), &[("a", Some("1")), ("b", Some("1"))], Answer::Unknown)
        .scan((2, 3), &[("a", "1", 10)], 12);
    assert_eq!(unknown.rules(), [Rule::HalfBatch]);
}

#[test]
fn a_scan_that_lacks_what_was_acknowledged_is_found() {
    assert_eq!(batch().scan((4, 5), &[], 15).rules(), [Rule::ScanContent]);
    assert_eq!(batch().scan((4, 5), &[], 5).rules(), [Rule::ScanContent], "its version is too old");
    let stale = [("a", "1", 10), ("b", "1", 10), ("c", "1", 10)];
    assert_eq!(batch().scan((10, 11), &stale, 25).rules(), [Rule::ScanContent]);
}

#[test]
fn rows_out_of_shape_are_found() {
    let (a, b, c) = (("a", "1", 10), ("b", "1", 10), ("c", "1", 10));
    for rows in [[b, a, c], [a, b, b], [a, c, b]] {
        assert!(batch().scan((4, 5), &rows, 15).rules().contains(&Rule::ScanShape), "{rows:?}");
    }
    assert!(batch().scan_with((4, 5), false, Some(2), &[a, b, c], 15).rules().contains(&Rule::ScanShape));
    let newer = [a, ("b", "2", 20), c];
    assert!(batch().scan((4, 5), &newer, 15).rules().contains(&Rule::ScanShape));
    let outside = batch().put((3, 4), "z", "1", 12).scan((5, 6), &[a, b, c, ("z", "1", 12)], 15);
    assert!(outside.rules().contains(&Rule::ScanShape));
}

/// A store that keeps its word, driven by a list of numbers: several callers, answers late, some lost.
fn faithful(choices: &[(u8, u8, u8)]) -> Vec<Operation> {
    let (mut moment, mut version) = (0u64, 100u64);
    let mut state: BTreeMap<Octets, (Octets, u64)> = BTreeMap::new();
    let mut history = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for (step, (what, key, late)) in choices.iter().enumerate() {
        moment += 1;
        let begin = moment;
        let name = |shift: u8| Octets::from(format!("k{}", (key.wrapping_add(shift)) % 6));
        let (call, answer) = match what % 4 {
            0 | 1 => {
                version += 1;
                let value = (what % 8 != 0).then(|| Octets::from(format!("v{step}")));
                let items: Vec<Item> = (0..1 + late % 3)
                    .map(|shift| Item { key: name(shift), value: value.clone(), expires: false })
                    .collect();
                let lost = key % 7 == 0;
                if !(lost && late % 2 == 0) {
                    for item in &items {
                        match &item.value {
                            Some(value) => state.insert(item.key.clone(), (value.clone(), version)),
                            None => state.remove(&item.key),
                        };
                    }
                }
                let answer = if lost { Answer::Unknown } else { Answer::Written { version } };
                (Call::Write { items }, answer)
            }
            2 => {
                let found = state
                    .get(&name(0))
                    .map(|(value, version)| Seen { value: value.clone(), version: *version });
                (Call::Get { key: name(0) }, Answer::Got { found, read_at: version })
            }
            _ => {
                let rows = state.iter().map(|(key, (value, version))| SeenRow {
                    key: key.clone(),
                    value: Some(value.clone()),
                    version: *version,
                });
                let call = Call::Scan { from: "".into(), to: None, reverse: false, limit: None };
                (call, Answer::Rows { rows: rows.collect(), read_at: version })
            }
        };
        history.push(Operation { session: 0, begin, end: None, call, answer });
        open.push(step);
        // Some calls are answered only after others have begun.
        if late % 3 != 0 {
            for at in open.drain(..) {
                moment += 1;
                history[at].end = (history[at].answer != Answer::Unknown).then_some(moment);
            }
        }
    }
    for at in open {
        moment += 1;
        history[at].end = (history[at].answer != Answer::Unknown).then_some(moment);
    }
    history
}

proptest! {
    #[test]
    fn a_store_that_keeps_its_word_is_never_accused(choices in prop::collection::vec(any::<(u8, u8, u8)>(), 1..200)) {
        let history = faithful(&choices);
        prop_assert_eq!(check(&history), vec![]);
    }

    #[test]
    fn a_read_that_is_turned_back_to_an_overwritten_value_is_always_found(
        choices in prop::collection::vec(any::<(u8, u8, u8)>(), 1..100), overwrites in 1u64..5,
    ) {
        let mut history = faithful(&choices);
        let end = history.len() as u64 * 4;
        for n in 0..=overwrites {
            let items = vec![Item::put("key", format!("n{n}"))];
            let answer = Answer::Written { version: 10_000 + n };
            let (begin, end) = (end + n * 2, Some(end + n * 2 + 1));
            history.push(Operation { session: 0, begin, end, call: Call::Write { items }, answer });
        }
        let found = Some(Seen { value: "n0".into(), version: 10_000 });
        let answer = Answer::Got { found, read_at: 20_000 };
        let begin = end + 100;
        let call = Call::Get { key: "key".into() };
        history.push(Operation { session: 0, begin, end: Some(begin + 1), call, answer });
        prop_assert!(check(&history).iter().any(|violation| violation.rule == Rule::Stale));
    }
}

#[test]
fn a_long_history_is_judged_quickly() {
    let choices: Vec<(u8, u8, u8)> = (0..20_000u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes())
        .map(|[a, b, c, _]| (if a % 4 == 3 { 2 } else { a }, b, c))
        .collect();
    let history = faithful(&choices);
    assert_eq!(check(&history), vec![]);
}
