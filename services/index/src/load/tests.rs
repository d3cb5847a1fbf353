//! Where a part comes from when what comes first is not what it should be.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use lamina_engine::{Entry, TableBuilder, TableSpec};
use lamina_env::watch;
use lamina_node::{Me, Membership};
use lamina_peers::data::{DataAnswer, DataRequest};
use lamina_peers::view::{NodeState, NodeView};
use lamina_peers::{AdminPeer, DataPeer, GroupPeer, IndexPeer, KvPeer, Network, Peer, Port, RaftPeer};
use lamina_types::{
    ClusterId, Incarnation, Level, Reign, RequestContext, Role, Settings, TableId, TabletId, Version,
};

use super::*;

const SHARD: ShardId = ShardId(0);
const TABLE: TableId = TableId { group: GroupId(1), reign: Reign(1), n: 0 };

/// A data node that sends these bytes for the index part.
struct Node {
    part: Bytes,
    asked: AtomicUsize,
}

#[async_trait]
impl Port<DataRequest, DataAnswer> for Node {
    async fn call(&self, _: RequestContext, request: DataRequest) -> Result<DataAnswer> {
        let DataRequest::ReadTail(read) = request else { panic!("only tails are asked for") };
        self.asked.fetch_add(1, Ordering::Relaxed);
        let index_part = pieces::piece(&self.part, read.offset);
        Ok(DataAnswer::ReadTail(TailRead { index_part, part_bytes: self.part.len() as u64 }))
    }
}

struct Nodes(Vec<Arc<Node>>);

impl Network for Nodes {
    fn data(&self, address: &str) -> DataPeer {
        Peer::new(self.0[address.parse::<usize>().unwrap()].clone())
    }
    fn kv(&self, _: &str) -> KvPeer {
        panic!("nobody asks")
    }
    fn index(&self, _: &str) -> IndexPeer {
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

fn good_part() -> Bytes {
    let mut builder = TableBuilder::new(TableSpec::new(TABLE, TabletId { group: GroupId(1), index: 0 }));
    builder.add(&Entry::put(b"key".to_vec(), Version(7), vec![b'x'; 40])).unwrap();
    builder.finish().unwrap().index_part
}

/// A part whose last bytes, the checksum itself, are right.
fn bad_part() -> Bytes {
    let mut bytes = good_part().to_vec();
    bytes[20] ^= 1;
    bytes.into()
}

fn loader(nodes: &[Arc<Node>]) -> (Loader, ShardTable) {
    let view = |at: usize| NodeView {
        node: NodeId(at as u128),
        role: Role::Data,
        name: format!("data-{at}"),
        address: at.to_string(),
        incarnation: Incarnation(1),
        state: NodeState::Active,
        state_epoch: Epoch(1),
        zone: String::new(),
        seen: true,
    };
    let cluster = ClusterView {
        cluster: ClusterId(1),
        epoch: Epoch(1),
        level: Level::FIRST,
        settings: Settings::default(),
        nodes: (0..nodes.len()).map(view).collect(),
        groups: Vec::new(),
        shards: Vec::new(),
        tablets: Vec::new(),
    };
    let me = Arc::new(Me::new(Role::Index, "index-0", "index-0"));
    let (sender, views) = watch::channel(Some(Arc::new(cluster)));
    let links = Links { me, network: Arc::new(Nodes(nodes.to_vec())), views };
    let hurry = Membership::new(links.clone(), Vec::new(), String::new(), "test".to_owned(), sender).hurry();
    let part = good_part();
    let table = ShardTable {
        table: TABLE,
        index_bytes: part.len() as u64,
        index_crc: u32::from_le_bytes(*part.last_chunk().unwrap()),
        copies: (0..nodes.len()).map(|at| NodeId(at as u128)).collect(),
    };
    (Loader::new(Arc::new(Residents::new(1 << 20)), links, hurry), table)
}

fn node(part: Bytes) -> Arc<Node> {
    Arc::new(Node { part, asked: AtomicUsize::new(0) })
}

#[tokio::test]
async fn a_part_that_does_not_hold_its_checksum_is_taken_from_the_next_copy() {
    let nodes = [node(bad_part()), node(bad_part()), node(good_part())];
    let (loader, table) = loader(&nodes);
    loader.read_tail(SHARD, table).await.unwrap();
    assert_eq!(loader.residents.counts().tables, 1);
    assert_eq!(nodes.each_ref().map(|node| node.asked.load(Ordering::Relaxed)), [1, 1, 1]);
}

#[tokio::test]
async fn a_part_that_no_copy_has_intact_is_not_installed() {
    let nodes = [node(bad_part()), node(bad_part())];
    let (loader, table) = loader(&nodes);
    let error = loader.read_tail(SHARD, table).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ChecksumMismatch);
    assert_eq!(loader.residents.counts().tables, 0);
}
