//! Stored formats never change: these bytes are in logs and checkpoints.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use lamina_engine::Entry as Stored;
use lamina_engine::tree::TableView;
use lamina_types::{Epoch, Incarnation, KeyRange, Level, LogIndex, Reign, ShardId, SnapshotId, Version};

use super::super::entry::*;
use super::super::*;
use super::rig::*;

fn new_table() -> NewTable {
    let mut rig = Rig::new(GroupConfig::default());
    rig.table(vec![Stored::put(key("c"), Version(9), "1"), Stored::tombstone(key("d"), Version(8))], &[1, 2])
}

pub fn one_of_each() -> Vec<(&'static str, Entry)> {
    let (reign, tablet, generation) = (Reign(1), FIRST, 3);
    let range = KeyRange::new(key("b"), Some(key("x")));
    let new = new_table();
    let view = TableView::new(new.table, range.clone());
    let condition = |expected, seen| Condition { key: key("q"), expected, seen };
    let seen = Seen { version: Version(5), expires_ms: None };
    let write = ClientWrite {
        request_id: request(0xabcd, Version(70), 300, 299),
        operations: vec![
            Operation::put(key("k"), "value"),
            Operation::delete(key("l")),
            Operation { key: key("m"), action: Action::Put { value: Bytes::new(), ttl_ms: Some(1000) } },
        ],
        conditions: vec![
            condition(Expected::Absent, None),
            condition(Expected::Present, Some(seen)),
            condition(Expected::Version(Version(5)), Some(Seen { expires_ms: Some(400), ..seen })),
        ],
        read_at: LogIndex(129),
    };
    let flush = CommitFlush {
        reign,
        tablet,
        rotated_at: LogIndex(200),
        range,
        floor: Version(4),
        tables: vec![new.clone()],
    };
    let (inputs, outputs) = (vec![view], vec![new.clone()]);
    let compaction = CommitCompaction { reign, tablet, inputs, outputs, floor: Version(4), bottom: true };
    let pin = PinSnapshot { snapshot: SnapshotId(6), at: Version(7), ttl_ms: 8, hint: Version(9) };
    let by_client = UnpinSnapshots { snapshots: vec![SnapshotId(6)], by: UnpinBy::Client };
    let by_expiry = UnpinSnapshots { by: UnpinBy::Expiry, ..by_client.clone() };
    let copies = SetCopies { reign, table: new.table, rev: 2, copies: copies(&[1, 3]) };
    vec![
        ("BeginReign", BeginReign { node: node(0x0123), incarnation: Incarnation(4) }.into()),
        ("Writes", Writes { hint: ms(2), writes: vec![write, put("z", "")] }.into()),
        ("Tick", Tick { hint: ms(3) }.into()),
        ("PinSnapshot", pin.into()),
        ("UnpinSnapshots by client", by_client.into()),
        ("UnpinSnapshots by expiry", by_expiry.into()),
        ("RaiseFloor", RaiseFloor { reign, to: Version(5) }.into()),
        ("RotateMemtable", RotateMemtable { reign, tablet }.into()),
        ("CommitFlush", flush.into()),
        ("CommitCompaction", compaction.into()),
        ("SetCopies", copies.into()),
        ("SplitTablet", SplitTablet { reign, tablet, generation, at: key("m") }.into()),
        ("SetBan", SetBan { node: node(7), epoch: Epoch(8), banned: true }.into()),
        ("SetShard", SetShard { reign, tablet, generation, shard: ShardId(63) }.into()),
        ("SetConfig", SetConfig { config: GroupConfig::default() }.into()),
        ("SetLevel", SetLevel { level: Level(2) }.into()),
    ]
}

/// A state with one of everything that a state can have.
pub fn rich_state() -> Rig {
    let mut rig = Rig::new(GroupConfig::default());
    rig.write_at(ms(10), ClientWrite { request_id: request(5, ms(9), 2, 1), ..put("c", "1") });
    rig.write(put("p", "2"));
    rig.rotate(FIRST);
    rig.flush(FIRST);
    rig.write(ClientWrite::new(vec![Operation::delete(key("c"))]));
    let action = Action::Put { value: Bytes::from("short"), ttl_ms: Some(40) };
    rig.write(ClientWrite::new(vec![Operation { key: key("q"), action }]));
    rig.apply(PinSnapshot { snapshot: SnapshotId(1), at: ms(11), ttl_ms: 100, hint: ms(11) });
    rig.raise_floor(ms(5));
    rig.apply(SetBan { node: node(3), epoch: Epoch(2), banned: true });
    rig.split(FIRST, &key("m"));
    rig.write(put("d", "3"));
    rig
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn check(file: &str, golden: &str, lines: Vec<(String, Vec<u8>)>) {
    let golden: BTreeMap<&str, &str> = golden.lines().filter_map(|line| line.split_once(": ")).collect();
    let is: String = lines.iter().map(|(name, bytes)| format!("{name}: {}\n", hex(bytes))).collect();
    for (name, bytes) in &lines {
        assert_eq!(golden.get(name.as_str()), Some(&hex(bytes).as_str()), "{name} of {file}; all is:\n{is}");
    }
    assert_eq!(golden.len(), lines.len(), "{file} has forms that are not written any more");
}

#[test]
fn entries_have_their_bytes_for_ever() {
    let lines = one_of_each().into_iter();
    let lines = lines.map(|(name, entry)| (name.to_owned(), entry.encode().unwrap().to_vec()));
    check("entries.txt", include_str!("golden/entries.txt"), lines.collect());
}

#[test]
fn a_checkpoint_has_its_bytes_for_ever() {
    let bytes: Vec<u8> = rich_state().group.freeze().chunks().flatten().collect();
    check("checkpoint.txt", include_str!("golden/checkpoint.txt"), vec![("state".to_owned(), bytes)]);
}

#[test]
fn bytes_of_old_entries_still_mean_the_same() {
    let golden: BTreeMap<&str, &str> =
        include_str!("golden/entries.txt").lines().filter_map(|line| line.split_once(": ")).collect();
    for (name, entry) in one_of_each() {
        let text = golden[name];
        let bytes: Vec<u8> =
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
        assert_eq!(Entry::decode(Bytes::from(bytes)), Ok(entry), "{name}");
    }
}
