//! What all flows of a reign need: the host, the reign, and hands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lamina_env::time::{self, Duration, Instant};
use lamina_group::data::{Entry, GroupView, Outcome};
use lamina_node::Links;
use lamina_peers::data::CopyTarget;
use lamina_peers::view::NodeState;
use lamina_placement::Site;
use lamina_placement::copies::{DataSite, choose};
use lamina_types::{NodeId, Role, ShardId, TableId, TabletId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::flow::search::Searcher;
use crate::hand::tables::Tables;
use crate::heart::verified::Verified;
use crate::host::{DataHost, NotDone, Reigning};
use crate::metrics::WorkMetrics;

/// One reign at work. Cheap to clone.
#[derive(Clone)]
pub struct Work {
    /// The group.
    pub host: Arc<DataHost>,
    /// The reign.
    pub reigning: Arc<Reigning>,
    /// The cluster.
    pub links: Links,
    /// Stores and installs tables.
    pub tables: Arc<Tables>,
    /// Reads tables.
    pub searcher: Searcher,
    /// Room on data nodes, as they said last.
    pub room: Arc<Room>,
    /// Figures.
    pub metrics: WorkMetrics,
    /// Compactions under way, and the views that they read.
    pub jobs: Arc<Jobs>,
    /// Copies that were read through since somebody died.
    pub verified: Arc<Verified>,
    /// Wakes the flows that look for work when there may be some.
    pub wake: Arc<Notify>,
}

/// Compactions under way.
#[derive(Default)]
pub struct Jobs(pub Mutex<BTreeMap<u32, (TabletId, lamina_engine::Task)>>);

/// A compaction among [`Jobs`]; it leaves when this is dropped, also if whoever waits for it goes away.
pub struct Entered(Work, u32);

impl Entered {
    /// Enters a compaction.
    pub fn new(work: &Work, number: u32, tablet: TabletId, picked: lamina_engine::Task) -> Entered {
        work.jobs.0.lock().insert(number, (tablet, picked));
        Entered(work.clone(), number)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.jobs.0.lock().remove(&self.1);
        self.0.wake.notify_waiters();
    }
}

/// Names that were given to tables which are not proposed yet. Dropped, it gives them up: so none stays open behind
/// work that failed or was broken off, which would keep its bytes and hold back the mark of the shard's lists.
pub struct Unproposed(Arc<Reigning>, Vec<TableId>);

impl Unproposed {
    /// No names yet.
    pub fn new(work: &Work) -> Unproposed {
        Unproposed(work.reigning.clone(), Vec::new())
    }

    /// One more.
    pub fn add(&mut self, table: TableId) {
        self.1.push(table);
    }

    /// They are proposed now: their fate is the log's (rule G4).
    pub fn propose(mut self) {
        self.1.clear();
    }
}

impl Drop for Unproposed {
    fn drop(&mut self) {
        self.1.iter().for_each(|table| self.0.ledger.refused(*table));
    }
}

/// How long a data node that failed a job gets no other one, if there is a choice.
const SHUNNED: Duration = Duration::from_secs(30);

/// Room on data nodes, and which of them failed a job lately.
#[derive(Default)]
pub struct Room(Mutex<BTreeMap<NodeId, (u64, u64)>>, Mutex<BTreeMap<NodeId, Instant>>);

impl Room {
    /// A node said how much is free, of how much, in bytes.
    pub fn set(&self, node: NodeId, free: u64, total: u64) {
        self.0.lock().insert(node, (free, total));
    }

    /// The node failed a job.
    pub fn shun(&self, node: NodeId) {
        self.1.lock().insert(node, time::now() + SHUNNED);
    }

    /// Whether the node failed a job lately.
    pub fn is_shunned(&self, node: NodeId) -> bool {
        self.1.lock().get(&node).is_some_and(|until| time::now() < *until)
    }

    fn of(&self, node: NodeId) -> (u64, u64) {
        self.0.lock().get(&node).copied().unwrap_or((0, 0))
    }
}

impl Work {
    /// The newest view of the group. Flows of the leader need no leadership round: what they propose is checked.
    pub fn view(&self) -> Arc<GroupView> {
        self.host.published.view()
    }

    /// Proposes in this reign.
    pub async fn propose(&self, entry: impl Into<Entry>) -> Result<Outcome, NotDone> {
        self.host.propose(self.reigning.term, entry).await
    }

    /// Waits for work to look for, at most this long.
    pub async fn rest(&self, longest: Duration) {
        let _ = time::timeout(longest, self.wake.notified()).await;
    }

    /// The data nodes that take new copies of this group, with their room.
    pub fn sites(&self) -> Vec<DataSite> {
        let Ok(cluster) = self.links.view() else { return Vec::new() };
        let view = self.view();
        let usable = cluster.nodes_of(Role::Data).filter(|node| node.state == NodeState::Active && node.seen);
        usable
            .filter(|node| !view.is_banned(node.node))
            .map(|node| {
                let (free_bytes, total_bytes) = self.room.of(node.node);
                DataSite { site: Site { node: node.node, zone: node.zone.clone() }, free_bytes, total_bytes }
            })
            .collect()
    }

    /// Names for a new table of a tablet: its id, and a stamped target for each copy. `None` if fewer data nodes
    /// than a write quorum take copies.
    pub fn name_table(&self, tablet: TabletId, shard: ShardId) -> Option<(TableId, Vec<CopyTarget>)> {
        let config = self.view().config.clone();
        let nodes = choose(tablet, config.data_replication, &self.sites());
        if nodes.len() < config.write_quorum() as usize {
            return None;
        }
        let cluster = self.links.view().ok()?;
        let ledger = &self.reigning.ledger;
        let table = ledger.open_table(nodes.iter().copied(), shard);
        let target = |node: NodeId| {
            let address = cluster.node(node).map(|node| node.address.clone()).unwrap_or_default();
            CopyTarget { node, address, stamp: ledger.stamp() }
        };
        Some((table, nodes.into_iter().map(target).collect()))
    }

    /// What became of tables whose commit was proposed, for the ledger.
    pub fn settle(&self, tables: impl IntoIterator<Item = TableId>, result: &Result<Outcome, NotDone>) {
        for table in tables {
            match result {
                Ok(_) => self.reigning.ledger.became_live(table),
                Err(NotDone::Refused(_) | NotDone::NotProposed(_)) => self.reigning.ledger.refused(table),
                // It may still become live: the next reign decides (rule G4).
                Err(NotDone::Unknown) => {}
            }
        }
    }

    /// Tables that left: the collector may delete them once nobody here reads them.
    pub fn left(&self, before: &GroupView, shard: ShardId, tables: impl IntoIterator<Item = TableId>) {
        for table in tables {
            let nodes: BTreeSet<NodeId> =
                before.table(table).map(|record| record.copies.keys().copied().collect()).unwrap_or_default();
            self.reigning.ledger.left(table, nodes, shard);
        }
    }
}
