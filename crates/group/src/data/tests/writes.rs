//! Acceptance of client writes, rule by rule (§5). The rules together are in `history`.

use bytes::Bytes;
use lamina_types::{LogIndex, ShardId, Version};

use super::super::entry::*;
use super::super::*;
use super::rig::*;

fn rig() -> Rig {
    Rig::new(GroupConfig { open_requests_max: 2, dedupe_results_max: 4, ..GroupConfig::default() })
}

fn with_id(id: Option<lamina_types::RequestId>, name: &str) -> ClientWrite {
    ClientWrite { request_id: id, ..put(name, "v") }
}

fn written(outcome: WriteOutcome) -> Version {
    match outcome {
        WriteOutcome::Written { version } => version,
        other => panic!("{other:?}"),
    }
}

/// A write of `name` that holds only if `name` is as `expected`, as a leader proposes it that looks at `view`.
fn conditional(rig: &Rig, view: &GroupView, name: &str, expected: Expected) -> ClientWrite {
    let condition = rig.condition(view, &key(name), expected);
    ClientWrite { conditions: vec![condition], read_at: view.applied, ..put(name, "new") }
}

#[test]
fn versions_follow_the_hint_but_always_rise() {
    let mut rig = rig();
    assert_eq!(written(rig.write_at(ms(50), put("k", "1"))), ms(50));
    assert_eq!(written(rig.write_at(ms(50), put("k", "2"))), ms(50).next());
    assert_eq!(written(rig.write_at(ms(20), put("k", "3"))), ms(50).next().next());
    rig.apply(Tick { hint: ms(70) });
    rig.apply(Tick { hint: ms(60) });
    assert_eq!(written(rig.write_at(ms(20), put("k", "4"))), ms(70).next());
}

#[test]
fn of_two_operations_on_one_key_the_later_wins() {
    let mut rig = rig();
    let operations =
        vec![Operation::put(key("k"), "1"), Operation::delete(key("k")), Operation::put(key("k"), "3")];
    let version = written(rig.write(ClientWrite::new(operations)));
    assert_eq!(rig.get(&rig.view(), &key("k"), version), Some((version, Bytes::from("3"))));
}

#[test]
fn a_time_to_live_ends_by_the_group_s_clock_and_hides_what_is_older() {
    let mut rig = rig();
    rig.write_at(ms(10), put("k", "old"));
    let action = Action::Put { value: Bytes::from("short"), ttl_ms: Some(5) };
    let version = written(rig.write_at(ms(20), ClientWrite::new(vec![Operation { key: key("k"), action }])));
    let at = |rig: &Rig, at| rig.get(&rig.view(), &key("k"), at);
    assert_eq!(at(&rig, version), Some((version, Bytes::from("short"))));
    assert_eq!(at(&rig, Version(ms(25).0 - 1)), Some((version, Bytes::from("short"))));
    assert_eq!(at(&rig, ms(25)), None);
}

#[test]
fn keys_of_other_groups_are_refused_and_nothing_of_the_batch_is_done() {
    let mut rig = rig();
    assert_eq!(rig.write(put("a", "1")), WriteOutcome::NotOwner);
    let both = vec![Operation::put(key("k"), "1"), Operation::put(key("a"), "1")];
    assert_eq!(rig.write(ClientWrite::new(both)), WriteOutcome::BatchSpansGroups);
    let condition = Condition { key: key("a"), expected: Expected::Absent, seen: None };
    let foreign = ClientWrite { conditions: vec![condition], ..put("k", "1") };
    assert_eq!(rig.write(foreign), WriteOutcome::BatchSpansGroups);
    assert_eq!(rig.write(ClientWrite::new(vec![])), WriteOutcome::Empty);
    assert!(rig.view().tablet(FIRST).unwrap().active.is_empty());
    assert_eq!(rig.view().last_version, Version::ZERO);
}

