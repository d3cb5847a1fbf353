//! Opens and closes the replicas that meta places on this frontend (protocols §8.3).

use std::collections::BTreeSet;
use std::sync::Arc;

use lamina_consensus::{LogStore, OpenError, RaftWire, Replica, StateMachine};
use lamina_env::task;
use lamina_env::time::{self, Duration};
use lamina_group::data::{GroupConfig, InitialGroup};
use lamina_peers::view::{ClusterView, GroupView, ReplicaPlacement};
use lamina_types::{GroupId, ReplicaId, ShardId};

use crate::door::raft::Residents;
use crate::flow::route::Router;
use crate::flow::writer::Writer;
use crate::heart::machine::DataMachine;
use crate::host::DataHost;
use crate::lead::reign::{self, Court};
use crate::meta::founding::Founding;
use crate::meta::host::{MetaHost, MetaMachine, ViewSender};
use crate::meta::lead;

/// After a replica that could not be opened.
const RETRY: Duration = Duration::from_millis(500);

/// Opens and closes replicas.
pub struct Replicas {
    /// The shared log.
    pub store: LogStore,
    /// How frames travel.
    pub wire: Arc<dyn RaftWire>,
    /// Replicas that run here.
    pub residents: Arc<Residents>,
    /// The groups.
    pub router: Router,
    /// What reigns share.
    pub court: Court,
    /// Where views go.
    pub views: ViewSender,
    /// The bootstrap record.
    pub founding: Arc<Founding>,
}

impl Replicas {
    /// Opens the meta group's replica: one that has files here, or a first member's.
    ///
    /// # Errors
    /// The log is damaged: the node must be replaced.
    pub async fn open_meta(&self, replica: ReplicaId) -> Result<Arc<MetaHost>, OpenError> {
        let (machine, state) = MetaMachine::new(self.views.clone());
        let opened =
            self.store.open_replica(GroupId::META, replica, machine, self.wire.clone(), false).await?;
        let host = MetaHost::new(opened, state);
        self.residents.set_meta(Some(host.clone()));
        let links = self.router.links.clone();
        drop(task::spawn(lead::run(host.clone(), links, self.founding.clone())));
        Ok(host)
    }

    /// Follows the view for ever: opens what is placed here, closes what is not any more.
    ///
    /// # Errors
    /// A replica's log is damaged: the node must be replaced.
    pub async fn follow(&self) -> OpenError {
        let mut views = self.router.links.views.clone();
        loop {
            let view = views.borrow_and_update().clone();
            let mut retry = false;
            if let Some(view) = view {
                match self.bring_to(&view).await {
                    Ok(()) => {}
                    Err(
                        error @ (OpenError::Corrupt(_)
                        | OpenError::ReplicaCorrupt { .. }
                        | OpenError::Level { .. }),
                    ) => {
                        return error;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a replica could not be opened; it is tried again");
                        retry = true;
                    }
                }
            }
            let wait = if retry { RETRY } else { Duration::from_secs(3600) };
            let _ = time::timeout(wait, views.changed()).await;
        }
    }

    async fn bring_to(&self, view: &ClusterView) -> Result<(), OpenError> {
        let Some(me) = self.router.links.me.node() else { return Ok(()) };
        let mut placed = BTreeSet::new();
        for group in &view.groups {
            for ReplicaPlacement { replica, .. } in group.replicas.iter().filter(|it| it.node == me) {
                placed.insert((group.group, *replica));
                self.open(view, group, *replica).await?;
            }
        }
        for (group, replica) in self.store.replicas() {
            let known = view.group(group).is_some();
            if known && !placed.contains(&(group, replica)) {
                self.close(group, replica).await;
            }
        }
        Ok(())
    }

    async fn open(&self, view: &ClusterView, group: &GroupView, replica: ReplicaId) -> Result<(), OpenError> {
        if group.group == GroupId::META {
            if self.residents.meta().is_none() {
                self.open_meta(replica).await?;
            }
            return Ok(());
        }
        if self.residents.has(group.group, replica) {
            return Ok(());
        }
        let (machine, published) = DataMachine::new(group.group, initial(view, group));
        let opened = self.store.open_replica(group.group, replica, machine, self.wire.clone(), false).await?;
        let (host, queue) = DataHost::new(group.group, opened, published);
        host.spawn(Writer::new(host.clone(), queue).run());
        self.residents.add(host.clone());
        self.router.add(host.clone());
        host.spawn(reign::run(self.court.clone(), host.clone()));
        host.spawn(leave_when_stopped(host.clone(), self.router.clone()));
        let first = group.initial.contains(&replica).then(|| group.initial.clone());
        let lowest = group.replicas.iter().map(|placement| placement.replica).min() == Some(replica);
        host.spawn(begin(host.replica.clone(), first, lowest));
        Ok(())
    }

    async fn close(&self, group: GroupId, replica: ReplicaId) {
        if group == GroupId::META {
            // One that was placed here anew stays.
            if self.residents.meta().is_some_and(|host| host.replica.id() == replica) {
                self.residents.set_meta(None);
            }
        } else if let Some(host) = self.residents.remove(group, replica) {
            self.router.remove(&host);
            host.close().await;
        }
        match self.store.delete_replica(group, replica).await {
            Ok(()) => tracing::info!(%group, %replica, "a replica that was replaced is deleted"),
            Err(error) => tracing::warn!(%group, %replica, %error, "a replica could not be deleted"),
        }
    }
}

/// What a replica that was opened does by itself: begins the group if it is one of its `first` members, and campaigns
/// if it is the `lowest`, so that after a restart of the whole store nobody waits for an election timeout.
pub async fn begin<M: StateMachine>(replica: Replica<M>, first: Option<Vec<ReplicaId>>, lowest: bool) {
    if let Some(first) = first
        && let Err(error) = replica.initialise(&first).await
    {
        // It has a log already, from before a restart.
        tracing::debug!(group = %replica.group(), replica = %replica.id(), %error, "not begun");
    }
    if lowest {
        replica.campaign().await;
    }
}

/// A replica that stopped by itself (rule G3) hears of no new leader: requests go to whom meta names from then on.
async fn leave_when_stopped(host: Arc<DataHost>, router: Router) {
    let stopped = host.replica.stopped().wait_for(Option::is_some).await.is_ok();
    if stopped {
        tracing::error!(group = %host.group, replica = %host.replica.id(), "the replica has stopped and serves no more");
        router.remove(&host);
    }
}

/// The state of a group before its first entry: equal on all replicas, because it follows from what meta settled
/// when the group was made.
fn initial(view: &ClusterView, group: &GroupView) -> InitialGroup {
    let settings = &view.settings;
    let shard = ShardId(u16::try_from(group.group.0 % u32::from(settings.shards.max(1))).unwrap_or(0));
    let config = GroupConfig {
        memtable_bytes: settings.memtable_bytes,
        data_replication: settings.data_replication,
        ..GroupConfig::default()
    };
    InitialGroup {
        config,
        tablet: group.first_range.clone().map(|range| (range, shard)),
        bans: std::collections::BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests;
