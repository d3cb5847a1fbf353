//! Every precondition of §3 refuses what it should, and a refused entry changes nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use lamina_engine::tree::Refused;
use lamina_types::{Epoch, Level, LogIndex, Reign, ShardId, SnapshotId, TableId, TabletId, Version};

use super::super::entry::*;
use super::super::*;
use super::rig::*;

const NOWHERE: TabletId = TabletId { group: GROUP, index: 77 };

fn rig() -> Rig {
    Rig::new(GroupConfig::default())
}

/// A group with one memory view (`k`, `m`) and something in the active memtable.
fn rotated() -> (Rig, LogIndex) {
    let mut rig = rig();
    rig.write(put("k", "1"));
    rig.write(put("m", "1"));
    let Outcome::Rotated { rotated_at } = rig.rotate(FIRST) else { panic!("not rotated") };
    rig.write(put("k", "2"));
    (rig, rotated_at)
}

/// A group with two runs over `k`.
fn two_runs() -> Rig {
    let (mut rig, _) = rotated();
    assert_eq!(rig.flush(FIRST), Outcome::Flushed);
    rig.rotate(FIRST);
    assert_eq!(rig.flush(FIRST), Outcome::Flushed);
    assert_eq!(rig.view().tablet(FIRST).unwrap().tree.runs().len(), 2);
    rig
}

#[test]
fn an_entry_of_another_reign_has_no_effect() {
    let (mut rig, _) = rotated();
    let flush = rig.flush_entry(FIRST).unwrap();
    let old = rig.reign();
    let current = rig.begin_reign();
    assert!(current > old);
    let stale = Refusal::StaleReign { current };
    let (tablet, generation) = (FIRST, 0);
    assert_eq!(rig.refusal(RaiseFloor { reign: old, to: ms(1) }), stale);
    assert_eq!(rig.refusal(RotateMemtable { reign: old, tablet }), stale);
    assert_eq!(rig.refusal(flush), stale);
    let compaction =
        CommitCompaction { reign: old, tablet, inputs: vec![], outputs: vec![], floor: ms(0), bottom: false };
    assert_eq!(rig.refusal(compaction), stale);
    let table = TableId { group: GROUP, reign: old, n: 1 };
    assert_eq!(rig.refusal(SetCopies { reign: old, table, rev: 0, copies: copies(&[1]) }), stale);
    assert_eq!(rig.refusal(SplitTablet { reign: old, tablet, generation, at: key("l") }), stale);
    assert_eq!(rig.refusal(SetShard { reign: old, tablet, generation, shard: ShardId(1) }), stale);
}

#[test]
fn a_tablet_that_is_not_here_is_refused() {
    let mut rig = rig();
    let (reign, tablet, generation) = (rig.reign(), NOWHERE, 0);
    let unknown = Refusal::TabletUnknown { tablet };
    assert_eq!(rig.refusal(RotateMemtable { reign, tablet }), unknown);
    let flush = CommitFlush {
        reign,
        tablet,
        rotated_at: LogIndex(1),
        range: lamina_types::KeyRange::all(),
        floor: ms(0),
        tables: vec![],
    };
    assert_eq!(rig.refusal(flush), unknown);
    let compaction =
        CommitCompaction { reign, tablet, inputs: vec![], outputs: vec![], floor: ms(0), bottom: false };
    assert_eq!(rig.refusal(compaction), unknown);
    assert_eq!(rig.refusal(SplitTablet { reign, tablet, generation, at: key("l") }), unknown);
    assert_eq!(rig.refusal(SetShard { reign, tablet, generation, shard: ShardId(1) }), unknown);
}

#[test]
fn a_pin_needs_a_version_that_is_kept_and_near_and_a_free_place() {
    let mut rig = Rig::new(GroupConfig { pins_max: 1, ..GroupConfig::default() });
    rig.write_at(ms(1000), put("k", "1"));
    rig.raise_floor(ms(900));
    let pin = |id, at, hint| PinSnapshot { snapshot: SnapshotId(id), at, ttl_ms: 500, hint };
    assert_eq!(rig.refusal(pin(1, ms(899), ms(1000))), Refusal::BelowFloor { floor: ms(900) });
    let late = ms(1000).plus_ms(60_000).next();
    assert_eq!(rig.refusal(pin(1, late, ms(1000))), Refusal::PinAhead);
    let taken = rig.apply(pin(1, ms(1000).plus_ms(60_000), ms(1000)));
    assert_eq!(taken, Outcome::Pinned { at: ms(61_000), expires_ms: 61_500 });
    assert_eq!(rig.view().last_version, ms(61_000), "later writes lie above what the pin reads");
    assert_eq!(rig.refusal(pin(2, ms(61_000), ms(61_000))), Refusal::TooManyPins { limit: 1 });
    let again = rig.apply(pin(1, ms(5), ms(0)));
    assert_eq!(again, taken, "a known pin is answered as it stands, whatever the retry says");
}

