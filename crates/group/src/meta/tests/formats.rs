//! The bytes of entries and states are kept for ever: a change here needs a new level.

use lamina_types::{ReplicaId, ShardId};

use super::*;
use crate::meta::entry::{GrantEnd, ShardReplacement};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn one_of_each() -> Vec<Change> {
    vec![
        Change::Found(found(2, Settings::default())),
        Change::Register(registration(1, 3, 4)),
        Change::Activate { node: node(1), incarnation: Incarnation(3) },
        Change::DeclareDead { node: node(1), from: NodeState::Active, unseen_ms: 31_000 },
        Change::Remove { node: node(1), epoch: Epoch(9) },
        Change::SetZone { node: node(1), zone: "a".to_owned() },
        Change::SetSeen { node: node(1), incarnation: Incarnation(3), seen: true },
        Change::CreateGroup {
            group: GroupId(1),
            members: vec![node(1), node(2)],
            range: Some(KeyRange::all()),
        },
        Change::PlaceReplica { group: GroupId(1), node: node(3), replaces: Some(ReplicaId(16)) },
        Change::DropReplica { group: GroupId(1), replica: ReplicaId(16) },
        Change::LeaderSeen { group: GroupId(1), term: 5, leader: node(2) },
        Change::TabletHints { group: GroupId(1), term: 5, ranges: vec![KeyRange::prefix("a")] },
        Change::AssignShards { map: vec![vec![node(11), node(12)], vec![node(12), node(11)]] },
        Change::ReplaceShardReplicas {
            epoch: Epoch(9),
            changes: vec![ShardReplacement { shard: ShardId(1), out: node(11), into: node(13) }],
        },
        Change::ShardsComplete {
            node: node(11),
            incarnation: Incarnation(1),
            epoch: Epoch(9),
            shards: vec![ShardId(0), ShardId(300)],
        },
        Change::ShardsLoading {
            node: node(11),
            incarnation: Incarnation(1),
            epoch: Epoch(9),
            shards: vec![ShardId(0)],
        },
        Change::GrantStop { grant: "g".to_owned(), node: node(1) },
        Change::EndGrant { grant: "g".to_owned(), because: GrantEnd::Unwanted },
        Change::EndGrant {
            grant: "g".to_owned(),
            because: GrantEnd::CaughtUp { incarnation: Incarnation(4) },
        },
        Change::ReleaseVolume { node: node(1), epoch: Epoch(9) },
        Change::RaiseLevel { to: Level(2) },
    ]
}

#[test]
fn entries_keep_their_bytes() {
    let begin = MetaEntry::BeginReign { node: node(1), incarnation: Incarnation(3) };
    let mut text = format!("BeginReign {}\n", hex(&begin.encode().unwrap()));
    for change in one_of_each() {
        let name = change.name();
        let entry = change.in_reign(lamina_types::Reign(300));
        let bytes = entry.encode().unwrap();
        assert_eq!(MetaEntry::decode(&bytes), Ok(entry));
        text.push_str(&format!("{name} {}\n", hex(&bytes)));
    }
    insta::assert_snapshot!("entries", text);
}

#[test]
fn a_state_keeps_its_bytes() {
    let mut store = Store::whole();
    store.propose(Change::GrantStop { grant: "g".to_owned(), node: node(21) });
    store.propose(Change::SetZone { node: node(1), zone: "a".to_owned() });
    store.kill(3);
    store.register(4, 1, 1);
    store.activate(4);
    for change in decide(store.state(), &Observed::default()) {
        store.propose(change);
    }
    let chunks: Vec<Bytes> = store.group.freeze().chunks().collect();
    assert_eq!(chunks.len(), 1);
    insta::assert_snapshot!("state", hex(&chunks[0]));
    let mut restored = MetaGroup::new();
    restored.restore(&mut chunks.into_iter()).unwrap();
    assert_eq!(restored, store.group);
}

#[test]
fn what_is_not_known_stops_the_replica() {
    let bytes = Change::RaiseLevel { to: Level(1) }.in_reign(lamina_types::Reign(1)).encode().unwrap();
    let mut newer = bytes.to_vec();
    newer[0] = 2;
    let format = |found| MetaStop::Format { what: "a meta entry", found, known: 1 };
    assert_eq!(MetaEntry::decode(&newer), Err(format(2)));
    let malformed = |bytes: &[u8]| matches!(MetaEntry::decode(bytes), Err(MetaStop::Malformed { .. }));
    assert!(malformed(&[]) && malformed(&[1]) && malformed(&[1, 0]));
    assert!(malformed(&[1, 0, 1, 0, 99]), "no such change");
    assert!(malformed(&[bytes.as_ref(), &[0]].concat()), "bytes behind the end");
    for cut in 0..bytes.len() {
        assert!(malformed(&bytes[..cut]));
    }
    let mut group = MetaGroup::new();
    assert!(group.restore(&mut std::iter::empty()).is_err());
    assert!(group.restore(&mut [Bytes::from_static(&[9, 0, 0])].into_iter()).is_err());
}

#[test]
fn an_entry_is_never_applied_twice() {
    let mut store = Store::whole();
    let (index, bytes) = store.log[3].clone();
    let applied = store.state().applied();
    assert_eq!(store.group.apply(index, &bytes), Err(MetaStop::Order { index, applied }));
}

#[test]
fn a_large_state_goes_in_pieces() {
    let mut store = Store::whole();
    let ranges: Vec<KeyRange> =
        (0..3000u32).map(|n| KeyRange::prefix([&n.to_be_bytes()[..], &[7; 200]].concat())).collect();
    store.propose(Change::TabletHints { group: GroupId(1), term: 1, ranges });
    let chunks: Vec<Bytes> = store.group.freeze().chunks().collect();
    assert!(chunks.len() > 2 && chunks.iter().all(|chunk| chunk.len() <= 256 << 10));
    let mut restored = MetaGroup::new();
    restored.restore(&mut chunks.into_iter()).unwrap();
    assert_eq!(restored, store.group);
}
