//! Any sequence of entries keeps the invariants.

use std::collections::{BTreeMap, BTreeSet};

use lamina_types::{Reign, ReplicaId, ShardId};
use proptest::prelude::*;

use super::*;
use crate::meta::entry::{GrantEnd, ShardReplacement};

/// Numbers that become an entry by what the state allows or nearly allows.
pub(super) type Raw = (u8, u8, u8, u8);

pub(super) fn raws(length: usize) -> impl Strategy<Value = Vec<Raw>> {
    prop::collection::vec(any::<Raw>(), 0..length)
}

const IDS: [u128; 15] = [1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 21, 22, 23, 24, 25];

fn any_node(n: u8) -> NodeId {
    node(IDS[usize::from(n) % IDS.len()])
}

fn pick<T: Clone>(of: impl Iterator<Item = T>, n: u8) -> Option<T> {
    let all: Vec<T> = of.collect();
    (!all.is_empty()).then(|| all[usize::from(n) % all.len()].clone())
}

/// An entry that is often allowed, and often nearly.
pub(super) fn change(state: &MetaState, (kind, a, b, c): Raw) -> Change {
    let of_shards = || pick(state.shards().iter().flat_map(|shard| shard.nodes()), a);
    let reports = matches!(kind % 24, 18 | 19) && b % 8 > 1;
    let named = of_shards().filter(|_| reports).unwrap_or(any_node(a));
    let record = state.node(named);
    let incarnation = record.map_or(Incarnation::ZERO, |r| r.incarnation);
    let incarnation = if b % 8 == 0 { incarnation.next() } else { incarnation };
    let epoch = record.map_or(Epoch::ZERO, |r| r.state_epoch);
    let group = GroupId(u32::from(b) % 4);
    let replica = || pick(state.groups().get(&group)?.replicas.keys().copied(), c);
    let shards: Vec<ShardId> = (0..4).map(ShardId).filter(|shard| (c >> shard.0) & 1 == 1).collect();
    let active = |role, n| pick(state.usable(role).map(|(id, _)| id), n).unwrap_or(any_node(n));
    match kind % 24 {
        0..=3 => {
            let known = record.map_or(0, |r| r.incarnation.0);
            let raised = (known + u64::from(b % 3)).saturating_sub(u64::from(b % 7 == 0));
            Change::Register(registration(named.0, raised, u64::from(c % 3)))
        }
        4..=6 => Change::Activate { node: named, incarnation },
        7 => {
            let from = record.map_or(NodeState::Active, |r| r.state);
            Change::DeclareDead { node: named, from, unseen_ms: if b % 4 == 0 { 5 } else { 40_000 } }
        }
        8 => Change::Remove { node: named, epoch },
        9 => Change::SetZone { node: named, zone: format!("z{}", b % 3) },
        10 => Change::SetSeen { node: named, incarnation, seen: b % 3 > 0 },
        11 | 12 => placing(state, (kind, a, b, c)),
        13 => Change::DropReplica { group, replica: replica().filter(|_| a % 6 > 0).unwrap_or(ReplicaId(5)) },
        14 => Change::LeaderSeen { group, term: u64::from(c), leader: named },
        15 => Change::TabletHints { group, term: u64::from(c), ranges: vec![KeyRange::prefix(vec![a])] },
        16 => Change::AssignShards {
            map: (0..4)
                .map(|n| (0..=b % 2).map(|m| active(Role::Index, a.wrapping_add(n + m))).collect())
                .collect(),
        },
        17 => {
            let shard = ShardId(u16::from(b) % 4);
            let list = state.shards().get(usize::from(shard.0)).map(|s| s.nodes()).unwrap_or_default();
            let out = pick(list.into_iter(), c).unwrap_or(named);
            let epoch = if c % 5 == 0 { Epoch(1) } else { state.map_epoch() };
            let into = active(Role::Index, a);
            Change::ReplaceShardReplicas { epoch, changes: vec![ShardReplacement { shard, out, into }] }
        }
        18 | 19 => {
            let shards = shards
                .into_iter()
                .filter(|s| state.shards().get(usize::from(s.0)).is_some_and(|s| s.nodes().contains(&named)))
                .collect();
            let epoch = if b % 5 == 0 { Epoch(3) } else { state.epoch() };
            if kind % 24 == 18 {
                Change::ShardsComplete { node: named, incarnation, epoch, shards }
            } else {
                Change::ShardsLoading { node: named, incarnation, epoch, shards }
            }
        }
        20 => Change::GrantStop { grant: format!("g{}", b % 2), node: named },
        21 => {
            let because = if c % 2 == 0 { GrantEnd::Unwanted } else { GrantEnd::CaughtUp { incarnation } };
            Change::EndGrant { grant: format!("g{}", b % 2), because }
        }
        22 => Change::ReleaseVolume { node: named, epoch },
        _ => Change::Found(found(1 + u128::from(b % 3), small())),
    }
}

