//! What lies on the disks of data nodes against what the groups' logs list: nothing that is listed may be missing
//! (T4), nothing else may stay, and all copies of a table are the same bytes (T1).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use lamina_client::Client;
use lamina_env::Env;
use lamina_env::clock::SimClock;
use lamina_env::disk::{Disk, EntryKind};
use lamina_env::time::{self, Duration};
use lamina_env::{random, task};
use lamina_node::identity;
use lamina_peers::Network;
use lamina_peers::admin::Status;
use lamina_peers::data::VerifyTable;
use lamina_peers::group::ListShard;
use lamina_peers::index::IndexStat;
use lamina_sim::SimNode;
use lamina_types::{
    Error, Incarnation, NodeId, Reason, RequestContext, Result, Role, Sender, ShardId, TableId,
};

use crate::nodes::{Store, context};

/// Which data nodes have each live table, as the leaders list it.
pub type Listed = BTreeMap<TableId, BTreeSet<NodeId>>;
/// Sealed files of one data node: paths by table.
pub type Files = BTreeMap<TableId, Vec<String>>;

/// Somebody who looks at everything and changes nothing.
pub struct Inspector<'a> {
    store: &'a Store,
    client: Client,
}

/// One copy on a disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyOnDisk {
    pub table: TableId,
    pub node: NodeId,
    pub machine: String,
    pub path: String,
}