#[test]
fn a_pin_is_given_up_by_the_client_or_when_it_has_expired() {
    let mut rig = rig();
    let pin = |id, ttl_ms| PinSnapshot { snapshot: SnapshotId(id), at: ms(100), ttl_ms, hint: ms(100) };
    rig.apply(pin(1, 10));
    rig.apply(pin(2, 20));
    let both = vec![SnapshotId(1), SnapshotId(2), SnapshotId(9)];
    let expire = UnpinSnapshots { snapshots: both.clone(), by: UnpinBy::Expiry };
    assert_eq!(rig.apply(expire.clone()), Outcome::Unpinned { removed: vec![] });
    rig.apply(Tick { hint: ms(110) });
    assert_eq!(rig.view().expired_pins(), vec![SnapshotId(1)]);
    assert_eq!(rig.apply(expire), Outcome::Unpinned { removed: vec![SnapshotId(1)] });
    let release = UnpinSnapshots { snapshots: both, by: UnpinBy::Client };
    assert_eq!(rig.apply(release), Outcome::Unpinned { removed: vec![SnapshotId(2)] });
}

#[test]
fn the_floor_stops_at_the_lowest_pin_and_at_the_last_version_and_never_falls() {
    let mut rig = rig();
    rig.apply(Tick { hint: ms(1000) });
    rig.apply(PinSnapshot { snapshot: SnapshotId(1), at: ms(500), ttl_ms: 1, hint: ms(1000) });
    assert_eq!(rig.raise_floor(ms(800)), ms(500));
    rig.apply(UnpinSnapshots { snapshots: vec![SnapshotId(1)], by: UnpinBy::Client });
    assert_eq!(rig.raise_floor(ms(2000)), ms(1000));
    assert_eq!(rig.raise_floor(ms(1)), ms(1000));
}

#[test]
fn a_rotation_needs_something_to_rotate_and_a_free_place() {
    let mut rig = Rig::new(GroupConfig { immutables_max: 1, ..GroupConfig::default() });
    let (reign, tablet) = (rig.reign(), FIRST);
    assert_eq!(rig.refusal(RotateMemtable { reign, tablet }), Refusal::MemtableEmpty { tablet });
    rig.write(put("k", "1"));
    assert!(matches!(rig.rotate(tablet), Outcome::Rotated { .. }));
    rig.write(put("k", "2"));
    let full = Refusal::TooManyImmutables { tablet, limit: 1 };
    assert_eq!(rig.refusal(RotateMemtable { reign, tablet }), full);
}

#[test]
fn a_flush_must_name_the_oldest_memory_view_as_it_is() {
    let (mut rig, rotated_at) = rotated();
    let flush = rig.flush_entry(FIRST).unwrap();
    rig.rotate(FIRST);
    let second = rig.view().tablet(FIRST).unwrap().memory[0].rotated_at;
    let gone = |rotated_at| Refusal::MemoryViewGone { tablet: FIRST, rotated_at };
    let other = CommitFlush { rotated_at: LogIndex(1), ..flush.clone() };
    assert_eq!(rig.refusal(other), gone(LogIndex(1)));
    let range = flush.range.split(&key("l")).0;
    assert_eq!(rig.refusal(CommitFlush { range, ..flush.clone() }), gone(rotated_at));
    let newer = CommitFlush { rotated_at: second, ..flush.clone() };
    let refusal = Refusal::MemoryViewNotOldest { tablet: FIRST, rotated_at: second };
    assert_eq!(rig.refusal(newer), refusal);
    let above = CommitFlush { floor: rig.view().read_floor.next(), ..flush.clone() };
    assert_eq!(rig.refusal(above), Refusal::FloorNotReached { floor: rig.view().read_floor });
    assert_eq!(rig.apply(flush.clone()), Outcome::Flushed);
    assert_eq!(rig.view().tablet(FIRST).unwrap().last_flush, LogIndex(rig.index));
    assert_eq!(rig.refusal(flush), gone(rotated_at), "T2: an id becomes live by one entry only");
}

