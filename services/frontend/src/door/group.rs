//! The door of a leader of groups: for index nodes, for the meta leader, for snapshots.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use lamina_env::time::{self, Duration};
use lamina_group::data::entry::{PinSnapshot, Tick, UnpinBy, UnpinSnapshots};
use lamina_group::data::{GroupView, Outcome, Refusal};
use lamina_peers::Port;
use lamina_peers::group::{
    CompactGroup, GroupAnswer, GroupCompacted, GroupProbed, GroupRequest, GroupStat, GroupStats,
    GroupVersionIs, ListShard, PinVersion, ShardListed, ShardTable, TabletStat, UnpinVersion, VersionPinned,
    VersionUnpinned,
};
use lamina_peers::index::SeekRange;
use lamina_peers::view::NodeState;
use lamina_types::{Error, GroupId, NodeId, Reason, ReplicaId, RequestContext, Result, Role, TableId};

use crate::flow::read::timely_view;
use crate::flow::route::Router;
use crate::flow::search::{Searcher, records_of};
use crate::hand::blocks::Wanted;
use crate::heart::verified::{count_verified, death_of};
use crate::host::{DataHost, NotDone};
use crate::lead::copies::under_replicated;
use crate::lead::works::Works;
use crate::lead::{compact, flush};

/// Takes questions for groups that this frontend leads.
pub struct GroupDoor {
    router: Router,
    searcher: Searcher,
    works: Arc<Works>,
}

impl GroupDoor {
    /// A door to the groups of this frontend.
    pub fn new(router: Router, searcher: Searcher, works: Arc<Works>) -> GroupDoor {
        GroupDoor { router, searcher, works }
    }

    fn host(&self, group: GroupId) -> Result<Arc<DataHost>> {
        let host = self.router.host(group).filter(|host| host.leads());
        host.ok_or_else(|| match self.router.route_group(group) {
            crate::flow::route::Route::There { leader, .. } => self.router.not_owner(group, leader),
            crate::flow::route::Route::Here(host) => host.not_owner(),
        })
    }

    async fn list_shard(&self, request: ListShard) -> Result<ShardListed> {
        let host = self.host(request.group)?;
        let epoch = self.router.links.view()?.epoch;
        // All before the view: a table that is open now is above the mark, and one that is not open any more is in
        // the view if it is live. The other way round one that becomes live between the two would be in neither.
        let reigning = host.reigning()?;
        let next = reigning.ledger.mark();
        // A table that may still become live has no record yet; what is above the lowest of them is not judged.
        let open = reigning.ledger.open_tables(request.shard);
        let view = host.newest_view().await?;
        let mark = open.iter().map(|table| (table.reign, table.n)).min().unwrap_or(next).min(next);
        let tables = view.tables_of_shard(request.shard).into_iter().filter_map(|table| {
            let record = view.table(table)?;
            Some(ShardTable {
                table,
                index_bytes: record.index_bytes,
                index_crc: record.index_crc,
                copies: record.copies.keys().copied().collect(),
            })
        });
        Ok(ShardListed { tables: tables.collect(), mark, epoch })
    }