impl<'a> Inspector<'a> {
    pub fn new(store: &'a Store) -> Inspector<'a> {
        let client = store.client("inspector", 0);
        let quick = lamina_client::Options { deadline: Duration::from_secs(2), repeat: true };
        Inspector { store, client: client.with(quick) }
    }

    pub async fn status(&self) -> Result<Status> {
        self.client.status().await
    }

    fn context(&self, status: &Status, to: NodeId) -> RequestContext {
        let sender = Sender { cluster: status.view.cluster, node: NodeId(1), incarnation: Incarnation(1) };
        RequestContext { sender: Some(sender), to: Some(to), ..context() }
    }

    /// All live tables, after a leadership round of each group, by index shard.
    pub async fn listed_by_shard(&self) -> Result<BTreeMap<ShardId, Listed>> {
        let status = self.status().await?;
        let network = self.store.world().network().client("inspector");
        let mut all: BTreeMap<ShardId, Listed> = BTreeMap::new();
        for (group, stats) in &status.groups {
            let leader = status.view.node(stats.leader).map(|node| node.address.clone()).unwrap_or_default();
            let peer = network.group(&leader);
            for shard in (0..self.store.settings().shards).map(ShardId) {
                let call = peer.call(self.context(&status, stats.leader), ListShard { group: *group, shard });
                let list =
                    time::timeout(Duration::from_secs(2), call).await.unwrap_or_else(|_| Err(silent()))?;
                let tables = list.tables.into_iter().map(|one| (one.table, one.copies.into_iter().collect()));
                all.entry(shard).or_default().extend(tables);
            }
        }
        if status.groups.len() == self.store.settings().groups as usize { Ok(all) } else { Err(silent()) }
    }

    /// All live tables.
    pub async fn listed(&self) -> Result<Listed> {
        Ok(self.listed_by_shard().await?.into_values().flatten().collect())
    }

    /// Who is on which machine, by the identity on its volume, and the sealed files there.
    pub async fn files(&self) -> BTreeMap<NodeId, (String, Files)> {
        let mut all = BTreeMap::new();
        for name in self.store.names_of(Role::Data) {
            let machine = self.store.machine(&name);
            let Some(node) = volume_of(&machine).await else { continue };
            all.insert(node, (name, files_of(&machine).await));
        }
        all
    }

    /// Every sealed copy whose table is live and that is listed.
    pub async fn copies(&self) -> Result<Vec<CopyOnDisk>> {
        let listed = self.listed().await?;
        let mut all = Vec::new();
        for (node, (machine, files)) in self.files().await {
            for (table, paths) in files {
                if listed.get(&table).is_some_and(|nodes| nodes.contains(&node)) {
                    let machine = machine.clone();
                    all.extend(paths.into_iter().map(|path| CopyOnDisk {
                        table,
                        node,
                        machine: machine.clone(),
                        path,
                    }));
                }
            }
        }
        Ok(all)
    }

    /// Looks again and again until `end` that what is listed is there. A table that was listed before and after the
    /// look must have been there in between.
    pub async fn watch_until(&self, end: time::Instant) -> u64 {
        let mut looks = 0;
        while time::now() < end {
            time::sleep(Duration::from_millis(random::between(300, 1_500))).await;
            let Ok(before) = self.listed().await else { continue };
            let files = self.files().await;
            let Ok(after) = self.listed().await else { continue };
            looks += 1;
            for (table, nodes) in &before {
                let Some(still) = after.get(table) else { continue };
                for node in nodes.intersection(still) {
                    let Some((machine, there)) = files.get(node) else { continue };
                    assert!(
                        there.contains_key(table),
                        "T4: table {table} is listed on {machine} and its file is not there"
                    );
                }
            }
        }
        looks
    }

    /// Waits until the disks hold what is listed and nothing else, and compares all copies byte by byte.
    pub async fn wait_until_tidy(&self, limit: Duration) {
        let deadline = time::now() + limit;
        loop {
            let untidy = match self.untidy().await {
                Ok(None) => return,
                Ok(Some(what)) => what,
                Err(error) => error.to_string(),
            };
            assert!(time::now() < deadline, "the disks do not become tidy: {untidy}");
            time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn untidy(&self) -> Result<Option<String>> {
        let listed = self.listed().await?;
        let wanted = self.store.settings().data_replication as usize;
        if let Some((table, nodes)) = listed.iter().find(|(_, nodes)| nodes.len() != wanted) {
            return Ok(Some(format!("table {table} has copies on {nodes:?}")));
        }
        let mut bytes: BTreeMap<TableId, Bytes> = BTreeMap::new();
        for (node, (machine, files)) in self.files().await {
            let here: BTreeSet<TableId> =
                listed.iter().filter(|(_, nodes)| nodes.contains(&node)).map(|(table, _)| *table).collect();
            let there: BTreeSet<TableId> = files.keys().copied().collect();
            if let Some(table) = there.symmetric_difference(&here).next() {
                let what =
                    if here.contains(table) { "is listed and missing" } else { "is there and not listed" };
                return Ok(Some(format!("table {table} {what} on {machine}")));
            }
            let disk = self.store.machine(&machine).disk();
            for (table, paths) in files {
                let [path] = paths.as_slice() else {
                    return Ok(Some(format!("table {table} has several files on {machine}: {paths:?}")));
                };
                let content = disk.durable(path).unwrap_or_default();
                let known = bytes.entry(table).or_insert_with(|| content.clone());
                if *known != content {
                    return Ok(Some(format!("the copies of table {table} differ (T1), one is on {machine}")));
                }
            }
            if let Some(stray) = disk.list("incoming").await.unwrap_or_default().first() {
                return Ok(Some(format!("{machine} keeps incoming/{}", stray.name)));
            }
        }
        Ok(None)
    }

    /// Has every data node read all of its live copies through.
    pub async fn have_all_verified(&self) {
        let status = self.status().await.unwrap();
        let network = self.store.world().network().client("inspector");
        for copy in self.copies().await.unwrap() {
            let (peer, context) = (network.data(&copy.machine), self.context(&status, copy.node));
            let verified = peer.call(context, VerifyTable { table: copy.table }).await;
            self.store.world().trace(format_args!("{} on {}: {verified:?}", copy.table, copy.machine));
        }
    }

    /// Waits until every index node that serves a shard has exactly the parts that are live.
    pub async fn wait_until_index_is_exact(&self, limit: Duration) {
        let deadline = time::now() + limit;
        loop {
            let differs = match self.index_differs().await {
                Ok(None) => return,
                Ok(Some(what)) => what,
                Err(error) => error.to_string(),
            };
            assert!(time::now() < deadline, "the index does not become exact: {differs}");
            time::sleep(Duration::from_secs(5)).await;
        }
    }

    async fn index_differs(&self) -> Result<Option<String>> {
        let listed = self.listed_by_shard().await?;
        let status = self.status().await?;
        let network = self.store.world().network().client("inspector");
        for node in status.view.nodes_of(Role::Index) {
            let stats =
                network.index(&node.address).call(self.context(&status, node.node), IndexStat {}).await?;
            for shard in &status.view.shards {
                if !shard.replicas.iter().any(|replica| replica.node == node.node) {
                    continue;
                }
                let has =
                    stats.shards.iter().find(|one| one.shard == shard.shard).map_or(0, |one| one.tables);
                let live = listed.get(&shard.shard).map_or(0, BTreeMap::len) as u64;
                if has != live {
                    let name = &node.name;
                    return Ok(Some(format!("{name} has {has} parts of {}, {live} are live", shard.shard)));
                }
            }
        }
        Ok(None)
    }
}

/// Starts a watch that ends by itself.
pub fn watch(store: &Store, end: time::Instant) -> task::JoinHandle<u64> {
    let store = store.clone();
    task::spawn(async move { Inspector::new(&store).watch_until(end).await })
}

async fn volume_of(machine: &SimNode) -> Option<NodeId> {
    let env = Env { clock: Arc::new(SimClock::starting_at(0)), disk: Arc::new(machine.disk()) };
    identity::read(&env, Role::Data).await.ok().flatten().map(|identity| identity.node)
}

async fn files_of(machine: &SimNode) -> Files {
    let disk = machine.disk();
    let mut files = Files::new();
    for group in disk.list("tables").await.unwrap_or_default() {
        let dir = format!("tables/{}", group.name);
        for entry in disk.list(&dir).await.unwrap_or_default() {
            let name = entry.name;
            let table = name.split_once('@').and_then(|(table, _)| table.parse().ok());
            assert!(entry.kind == EntryKind::File, "a directory {name} lies among tables");
            let table = table.unwrap_or_else(|| panic!("a file {name} lies among tables"));
            files.entry(table).or_default().push(format!("{dir}/{name}"));
        }
    }
    files
}

fn silent() -> Error {
    Error::new(Reason::Unreachable, "a leader did not answer")
}