#[test]
fn a_flush_that_a_split_overtook_is_refused() {
    let (mut rig, rotated_at) = rotated();
    let flush = rig.flush_entry(FIRST).unwrap();
    assert!(matches!(rig.split(FIRST, &key("l")), Outcome::Split { .. }));
    assert_eq!(rig.refusal(flush), Refusal::MemoryViewGone { tablet: FIRST, rotated_at });
}

#[test]
fn only_admissible_tables_become_live() {
    let (mut rig, _) = rotated();
    let flush = rig.flush_entry(FIRST).unwrap();
    let mut with = |edit: &dyn Fn(&mut NewTable)| {
        let mut flush = flush.clone();
        edit(&mut flush.tables[0]);
        match rig.refusal(flush) {
            Refusal::Inadmissible { why, .. } => why,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(with(&|new| new.table.group.0 += 1), Inadmissible::OtherGroup);
    assert_eq!(with(&|new| new.table.reign.0 += 1), Inadmissible::OtherReign);
    assert_eq!(with(&|new| new.record.smallest = key("a")), Inadmissible::OutsideRange);
    assert_eq!(
        with(&|new| new.record.largest = Bytes::from_static(&[0, 0, 0, 2])),
        Inadmissible::OutsideRange
    );
    let few = Inadmissible::TooFewCopies { left: 1, needed: 2 };
    assert_eq!(with(&|new| new.record.copies = copies(&[1])), few);
    let twice =
        CommitFlush { tables: [flush.tables.clone(), flush.tables.clone()].concat(), ..flush.clone() };
    let table = flush.tables[0].table;
    assert_eq!(rig.refusal(twice), Refusal::Inadmissible { table, why: Inadmissible::Live });
    rig.apply(flush.clone());
    rig.rotate(FIRST);
    let second = CommitFlush { tables: flush.tables, ..rig.flush_entry(FIRST).unwrap() };
    assert_eq!(rig.refusal(second), Refusal::Inadmissible { table, why: Inadmissible::Live });
}

#[test]
fn copies_on_banned_nodes_do_not_count_and_are_struck() {
    let (mut rig, _) = rotated();
    let flush = rig.flush_entry(FIRST).unwrap();
    let table = flush.tables[0].table;
    rig.apply(SetBan { node: node(1), epoch: Epoch(4), banned: true });
    rig.apply(SetBan { node: node(2), epoch: Epoch(5), banned: true });
    let few = Inadmissible::TooFewCopies { left: 1, needed: 2 };
    assert_eq!(rig.refusal(flush.clone()), Refusal::Inadmissible { table, why: few });
    rig.apply(SetBan { node: node(2), epoch: Epoch(6), banned: false });
    assert_eq!(rig.apply(flush), Outcome::Flushed);
    let stored = rig.view().table(table).unwrap().copies.keys().copied().collect::<Vec<_>>();
    assert_eq!(stored, [node(2), node(3)]);
    assert_eq!(rig.view().tables_on(node(1)).count(), 0);
}

#[test]
fn tables_of_one_flush_must_not_overlap() {
    let (mut rig, _) = rotated();
    let flush = rig.flush_entry(FIRST).unwrap();
    let mut second = flush.tables[0].clone();
    second.table.n += 1;
    let tables = vec![flush.tables[0].clone(), second.clone()];
    let why = Refused::Disorder { table: second.table };
    assert_eq!(rig.refusal(CommitFlush { tables, ..flush }), Refusal::Tree { tablet: FIRST, why });
}

#[test]
fn a_compaction_must_replace_what_is_there_and_all_of_it() {
    let mut rig = two_runs();
    let all = rig.compact_entry(FIRST, 0, 1).unwrap();
    assert!(all.bottom);
    let tree = |why| Refusal::Tree { tablet: FIRST, why };
    let floor = rig.view().read_floor;
    let above = CommitCompaction { floor: floor.next(), ..all.clone() };
    assert_eq!(rig.refusal(above), Refusal::FloorNotReached { floor });
    let nothing = CommitCompaction { inputs: vec![], ..all.clone() };
    assert_eq!(rig.refusal(nothing), tree(Refused::NoInputs));
    let top = rig.compact_entry(FIRST, 0, 0).unwrap();
    assert!(!top.bottom);
    let below = all.inputs[1].table;
    assert_eq!(
        rig.refusal(CommitCompaction { bottom: true, ..top.clone() }),
        tree(Refused::NotBottom { table: below })
    );
    let wide = rig.compact_entry(FIRST, 0, 1).unwrap().outputs;
    let outside = tree(Refused::OutsideSpan { table: wide[0].table });
    assert_eq!(rig.refusal(CommitCompaction { outputs: wide, ..top }), outside);
    let mut few = all.clone();
    few.outputs[0].record.copies = copies(&[3]);
    let (table, why) = (few.outputs[0].table, Inadmissible::TooFewCopies { left: 1, needed: 2 });
    assert_eq!(rig.refusal(few), Refusal::Inadmissible { table, why });
    let mut inputs: Vec<TableId> = all.inputs.iter().map(|input| input.table).collect();
    inputs.sort();
    assert_eq!(rig.apply(all.clone()), Outcome::Compacted { left: inputs.clone() });
    assert!(inputs.iter().all(|table| !rig.view().is_live(*table)));
    let gone = tree(Refused::InputGone { table: all.inputs[0].table });
    let (reign, n) = (rig.reign(), rig.n + 1);
    let mut again = all;
    again.outputs[0].table = TableId { group: GROUP, reign, n };
    assert_eq!(rig.refusal(again), gone);
}

#[test]
fn a_table_stays_live_until_the_last_view_of_it_has_gone() {
    let mut rig = two_runs();
    let shared: Vec<TableId> = rig.view().live_tables().map(|(table, _)| table).collect();
    let Outcome::Split { right } = rig.split(FIRST, &key("l")) else { panic!("no split") };
    let left = rig.compact_entry(FIRST, 0, 1).unwrap();
    let Outcome::Compacted { left: gone } = rig.apply(left) else { panic!("not compacted") };
    assert_eq!(gone.len(), 1, "the run of k alone has left, the one of k and m has not");
    let last = rig.compact_entry(right, 0, 0).unwrap();
    let Outcome::Compacted { left: rest } = rig.apply(last) else { panic!("not compacted") };
    assert_eq!([gone, rest].concat().len(), shared.len());
}

#[test]
fn copies_are_replaced_by_revision_and_never_all_taken() {
    let mut rig = two_runs();
    let (reign, table) = (rig.reign(), rig.view().live_tables().next().unwrap().0);
    let set = |rev, nodes: &[u128]| SetCopies { reign, table, rev, copies: copies(nodes) };
    let unknown = TableId { n: 99, ..table };
    let gone = SetCopies { table: unknown, ..set(0, &[1]) };
    assert_eq!(rig.refusal(gone), Refusal::TableNotLive { table: unknown });
    assert_eq!(rig.refusal(set(1, &[1])), Refusal::RevisionDiffers { table, current: 0 });
    assert_eq!(rig.refusal(set(0, &[])), Refusal::NoCopies { table });
    rig.apply(SetBan { node: node(9), epoch: Epoch(1), banned: true });
    rig.apply(SetBan { node: node(2), epoch: Epoch(1), banned: true });
    assert_eq!(rig.refusal(set(0, &[1, 9])), Refusal::NodeBanned { node: node(9) });
    assert_eq!(rig.apply(set(0, &[2, 3])), Outcome::CopiesSet { rev: 1 }, "2 is banned, but not new here");
    assert_eq!(rig.refusal(set(0, &[3])), Refusal::RevisionDiffers { table, current: 1 });
    assert_eq!(rig.apply(set(1, &[3])), Outcome::CopiesSet { rev: 2 });
    assert_eq!(rig.refusal(set(2, &[2, 3])), Refusal::NodeBanned { node: node(2) });
}

#[test]
fn a_split_needs_the_present_generation_and_a_key_inside() {
    let mut rig = rig();
    let (reign, tablet) = (rig.reign(), FIRST);
    let at = |generation, at| SplitTablet { reign, tablet, generation, at };
    let differs = Refusal::GenerationDiffers { tablet, current: 0 };
    assert_eq!(rig.refusal(at(1, key("l"))), differs);
    let outside = Refusal::SplitKeyOutside { tablet };
    assert_eq!(rig.refusal(at(0, key("b"))), outside, "the left part would be empty");
    assert_eq!(rig.refusal(at(0, key("a"))), outside);
    assert_eq!(
        rig.refusal(at(0, Bytes::from_static(&[0, 0, 0, 2]))),
        outside,
        "the right part would be empty"
    );
    let right = TabletId { group: GROUP, index: rig.index + 1 };
    assert_eq!(rig.apply(at(0, key("l"))), Outcome::Split { right });
    let view = rig.view();
    assert_eq!(view.tablet_of(&key("k")).unwrap().id, FIRST);
    assert_eq!(view.tablet_of(&key("l")).unwrap().id, right);
    assert!(view.tablets.iter().all(|tablet| tablet.generation == 1 && tablet.shard == ShardId(5)));
    assert_eq!(rig.refusal(at(0, key("d"))), Refusal::GenerationDiffers { tablet, current: 1 });
}

#[test]
fn a_ban_needs_a_newer_epoch() {
    let mut rig = rig();
    let ban = |epoch, banned| SetBan { node: node(7), epoch: Epoch(epoch), banned };
    assert_eq!(rig.apply(ban(5, true)), Outcome::BanSet);
    assert_eq!(rig.refusal(ban(5, false)), Refusal::BanNotNewer { node: node(7) });
    assert_eq!(rig.refusal(ban(4, false)), Refusal::BanNotNewer { node: node(7) });
    assert!(rig.view().is_banned(node(7)));
    assert_eq!(rig.apply(ban(6, false)), Outcome::BanSet);
    assert!(!rig.view().is_banned(node(7)));
}

#[test]
fn a_shard_is_set_for_the_present_generation() {
    let mut rig = rig();
    let (reign, tablet, shard) = (rig.reign(), FIRST, ShardId(9));
    let stale = Refusal::GenerationDiffers { tablet, current: 0 };
    assert_eq!(rig.refusal(SetShard { reign, tablet, generation: 3, shard }), stale);
    assert_eq!(rig.apply(SetShard { reign, tablet, generation: 0, shard }), Outcome::ShardSet);
    assert_eq!(rig.view().tablet(FIRST).unwrap().shard, shard);
}

#[test]
fn a_level_that_is_not_the_next_is_refused_and_an_unknown_one_stops_the_replica() {
    let mut rig = rig();
    let refusal = Refusal::LevelNotNext { current: Level::FIRST };
    assert_eq!(rig.refusal(SetLevel { level: Level::FIRST }), refusal);
    assert_eq!(rig.refusal(SetLevel { level: Level(3) }), refusal);
    let level = Level(Level::HIGHEST.0 + 1);
    let index = LogIndex(rig.index + 1);
    let stopped = rig.group.apply(index, Entry::from(SetLevel { level }).encode().unwrap());
    assert_eq!(stopped, Err(StopReason::Level { index, level }));
}

#[test]
fn a_config_holds_from_its_entry_on() {
    let mut rig = rig();
    let config = GroupConfig { data_replication: 5, ..GroupConfig::default() };
    rig.write(put("k", "1"));
    rig.rotate(FIRST);
    assert_eq!(rig.apply(SetConfig { config }), Outcome::ConfigSet);
    let mut flush = rig.flush_entry(FIRST).unwrap();
    flush.tables[0].record.copies = copies(&[1, 2]);
    let few = Inadmissible::TooFewCopies { left: 2, needed: 3 };
    let table = flush.tables[0].table;
    assert_eq!(rig.refusal(flush), Refusal::Inadmissible { table, why: few });
}

#[test]
fn entries_out_of_order_and_the_end_of_versions_stop_the_replica() {
    let mut rig = rig();
    let tick = |hint| Entry::from(Tick { hint }).encode().unwrap();
    let applied = LogIndex(rig.index);
    let stopped = rig.group.apply(applied, tick(ms(1)));
    assert_eq!(stopped, Err(StopReason::Order { index: applied, applied }));
    let index = LogIndex(rig.index + 1);
    assert_eq!(rig.group.apply(index, tick(Version::MAX)), Err(StopReason::Versions { index }));
    let last = Version(u64::MAX - 1);
    rig.apply(Tick { hint: last });
    let index = LogIndex(rig.index + 1);
    let write = Entry::from(Writes { hint: ms(0), writes: vec![put("k", "1")] }).encode().unwrap();
    assert_eq!(rig.group.apply(index, write), Err(StopReason::Versions { index }));
}

#[test]
fn bans_that_a_group_is_created_with_hold() {
    let bans = BTreeMap::from([(node(1), Ban { epoch: Epoch(3), banned: true })]);
    let group = DataGroup::new(GROUP, InitialGroup { bans, ..InitialGroup::default() });
    assert!(group.view().is_banned(node(1)) && group.view().tablets.is_empty());
    assert_eq!(group.view().reign, Reign::ZERO);
}