    async fn stat(&self, request: GroupStat) -> Result<GroupStats> {
        let host = self.host(request.group)?;
        let view = host.newest_view().await?;
        let reigning = host.reigning()?;
        let cluster = self.router.links.view()?;
        let alive: BTreeSet<NodeId> = cluster
            .nodes_of(Role::Data)
            .filter(|node| matches!(node.state, NodeState::Active | NodeState::Joining))
            .map(|node| node.node)
            .collect();
        let lost: Vec<_> =
            request.nodes.iter().map(|node| (*node, death_of(&view, &cluster, *node))).collect();
        // A reign that has just begun has verified nothing.
        let verified = self.works.get(request.group).map(|work| work.verified).unwrap_or_default();
        let named: BTreeSet<NodeId> = request.nodes.into_iter().collect();
        let members = host.replica.members();
        let committed = host.replica.committed().0;
        let near: BTreeSet<ReplicaId> = host
            .replica
            .progress()
            .into_iter()
            .filter(|one| one.matched.is_some_and(|matched| matched.0 + 1000 >= committed))
            .map(|one| one.replica)
            .chain([host.replica.id()])
            .collect();
        let placements = cluster.group(request.group).map(|group| group.replicas.clone()).unwrap_or_default();
        let nodes_of = |replicas: &BTreeSet<ReplicaId>| -> Vec<NodeId> {
            placements.iter().filter(|it| replicas.contains(&it.replica)).map(|it| it.node).collect()
        };
        let caught_up = near.intersection(&members.voters).copied().collect();
        let (writes_per_second, write_p99_us) = host.metrics.lately();
        let only_on_named = |record: &lamina_engine::tree::TableRecord| {
            let mut elsewhere =
                record.copies.keys().filter(|node| alive.contains(node) && !named.contains(node));
            elsewhere.next().is_none()
        };
        Ok(GroupStats {
            leader: self.router.links.me.node().ok_or_else(|| host.not_owner())?,
            reign: reigning.reign,
            last_version: view.last_version,
            applied: view.applied.0,
            caught_up: nodes_of(&caught_up),
            voters: nodes_of(&members.voters),
            tablets: view.tablets.iter().map(|tablet| tablet_stat(&view, tablet)).collect(),
            tables: view.tables.len() as u64,
            table_bytes: view.live_tables().map(|(_, record)| record.file_bytes).sum(),
            under_replicated: under_replicated(&view, &alive),
            only_on_named: view.live_tables().filter(|(_, record)| only_on_named(record)).count() as u64,
            naming: view
                .live_tables()
                .filter(|(_, record)| record.copies.keys().any(|node| named.contains(node)))
                .count() as u64,
            verified: count_verified(&verified, &view, &cluster, &lost),
            memtable_bytes: view.memtable_bytes(),
            memtable_bytes_max: view.config.memtable_bytes,
            writes_per_second,
            write_p99_us,
        })
    }

    async fn probe(&self, context: &RequestContext, group: GroupId) -> Result<GroupProbed> {
        let host = self.host(group)?;
        let reigning = host.reigning()?;
        host.propose(reigning.term, Tick { hint: host.hint() }).await?;
        let view = host.newest_view().await?;
        let table_read = self.read_some_table(context, &view).await?;
        Ok(GroupProbed { index: view.applied.0, table_read })
    }

    /// One lookup and one block read in some table of the view; false if it has none.
    async fn read_some_table(&self, context: &RequestContext, view: &GroupView) -> Result<bool> {
        let with_tables = view.tablets.iter().find_map(|tablet| Some((tablet, tablet.tree.views().next()?)));
        let Some((tablet, named)) = with_tables else { return Ok(false) };
        let records = records_of(view, &[named.table]);
        let range = SeekRange { table: named.table, range: named.range.clone(), reverse: false, limit: 1 };
        let failed =
            |fault: String| Error::new(Reason::Unreachable, format!("the probe could not read: {fault}"));
        let (handles, _) = self
            .searcher
            .index
            .seek(context, tablet.shard, &range, &records)
            .await
            .map_err(|fault| failed(format!("{fault:?}")))?;
        let Some((handle, record)) = handles.first().zip(records.get(&named.table)) else { return Ok(false) };
        let wanted = Wanted { handle: *handle, record: record.clone(), keep: true };
        self.searcher.blocks.fetch(context, &[wanted]).await.map_err(|fault| failed(format!("{fault:?}")))?;
        Ok(true)
    }

    async fn pin(&self, request: PinVersion) -> Result<VersionPinned> {
        let host = self.host(request.group)?;
        let reigning = host.reigning()?;
        let entry = PinSnapshot {
            snapshot: request.snapshot,
            at: request.at,
            ttl_ms: request.ttl_ms,
            hint: host.hint(),
        };
        match host.propose(reigning.term, entry).await {
            Ok(Outcome::Pinned { at, expires_ms }) => Ok(VersionPinned { at, expires_ms }),
            Ok(_) => Err(Error::new(Reason::Bug, "apply answered a pin with something else")),
            Err(NotDone::Refused(refusal)) => Err(pin_refused(&refusal)),
            Err(error) => Err(error.into()),
        }
    }