#[test]
fn a_batch_over_two_tablets_of_the_group_is_one_write() {
    let mut rig = rig();
    rig.split(FIRST, &key("l"));
    let both = vec![Operation::put(key("k"), "1"), Operation::put(key("m"), "1")];
    let version = written(rig.write(ClientWrite::new(both)));
    for name in ["k", "m"] {
        assert_eq!(rig.get(&rig.view(), &key(name), version), Some((version, Bytes::from("1"))));
    }
}

#[test]
fn a_remembered_id_is_answered_with_its_first_result() {
    let mut rig = rig();
    let id = request(1, ms(0), 1, 0);
    let version = written(rig.write(with_id(id, "k")));
    let last = rig.view().last_version;
    let other_payload = ClientWrite { request_id: id, ..put("k", "other") };
    assert_eq!(rig.write(other_payload), WriteOutcome::Remembered { version });
    assert_eq!(rig.view().last_version, last);
    assert_eq!(written(rig.write(with_id(request(1, ms(0), 2, 0), "k"))), last.next());
    assert_eq!(written(rig.write(with_id(request(2, ms(0), 1, 0), "k"))), last.next().next());
}

#[test]
fn both_parts_of_a_split_remember() {
    let mut rig = rig();
    let id = request(1, ms(0), 1, 0);
    let version = written(rig.write(with_id(id, "m")));
    rig.split(FIRST, &key("l"));
    assert_eq!(rig.write(with_id(id, "m")), WriteOutcome::Remembered { version });
    assert_eq!(rig.write(with_id(id, "k")), WriteOutcome::Remembered { version });
    rig.restart();
    assert_eq!(rig.write(with_id(id, "m")), WriteOutcome::Remembered { version });
}

#[test]
fn a_number_that_the_client_has_answers_to_is_refused() {
    let mut rig = rig();
    rig.write(with_id(request(1, ms(0), 1, 0), "k"));
    rig.write(with_id(request(1, ms(0), 5, 5), "k"));
    for seq in [1, 4] {
        assert_eq!(rig.write(with_id(request(1, ms(0), seq, 0), "k")), WriteOutcome::AlreadyAnswered);
    }
    let contradiction = request(9, ms(0), 3, 4);
    assert_eq!(rig.write(with_id(contradiction, "k")), WriteOutcome::AlreadyAnswered);
}

#[test]
fn a_token_with_too_many_open_requests_is_refused_until_some_are_answered() {
    let mut rig = rig();
    let mut write = |seq, done_below| rig.write(with_id(request(1, ms(0), seq, done_below), "k"));
    written(write(1, 0));
    written(write(2, 0));
    assert_eq!(write(3, 0), WriteOutcome::TooManyOpen);
    written(write(3, 2));
}

#[test]
fn a_token_ahead_of_the_clock_is_refused() {
    let mut rig = rig();
    let ahead = ms(60_000).next().next();
    assert_eq!(rig.write(with_id(request(1, ahead, 1, 0), "k")), WriteOutcome::ClockAhead);
    written(rig.write(with_id(request(1, Version(ahead.0 - 1), 1, 0), "k")));
}

#[test]
fn an_old_token_is_forgotten_and_refused_from_then_on() {
    let mut rig = rig();
    let id = request(1, ms(1000), 1, 0);
    let version = written(rig.write_at(ms(1000), with_id(id, "k")));
    let quarter = 15 * 60 * 1000;
    rig.write_at(ms(1000 + quarter), with_id(request(2, ms(1000 + quarter), 1, 0), "k"));
    assert_eq!(rig.write(with_id(id, "k")), WriteOutcome::Remembered { version }, "not a moment earlier");
    rig.write_at(ms(1001 + quarter), with_id(request(2, ms(1000 + quarter), 2, 2), "k"));
    assert_eq!(rig.write(with_id(id, "k")), WriteOutcome::TokenExpired);
    assert_eq!(rig.write(with_id(request(3, ms(1000), 7, 0), "k")), WriteOutcome::TokenExpired);
}