/// A new group, or a new replica of one.
fn placing(state: &MetaState, (kind, a, b, c): Raw) -> Change {
    let active = |n| pick(state.usable(Role::Frontend).map(|(id, _)| id), n).unwrap_or(any_node(n));
    if kind % 24 == 11 {
        let group = GroupId(state.groups().len() as u32 + u32::from(b % 5 == 0));
        let members = (0..=b % 3).map(|n| active(a.wrapping_add(n))).collect();
        return Change::CreateGroup { group, members, range: None };
    }
    let group = GroupId(u32::from(b) % 4);
    let replica = || pick(state.groups().get(&group)?.replicas.keys().copied(), c);
    Change::PlaceReplica { group, node: active(a), replaces: replica().filter(|_| a % 4 > 0) }
}

/// What must hold after each entry, beside what it was before.
struct Watch {
    replicas: BTreeMap<ReplicaId, (GroupId, NodeId)>,
    gone: BTreeSet<ReplicaId>,
    released: BTreeSet<NodeId>,
}

impl Watch {
    fn check(&mut self, before: &MetaState, after: &MetaState, outcome: &Outcome) {
        let b1 = before.founded().is_none() || before.founded() == after.founded();
        assert!(b1, "B1: one store, one first membership");
        self.check_replicas(after);
        for (id, record) in after.nodes() {
            let old = before.node(*id);
            assert!(old.is_none_or(|old| old.incarnation <= record.incarnation), "incarnations rise");
            assert!(old.is_none_or(|old| old.state_epoch <= record.state_epoch));
            if record.released {
                self.released.insert(*id);
            }
            let back = !record.is_lost() && self.released.contains(id);
            assert!(!back, "a released id never comes back");
            if record.state == NodeState::Removed {
                let named = after.groups().values().any(|g| g.names(*id) || g.leader == Some(*id))
                    || after.shards().iter().any(|shard| shard.nodes().contains(id))
                    || after.grant().is_some_and(|grant| grant.node == *id);
                assert!(!named, "N1: nothing names a removed node");
            }
        }
        for shard in after.shards() {
            let nodes = shard.nodes();
            assert!(!nodes.is_empty() && nodes.iter().collect::<BTreeSet<_>>().len() == nodes.len());
            let lost_serves = shard.replicas.iter().any(|r| r.complete && after.nodes()[&r.node].is_lost());
            assert!(!lost_serves, "a lost node has no complete replica");
        }
        assert!(before.shards().is_empty() || before.shards().len() == after.shards().len());
        let same_view = match (before.view(), after.view()) {
            (Some(old), Some(new)) => ClusterView { epoch: new.epoch, ..old } == new,
            (old, new) => old.is_none() && new.is_none(),
        };
        assert!(same_view || before.epoch() < after.epoch(), "the epoch rises with each visible change");
        assert!(!same_view || before.epoch() == after.epoch(), "and only then: {outcome:?}");
        if matches!(outcome, Outcome::Refused(_)) {
            assert_eq!(*before, MetaState { applied: before.applied, ..after.clone() });
        }
    }

    /// Q1: an id stands for one log on one node, for ever.
    fn check_replicas(&mut self, state: &MetaState) {
        let now: BTreeMap<ReplicaId, (GroupId, NodeId)> = state
            .groups()
            .iter()
            .flat_map(|(group, g)| g.replicas.iter().map(|(id, r)| (*id, (*group, r.node))))
            .collect();
        let count: usize = state.groups().values().map(|g| g.replicas.len()).sum();
        assert_eq!(now.len(), count, "no id in two groups");
        for (id, at) in &now {
            assert!(!self.gone.contains(id), "Q1: replica {id} came back");
            assert_eq!(self.replicas.entry(*id).or_insert(*at), at, "Q1: replica {id} moved");
        }
        self.gone.extend(self.replicas.keys().filter(|id| !now.contains_key(id)));
    }
}

