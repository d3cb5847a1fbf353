//! A store's life as a log, for the tests of the meta group.

mod converge;
mod formats;
mod guards;
mod random;
mod refusals;

use lamina_peers::admin::FirstMember;
use lamina_peers::view::NodeState;
use lamina_types::{
    ClusterId, Epoch, GroupId, Incarnation, KeyRange, Level, LogIndex, NodeId, Role, Settings,
};

use super::entry::{Found, Registration};
use super::*;

const CLUSTER: ClusterId = ClusterId(7);

/// A log and the machine that has applied all of it.
#[derive(Clone, Default)]
struct Store {
    group: MetaGroup,
    log: Vec<(LogIndex, Bytes)>,
}

fn node(n: u128) -> NodeId {
    NodeId(n)
}

/// Nodes 1 to 9 are frontends, 11 to 19 index nodes, 21 to 29 data nodes.
fn role_of(node: NodeId) -> Role {
    match node.0 / 10 {
        0 => Role::Frontend,
        1 => Role::Index,
        _ => Role::Data,
    }
}

fn found(members: u128, settings: Settings) -> Found {
    let member = |n| FirstMember { node: node(n), address: format!("frontend-{n}:4700") };
    Found { cluster: CLUSTER, members: (1..=members).map(member).collect(), settings }
}

fn small() -> Settings {
    Settings { shards: 4, ..Settings::default() }
}

fn registration(n: u128, incarnation: u64, nonce: u64) -> Registration {
    let role = role_of(node(n));
    Registration {
        cluster: CLUSTER,
        node: node(n),
        role,
        name: format!("{role}-{}", n % 10 - 1),
        address: format!("{role}-{n}:4700"),
        incarnation: (role != Role::Index).then_some(Incarnation(incarnation)),
        nonce,
        zone: String::new(),
        version: "0.1.0".to_owned(),
        level_max: Level::FIRST,
    }
}

impl Store {
    /// A store in its first reign.
    fn founded(members: u128, settings: Settings) -> Store {
        let mut store = Store::default();
        store.begin();
        assert!(matches!(store.propose(Change::Found(found(members, settings))), Outcome::Done(_)));
        store
    }

    /// A store of three nodes of each role, all Active, with its groups and shards.
    fn whole() -> Store {
        let mut store = Store::founded(3, small());
        for n in [1, 2, 3, 11, 12, 13, 21, 22, 23] {
            store.register(n, 1, 1);
            store.activate(n);
        }
        for change in decide(&store.group.state, &Observed::default()) {
            let outcome = store.propose(change);
            assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        }
        assert_eq!(store.state().groups().len(), 2);
        assert_eq!(store.state().shards().len(), 4);
        store
    }

    fn state(&self) -> &MetaState {
        &self.group.state
    }

    fn append(&mut self, entry: MetaEntry) -> Outcome {
        let index = LogIndex(self.log.len() as u64 + 1);
        let bytes = entry.encode().unwrap();
        self.log.push((index, bytes.clone()));
        self.group.apply(index, &bytes).unwrap()
    }

    fn begin(&mut self) {
        self.append(MetaEntry::BeginReign { node: node(1), incarnation: Incarnation(1) });
    }

    fn propose(&mut self, change: Change) -> Outcome {
        let reign = self.state().reign();
        self.append(change.in_reign(reign))
    }

