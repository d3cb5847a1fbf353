//! Who is asked when an index node is slow.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use lamina_env::watch;
use lamina_node::Me;
use lamina_peers::index::LookedUp;
use lamina_peers::view::{ClusterView, NodeState, NodeView, ShardReplica, ShardView};
use lamina_peers::{AdminPeer, DataPeer, GroupPeer, IndexPeer, KvPeer, Network, Peer, Port, RaftPeer};
use lamina_types::{ClusterId, Epoch, GroupId, Incarnation, Level, Reign, Role, Settings};

use super::*;

const TABLE: TableId = TableId { group: GroupId(1), reign: Reign(1), n: 1 };
/// As long as the whole call may take, and longer than any wait for a second node.
const SLOW: Duration = Duration::from_millis(400);

/// An index node that takes its time.
struct Node {
    takes: Duration,
    has: bool,
    asked: AtomicUsize,
}

#[async_trait]
impl Port<IndexRequest, IndexAnswer> for Node {
    async fn call(&self, _: RequestContext, request: IndexRequest) -> Result<IndexAnswer> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        time::sleep(self.takes).await;
        let IndexRequest::Lookup(lookup) = request else { panic!("only lookups are asked for") };
        let handle = BlockHandle { table: TABLE, block: 0, offset: 0, length: 1 };
        let candidate = if self.has { Candidate::Block(handle) } else { Candidate::Missing(TABLE) };
        Ok(IndexAnswer::Lookup(LookedUp { keys: vec![vec![candidate]; lookup.keys.len()] }))
    }
}

struct Two(Vec<Arc<Node>>);

impl Network for Two {
    fn index(&self, address: &str) -> IndexPeer {
        Peer::new(self.0[address.parse::<usize>().unwrap()].clone())
    }
    fn kv(&self, _: &str) -> KvPeer {
        panic!("nobody asks")
    }
    fn data(&self, _: &str) -> DataPeer {
        panic!("nobody asks")
    }
    fn group(&self, _: &str) -> GroupPeer {
        panic!("nobody asks")
    }
    fn raft(&self, _: &str) -> RaftPeer {
        panic!("nobody asks")
    }
    fn admin(&self, _: &str) -> AdminPeer {
        panic!("nobody asks")
    }
}

fn node(takes: Duration, has: bool) -> Arc<Node> {
    Arc::new(Node { takes, has, asked: AtomicUsize::new(0) })
}

fn index(nodes: &[Arc<Node>]) -> Index {
    let view = |at: usize| NodeView {
        node: NodeId(at as u128 + 1),
        role: Role::Index,
        name: format!("index-{at}"),
        address: at.to_string(),
        incarnation: Incarnation(1),
        state: NodeState::Active,
        state_epoch: Epoch(1),
        zone: String::new(),
        seen: true,
    };
    let replica = |at: usize| ShardReplica { node: NodeId(at as u128 + 1), complete: true };
    let cluster = ClusterView {
        cluster: ClusterId(1),
        epoch: Epoch(1),
        level: Level::FIRST,
        settings: Settings::default(),
        nodes: (0..nodes.len()).map(view).collect(),
        groups: Vec::new(),
        shards: vec![ShardView { shard: ShardId(0), replicas: (0..nodes.len()).map(replica).collect() }],
        tablets: Vec::new(),
    };
    let me = Arc::new(Me::new(Role::Frontend, "frontend-0", "frontend-0"));
    let views = watch::channel(Some(Arc::new(cluster))).0.subscribe();
    let links = Links { me, network: Arc::new(Two(nodes.to_vec())), views };
    Index::new(links, Health::default()).0
}

/// Looks one key up; how long that took.
async fn look(index: &Index) -> Duration {
    let context = RequestContext::new(1, 5_000);
    let sought = [Sought { key: Bytes::from("k"), tables: vec![TABLE] }];
    let started = time::now();
    let found = index.lookup(&context, ShardId(0), &sought, Version::MAX, &Records::new()).await.unwrap();
    assert_eq!(found[0].len(), 1);
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_slow_node_is_overtaken_by_the_next() {
    let nodes = [node(SLOW, true), node(Duration::from_millis(2), true)];
    let index = index(&nodes);
    assert!(look(&index).await < Duration::from_millis(50));
    assert_eq!(nodes[1].asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_answers_in_time_is_not_overtaken() {
    let nodes = [node(Duration::from_millis(2), true), node(Duration::ZERO, true)];
    let index = index(&nodes);
    for _ in 0..1_000 {
        look(&index).await;
    }
    assert_eq!(nodes[1].asked.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_always_slow_costs_few_calls_twice() {
    let nodes = [node(SLOW, true), node(Duration::from_millis(2), true)];
    let index = index(&nodes);
    for _ in 0..1_000 {
        look(&index).await;
    }
    let twice = nodes[1].asked.load(Ordering::Relaxed);
    assert!((1..=30).contains(&twice), "{twice} of 1000");
}

#[tokio::test(start_paused = true)]
async fn the_slow_node_is_heard_if_the_next_does_not_have_the_part() {
    let nodes = [node(SLOW, true), node(Duration::from_millis(2), false)];
    let index = index(&nodes);
    assert!(look(&index).await >= SLOW);
}