/// A store after any entries.
pub(super) fn lived(raws: &[Raw], check: bool) -> Store {
    let mut store = Store::default();
    let mut watch = Watch { replicas: BTreeMap::new(), gone: BTreeSet::new(), released: BTreeSet::new() };
    for (at, raw) in raws.iter().enumerate() {
        let before = store.state().clone();
        let outcome = match at {
            0 => {
                store.begin();
                store.propose(Change::Found(found(1 + u128::from(raw.1 % 3), small())))
            }
            _ if raw.0 >= 250 => {
                store.append(MetaEntry::BeginReign { node: node(2), incarnation: Incarnation(1) })
            }
            _ if raw.0 >= 247 => {
                let outcome = store.append(change(&before, *raw).in_reign(Reign(1_000_000)));
                assert!(matches!(outcome, Outcome::Refused(Refusal::StaleReign { .. })));
                outcome
            }
            _ => store.propose(change(&before, *raw)),
        };
        if check && at > 0 {
            watch.check(&before, store.state(), &outcome);
        }
    }
    store
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_entry_keeps_the_invariants(raws in raws(120)) {
        lived(&raws, true);
    }

    #[test]
    fn a_checkpoint_and_the_log_behind_it_are_the_state(raws in raws(80), cut: prop::sample::Index) {
        let store = lived(&raws, false);
        let cut = cut.index(store.log.len() + 1);
        let mut first = MetaGroup::new();
        for (index, entry) in &store.log[..cut] {
            first.apply(*index, entry).unwrap();
        }
        let picture = first.freeze();
        let mut second = MetaGroup::new();
        second.restore(&mut picture.chunks()).unwrap();
        prop_assert_eq!(&first, &second);
        for (index, entry) in &store.log[cut..] {
            let one = first.apply(*index, entry).unwrap();
            let two = second.apply(*index, entry).unwrap();
            prop_assert_eq!(one, two, "the same outcome on every replica");
        }
        prop_assert_eq!(&first, &store.group);
        prop_assert_eq!(&second, &store.group, "L2: checkpoint and log are the state");
        let again: Vec<Bytes> = picture.chunks().collect();
        let mut old = MetaGroup::new();
        old.restore(&mut again.into_iter()).unwrap();
        prop_assert_eq!(old.state().applied(), LogIndex(cut as u64), "a picture does not change behind its back");
    }

    #[test]
    fn random_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        let tagged = [&[1, 0], bytes.as_slice()].concat();
        if let Ok(entry) = MetaEntry::decode(&tagged) {
            prop_assert_eq!(MetaEntry::decode(&entry.encode().unwrap()), Ok(entry));
        }
        let _ = MetaGroup::new().restore(&mut [Bytes::from(tagged)].into_iter());
    }
}

/// What the random logs above never reach, they do not test.
#[test]
fn random_logs_reach_every_effect_and_every_refusal() {
    let mut word = 1u64;
    let mut byte = || {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (word >> 40) as u8
    };
    let (mut done, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..200 {
        let mut store = Store::founded(3, small());
        for _ in 0..150 {
            let change = change(store.state(), (byte(), byte(), byte(), byte()));
            let name = change.name();
            match store.propose(change) {
                Outcome::Refused(refusal) => {
                    let text = format!("{refusal:?}");
                    refused.insert(text.split([' ', '(']).next().unwrap().to_owned());
                }
                Outcome::Unchanged(_) => {}
                _ => {
                    done.insert(name);
                }
            }
        }
    }
    let effects = [
        "Activate",
        "AssignShards",
        "CreateGroup",
        "DeclareDead",
        "DropReplica",
        "EndGrant",
        "GrantStop",
        "LeaderSeen",
        "PlaceReplica",
        "Register",
        "ReleaseVolume",
        "Remove",
        "ReplaceShardReplicas",
        "SetSeen",
        "SetZone",
        "ShardsComplete",
        "ShardsLoading",
        "TabletHints",
    ];
    assert_eq!(done, effects.into());
    for refusal in [
        "AlreadyAssigned",
        "AlreadyPlaced",
        "GrantOut",
        "Invalid",
        "NoGroup",
        "NoNode",
        "NoReplica",
        "NodeGone",
        "NotBack",
        "NotLeaving",
        "NotNext",
        "OtherRecord",
        "RolledBackOrInUse",
        "SeenLately",
        "StaleEpoch",
        "StaleIncarnation",
        "StaleTerm",
        "StillNamed",
        "WrongRole",
        "WrongState",
    ] {
        assert!(refused.contains(refusal), "{refusal} was never reached: {refused:?}");
    }
}