#[test]
fn a_full_window_gives_up_the_oldest_tokens_and_refuses_them() {
    let mut rig = rig();
    for base in 1..=5 {
        written(rig.write_at(ms(10), with_id(request(base.into(), ms(base), 1, 0), "k")));
    }
    assert_eq!(rig.write(with_id(request(1, ms(1), 1, 0), "k")), WriteOutcome::TokenExpired);
    let second = rig.write(with_id(request(2, ms(2), 1, 0), "k"));
    assert!(matches!(second, WriteOutcome::Remembered { .. }), "{second:?}");
}

#[test]
fn a_write_whose_condition_failed_is_never_done_by_a_late_duplicate() {
    let mut rig = rig();
    let first = written(rig.write(put("k", "1")));
    let id = request(1, ms(0), 1, 0);
    let guarded =
        |rig: &Rig, expected| ClientWrite { request_id: id, ..conditional(rig, &rig.view(), "k", expected) };
    let write = guarded(&rig, Expected::Absent);
    let failed = WriteOutcome::ConditionFailed { condition: 0, current: Some(first) };
    assert_eq!(rig.write(write), failed);
    assert_eq!(rig.view().last_version, first, "it changed no key");
    written(rig.write(ClientWrite::new(vec![Operation::delete(key("k"))])));
    let duplicate = guarded(&rig, Expected::Absent);
    assert_eq!(rig.write(duplicate.clone()), failed, "though the key is absent by now");
    rig.split(FIRST, &key("l"));
    rig.restart();
    assert_eq!(rig.write(duplicate.clone()), failed, "nor does a checkpoint forget it");
    rig.write(with_id(request(1, ms(0), 2, 2), "k"));
    assert_eq!(rig.write(duplicate), WriteOutcome::AlreadyAnswered);
}

#[test]
fn a_refused_write_also_says_which_answers_its_client_has() {
    let mut rig = rig();
    written(rig.write(with_id(request(1, ms(0), 1, 0), "k")));
    let write = |rig: &Rig, id| ClientWrite {
        request_id: id,
        ..conditional(rig, &rig.view(), "k", Expected::Absent)
    };
    let second = write(&rig, request(1, ms(0), 2, 2));
    assert!(matches!(rig.write(second), WriteOutcome::ConditionFailed { .. }));
    assert_eq!(rig.write(with_id(request(1, ms(0), 1, 0), "k")), WriteOutcome::AlreadyAnswered);
}

#[test]
fn a_window_full_of_tokens_ahead_of_the_clock_takes_no_more_until_the_clock_has_passed_them() {
    let mut rig = rig();
    for token in 1..=4 {
        written(rig.write_at(ms(10), with_id(request(token, ms(1000), 1, 0), "k")));
    }
    let more = with_id(request(5, ms(1000), 1, 0), "k");
    assert_eq!(rig.write_at(ms(10), more.clone()), WriteOutcome::TooManyOpen);
    let base = rig.view().last_version;
    assert_eq!(rig.write_at(ms(20), with_id(request(6, base, 1, 0), "k")), WriteOutcome::TooManyOpen);
    rig.apply(Tick { hint: ms(2000) });
    written(rig.write_at(ms(2000), with_id(request(6, ms(2000), 1, 0), "k")));
    assert_eq!(rig.write(more), WriteOutcome::TokenExpired);
}

#[test]
fn a_tombstone_and_an_expired_value_count_as_absent() {
    let mut rig = rig();
    rig.write_at(ms(10), put("k", "1"));
    let deleted = written(rig.write(ClientWrite::new(vec![Operation::delete(key("k"))])));
    let none = WriteOutcome::ConditionFailed { condition: 0, current: None };
    for expected in [Expected::Present, Expected::Version(deleted)] {
        let write = conditional(&rig, &rig.view(), "k", expected);
        assert_eq!(rig.write(write), none);
    }
    let action = Action::Put { value: Bytes::from("short"), ttl_ms: Some(5) };
    rig.write_at(ms(20), ClientWrite::new(vec![Operation { key: key("k"), action }]));
    rig.rotate(FIRST);
    rig.flush(FIRST);
    let view = rig.view();
    let absent = conditional(&rig, &view, "k", Expected::Absent);
    assert!(absent.conditions[0].seen.is_some(), "the leader saw it alive");
    let failed = rig.write_at(ms(24), absent.clone());
    assert!(matches!(failed, WriteOutcome::ConditionFailed { current: Some(_), .. }), "{failed:?}");
    written(rig.write_at(ms(25), absent));
}