    async fn unpin(&self, request: UnpinVersion) -> Result<VersionUnpinned> {
        let host = self.host(request.group)?;
        let reigning = host.reigning()?;
        let entry = UnpinSnapshots { snapshots: vec![request.snapshot], by: UnpinBy::Client };
        host.propose(reigning.term, entry).await?;
        Ok(VersionUnpinned {})
    }

    async fn compact(&self, request: CompactGroup) -> Result<GroupCompacted> {
        let host = self.host(request.group)?;
        let work = self.works.get(request.group).ok_or_else(|| host.not_owner())?;
        if request.compact {
            compact::compact_all(&work).await?;
        } else {
            flush::flush_all(&work).await?;
        }
        let view = host.published.view();
        Ok(GroupCompacted {
            tables: view.tables.len() as u64,
            table_bytes: view.live_tables().map(|(_, record)| record.file_bytes).sum(),
        })
    }

    async fn serve(&self, context: &RequestContext, request: GroupRequest) -> Result<GroupAnswer> {
        match request {
            GroupRequest::ListShard(list) => self.list_shard(list).await.map(GroupAnswer::ListShard),
            GroupRequest::GroupStat(stat) => self.stat(stat).await.map(GroupAnswer::GroupStat),
            GroupRequest::ProbeGroup(probe) => {
                self.probe(context, probe.group).await.map(GroupAnswer::ProbeGroup)
            }
            GroupRequest::GroupVersion(request) => {
                // A snapshot is taken at this version: expiries are judged by it as long as it stands.
                let host = self.host(request.group)?;
                let version = timely_view(&host).await?.last_version;
                Ok(GroupAnswer::GroupVersion(GroupVersionIs { version }))
            }
            GroupRequest::PinVersion(pin) => self.pin(pin).await.map(GroupAnswer::PinVersion),
            GroupRequest::UnpinVersion(unpin) => self.unpin(unpin).await.map(GroupAnswer::UnpinVersion),
            GroupRequest::CompactGroup(compact) => self.compact(compact).await.map(GroupAnswer::CompactGroup),
        }
    }
}

#[async_trait]
impl Port<GroupRequest, GroupAnswer> for GroupDoor {
    async fn call(&self, context: RequestContext, request: GroupRequest) -> Result<GroupAnswer> {
        let limit = Duration::from_millis(context.deadline_ms);
        time::timeout(limit, self.serve(&context, request)).await.unwrap_or_else(|_| {
            Err(Error::new(Reason::DeadlineExceeded, "the deadline passed before the group answered"))
        })
    }
}

fn tablet_stat(view: &GroupView, tablet: &lamina_group::data::TabletView) -> TabletStat {
    let bytes = |table: TableId| view.table(table).map_or(0, |record| record.file_bytes);
    TabletStat {
        tablet: tablet.id,
        range: tablet.range.clone(),
        shard: tablet.shard,
        runs: u32::try_from(tablet.tree.runs_over_max()).unwrap_or(u32::MAX),
        tables: u32::try_from(tablet.tree.views().count()).unwrap_or(u32::MAX),
        table_bytes: tablet.tree.tables().into_iter().map(bytes).sum(),
        memtable_bytes: tablet.memtable_bytes(),
    }
}

fn pin_refused(refusal: &Refusal) -> Error {
    match refusal {
        Refusal::TooManyPins { .. } => {
            Error::new(Reason::TooManyOpen, refusal.to_string()).retry_after_ms(1_000)
        }
        Refusal::BelowFloor { .. } => Error::new(Reason::SnapshotExpired, refusal.to_string()),
        other => Error::new(Reason::StateMoved, other.to_string()),
    }
}
