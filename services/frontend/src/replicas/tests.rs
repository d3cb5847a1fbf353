//! Replicas that come and go.

use async_trait::async_trait;
use bytes::Bytes;
use lamina_consensus::LogOptions;
use lamina_env::clock::OsClock;
use lamina_env::disk::memory::MemDisk;
use lamina_env::{Env, watch};
use lamina_node::{Links, Me};
use lamina_peers::{AdminPeer, DataPeer, GroupPeer, IndexPeer, KvPeer, Network, RaftPeer};
use lamina_types::{ClusterId, Epoch, Error, KeyRange, Level, NodeId, Reason, Result, Role, Settings};

use super::*;
use crate::flow::search::Searcher;
use crate::hand::blocks::Blocks;
use crate::hand::health::Health;
use crate::hand::index::Index;
use crate::hand::tables::Tables;

const ME: NodeId = NodeId(7);

struct Nobody;

impl Network for Nobody {
    fn kv(&self, _: &str) -> KvPeer {
        panic!("nobody is known")
    }
    fn index(&self, _: &str) -> IndexPeer {
        panic!("nobody is known")
    }
    fn data(&self, _: &str) -> DataPeer {
        panic!("nobody is known")
    }
    fn group(&self, _: &str) -> GroupPeer {
        panic!("nobody is known")
    }
    fn raft(&self, _: &str) -> RaftPeer {
        panic!("nobody is known")
    }
    fn admin(&self, _: &str) -> AdminPeer {
        panic!("nobody is known")
    }
}

#[async_trait]
impl RaftWire for Nobody {
    async fn call(&self, _: GroupId, _: ReplicaId, _: ReplicaId, _: bool, _: u64, _: Bytes) -> Result<Bytes> {
        Err(Error::new(Reason::Unreachable, "nobody is known"))
    }
}

async fn replicas() -> Replicas {
    let env = Env { clock: Arc::new(OsClock), disk: Arc::new(MemDisk::new(1)) };
    let me = Arc::new(Me::new(Role::Frontend, "frontend-0", "frontend-0"));
    me.settle_node(ME);
    let (views, receiver) = watch::channel(None);
    let links = Links { me, network: Arc::new(Nobody), views: receiver };
    let (index, _) = Index::new(links.clone(), Health::default());
    let (blocks, _) = Blocks::new(links.clone(), Health::default(), 1 << 20);
    let searcher = Searcher { index: Arc::new(index), blocks: Arc::new(blocks) };
    let court = Court {
        links: links.clone(),
        tables: Arc::new(Tables::new(links.clone())),
        searcher,
        room: Arc::default(),
        metrics: crate::metrics::WorkMetrics::default(),
        reports: Arc::default(),
        works: Arc::default(),
    };
    Replicas {
        store: LogStore::open(env.clone(), "log", LogOptions::default()).await.unwrap(),
        wire: Arc::new(Nobody),
        residents: Arc::default(),
        router: Router::new(links),
        court,
        views,
        founding: Arc::new(Founding::open(env).await.unwrap()),
    }
}

/// A view in which this node has these replicas of group 1, the first of which began it.
fn view(placed: &[u64]) -> ClusterView {
    let place = |replica: &u64| ReplicaPlacement { replica: ReplicaId(*replica), node: ME };
    ClusterView {
        cluster: ClusterId(1),
        epoch: Epoch(1),
        level: Level::FIRST,
        settings: Settings::default(),
        nodes: Vec::new(),
        groups: vec![GroupView {
            group: GroupId(1),
            replicas: placed.iter().map(place).collect(),
            leaving: Vec::new(),
            initial: vec![ReplicaId(16)],
            first_range: Some(KeyRange::all()),
            leader: None,
        }],
        shards: Vec::new(),
        tablets: Vec::new(),
    }
}

async fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let started = time::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn of_a_replica_that_is_closed_nothing_is_left() {
    let replicas = replicas().await;
    replicas.bring_to(&view(&[16])).await.unwrap();
    let host = Arc::downgrade(&replicas.router.host(GroupId(1)).unwrap());
    wait_until("it leads", || host.upgrade().is_some_and(|host| host.leads())).await;
    wait_until("it works", || replicas.court.works.get(GroupId(1)).is_some()).await;
    replicas.bring_to(&view(&[])).await.unwrap();
    assert!(replicas.router.host(GroupId(1)).is_none());
    wait_until("it is gone", || host.upgrade().is_none()).await;
    assert!(replicas.court.works.get(GroupId(1)).is_none());
    assert_eq!(replicas.court.metrics.leads.get(), 0);
}

#[tokio::test]
async fn a_replica_that_is_closed_does_not_take_its_successor_along() {
    let replicas = replicas().await;
    replicas.bring_to(&view(&[16])).await.unwrap();
    replicas.bring_to(&view(&[32])).await.unwrap();
    let host = replicas.router.host(GroupId(1)).unwrap();
    assert_eq!(host.replica.id(), ReplicaId(32));
    assert!(replicas.residents.has(GroupId(1), ReplicaId(32)));
    assert!(!replicas.residents.has(GroupId(1), ReplicaId(16)));
}