#[test]
fn what_is_in_memory_counts_whatever_the_leader_saw() {
    let mut rig = rig();
    let view = rig.view();
    let version = written(rig.write(put("k", "1")));
    let late = conditional(&rig, &view, "k", Expected::Absent);
    let failed = WriteOutcome::ConditionFailed { condition: 0, current: Some(version) };
    assert_eq!(rig.write(late.clone()), failed);
    rig.rotate(FIRST);
    assert_eq!(rig.write(late), failed);
}

#[test]
fn a_condition_that_a_flush_overtook_is_undecided() {
    let mut rig = rig();
    let view = rig.view();
    rig.write(put("k", "1"));
    rig.rotate(FIRST);
    rig.flush(FIRST);
    let late = conditional(&rig, &view, "k", Expected::Absent);
    assert_eq!(rig.write(late), WriteOutcome::Retry);
    let again = conditional(&rig, &rig.view(), "k", Expected::Absent);
    assert!(matches!(rig.write(again), WriteOutcome::ConditionFailed { current: Some(_), .. }));
}

#[test]
fn a_flush_of_one_tablet_does_not_make_conditions_of_another_undecided() {
    let mut rig = rig();
    rig.write(put("k", "1"));
    rig.rotate(FIRST);
    let Outcome::Split { right } = rig.split(FIRST, &key("l")) else { panic!("no split") };
    let view = rig.view();
    rig.flush(FIRST);
    let other = conditional(&rig, &view, "m", Expected::Absent);
    written(rig.write(other));
    let entry = rig.flush_entry(right).expect("the right part names the memtable too");
    assert!(entry.tables.is_empty(), "and has nothing in it");
    assert_eq!(rig.apply(entry), Outcome::Flushed);
}

#[test]
fn a_view_stays_as_it_was_taken() {
    let mut rig = rig();
    let version = written(rig.write(put("k", "1")));
    let view = rig.view();
    rig.write(put("k", "2"));
    rig.rotate(FIRST);
    rig.split(FIRST, &key("l"));
    rig.flush(FIRST);
    let reign = rig.reign();
    rig.apply(SetShard { reign, tablet: FIRST, generation: 1, shard: ShardId(7) });
    assert_eq!(rig.get(&view, &key("k"), view.last_version), Some((version, Bytes::from("1"))));
    assert_eq!((view.tablets.len(), view.tables.len(), view.applied), (1, 0, LogIndex(2)));
}

#[test]
fn versions_between_the_floor_and_the_last_one_may_be_read() {
    let mut rig = rig();
    rig.write_at(ms(100), put("k", "1"));
    rig.raise_floor(ms(60));
    let view = rig.view();
    let tablet = view.tablet_of(&key("k")).unwrap();
    assert_eq!(view.check_version(tablet, ms(60)), Ok(()));
    assert_eq!(view.check_version(tablet, ms(100)), Ok(()));
    let low = Version(ms(60).0 - 1);
    assert_eq!(view.check_version(tablet, low), Err(VersionRefused::Expired { floor: ms(60) }));
    assert_eq!(view.check_version(tablet, ms(101)), Err(VersionRefused::Ahead { last: ms(100) }));
    assert_eq!(view.floor_target(None, 30), ms(70));
    assert_eq!(view.floor_target(Some(ms(65)), 30), ms(65));
    assert_eq!(view.floor_target(Some(ms(5)), 30), ms(60), "a floor never falls");
}