    fn refused(&mut self, change: Change) -> Refusal {
        let before = self.state().clone();
        let outcome = self.propose(change);
        let after = MetaState { applied: before.applied, ..self.state().clone() };
        assert_eq!(before, after, "a refused entry has no effect");
        match outcome {
            Outcome::Refused(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn register(&mut self, n: u128, incarnation: u64, nonce: u64) -> Outcome {
        self.propose(Change::Register(registration(n, incarnation, nonce)))
    }

    fn incarnation(&self, n: u128) -> Incarnation {
        self.state().node(node(n)).unwrap().incarnation
    }

    fn activate(&mut self, n: u128) {
        let incarnation = self.incarnation(n);
        let outcome = self.propose(Change::Activate { node: node(n), incarnation });
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }

    fn kill(&mut self, n: u128) -> Epoch {
        let from = self.state().node(node(n)).unwrap().state;
        let outcome = self.propose(Change::DeclareDead { node: node(n), from, unseen_ms: 30_000 });
        let Outcome::Done(epoch) = outcome else { panic!("{outcome:?}") };
        epoch
    }

    fn node_state(&self, n: u128) -> NodeState {
        self.state().node(node(n)).unwrap().state
    }

    /// All replicas of a group, with their nodes and whether they leave.
    fn replicas(&self, group: u32) -> Vec<(u64, u128, bool)> {
        let record = &self.state().groups()[&GroupId(group)];
        record.replicas.iter().map(|(id, r)| (id.0, r.node.0, r.leaving.is_some())).collect()
    }
}

#[test]
fn a_new_store_gets_its_groups_and_shards_from_its_leader() {
    let store = Store::whole();
    assert_eq!(store.replicas(0), [(1, 1, false), (2, 2, false), (3, 3, false)]);
    let created = store.state().groups()[&GroupId(1)].initial[0].0 / 16;
    let ids: Vec<u64> = store.replicas(1).iter().map(|(id, ..)| *id).collect();
    assert_eq!(
        ids,
        [16 * created, 16 * created + 1, 16 * created + 2],
        "16 times the index, and the ordinal"
    );
    let view = store.group.view().unwrap();
    assert_eq!(view.group_of_key(b"anything"), Some(GroupId(1)));
    assert_eq!(view.tablets[0].range, KeyRange::all());
    assert_eq!(view.nodes.len(), 9);
    assert!(view.shards.iter().all(|shard| shard.replicas.len() == 2));
    assert!(view.shards.iter().flat_map(|shard| &shard.replicas).all(|replica| !replica.complete));
    assert_eq!(view.epoch, store.state().epoch());
}

#[test]
fn an_index_node_is_given_its_incarnations_and_loads_after_each_start() {
    let mut store = Store::whole();
    let shards: Vec<_> = (0..4u16).map(lamina_types::ShardId).collect();
    let mine: Vec<_> = shards
        .into_iter()
        .filter(|shard| store.state().shards()[usize::from(shard.0)].nodes().contains(&node(11)))
        .collect();
    let complete = |store: &Store| {
        let replicas = store.state().shards().iter().flat_map(|shard| shard.replicas.clone());
        replicas.filter(|replica| replica.node == node(11) && replica.complete).count()
    };
    let report = |store: &Store, epoch| Change::ShardsComplete {
        node: node(11),
        incarnation: store.incarnation(11),
        epoch,
        shards: mine.clone(),
    };
    let change = report(&store, store.state().epoch());
    assert!(matches!(store.propose(change), Outcome::Done(_)));
    assert_eq!(complete(&store), mine.len());
    let before = store.state().epoch();
    assert_eq!(store.register(11, 0, 1), Outcome::Registered(Incarnation(1)), "the same start again");
    assert_eq!(store.state().epoch(), before);
    assert_eq!(store.register(11, 0, 2), Outcome::Registered(Incarnation(2)));
    assert_eq!(complete(&store), 0);
    let late = Change::ShardsComplete {
        node: node(11),
        incarnation: Incarnation(1),
        epoch: store.state().epoch(),
        shards: mine.clone(),
    };
    assert_eq!(
        store.refused(late),
        Refusal::StaleIncarnation { node: node(11), recorded: Incarnation(2) },
        "the report of the start before says nothing about this one"
    );
    let old_view = report(&store, before);
    assert!(matches!(store.refused(old_view), Refusal::StaleEpoch { .. }));
}

#[test]
fn a_frontend_that_is_lost_for_ever_is_replaced_by_a_new_one() {
    let mut store = Store::whole();
    let epoch = store.kill(3);
    assert!(matches!(store.propose(Change::ReleaseVolume { node: node(3), epoch }), Outcome::Done(_)));
    assert_eq!(store.refused(Change::Register(registration(3, 9, 9))), Refusal::NodeGone(node(3)));
    store.register(4, 1, 1);
    store.activate(4);
    for change in decide(store.state(), &Observed::default()) {
        assert!(matches!(store.propose(change), Outcome::Placed(_)));
    }
    for group in [0, 1] {
        let replicas = store.replicas(group);
        assert_eq!(replicas.len(), 4);
        assert!(replicas.iter().all(|(_, at, leaving)| (*at == 3) == *leaving), "{replicas:?}");
    }
    let view = store.group.view().unwrap();
    assert_eq!(view.groups[0].leaving.len(), 1);
    assert_eq!(store.node_state(3), NodeState::Dead, "it is named still");
}

#[test]
fn a_keepers_zone_stands_above_the_nodes_own() {
    let mut store = Store::whole();
    store.propose(Change::SetZone { node: node(1), zone: "a".to_owned() });
    let own = Registration { zone: "b".to_owned(), ..registration(1, 2, 5) };
    store.propose(Change::Register(own));
    assert_eq!(store.state().node(node(1)).unwrap().zone, "a");
    let own = Registration { zone: "b".to_owned(), ..registration(2, 2, 5) };
    store.propose(Change::Register(own));
    assert_eq!(store.state().node(node(2)).unwrap().zone, "b");
}

#[test]
fn a_grant_ends_when_its_node_is_back_and_not_before() {
    let mut store = Store::whole();
    let grant = Change::GrantStop { grant: "restart-21".to_owned(), node: node(21) };
    assert!(matches!(store.propose(grant.clone()), Outcome::Done(_)));
    assert!(matches!(store.propose(grant), Outcome::Unchanged(_)), "the same stop again is the same grant");
    let mut observer = Observer::new(0);
    let beat = |incarnation| lamina_peers::admin::Heartbeat {
        node: node(21),
        incarnation: Incarnation(incarnation),
        epoch: Epoch::ZERO,
        complete: vec![],
        leads: vec![],
        replicas: vec![],
    };
    observer.heartbeat(beat(1), 10);
    assert_eq!(decide(store.state(), &observer.observed(20)), []);
    store.register(21, 2, 2);
    assert_eq!(decide(store.state(), &observer.observed(20)), [], "only the old start was heard");
    observer.heartbeat(beat(2), 30);
    let steps = decide(store.state(), &observer.observed(40));
    assert_eq!(steps.len(), 1);
    assert!(matches!(store.propose(steps[0].clone()), Outcome::Done(_)));
    assert_eq!(store.state().grant(), None);
}
