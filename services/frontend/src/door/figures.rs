//! What a frontend shows of itself, read whenever somebody asks.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use lamina_consensus::{Leadership, LogStore, Replica, Spread, StateMachine};
use lamina_env::disk::Space;
use lamina_group::data::GroupView;
use lamina_peers::admin::FrontendStats;
use lamina_peers::view::{NodeState, NodeView};
use lamina_types::{GroupId, NodeId, Role};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::door::raft::Residents;
use crate::flow::route::Router;
use crate::hand::blocks::Blocks;
use crate::heart::throttle::Pressure;
use crate::host::DataHost;
use crate::lead::copies::under_replicated;

/// A name without its prefix, what it says, and its value.
type Figure<T> = (&'static str, &'static str, fn(&T) -> u64);

/// What all names begin with.
const PREFIX: &str = "lamina_frontend_";

/// The figures of the groups, the cache and the log of one frontend. Cheap to clone.
#[derive(Clone)]
pub struct Figures {
    /// The groups.
    pub router: Router,
    /// The block cache.
    pub blocks: Arc<Blocks>,
    /// The log.
    pub log: LogStore,
    /// The replicas that run here.
    pub residents: Arc<Residents>,
    /// The room on the volume, as of some seconds ago; `None`: it was not asked yet.
    pub room: Arc<Mutex<Option<Space>>>,
}

impl Figures {
    /// As a status tells them; the room on the volume is asked of the disk.
    pub fn stats(&self, free_bytes: u64) -> FrontendStats {
        let hosts = self.router.hosts();
        FrontendStats {
            leads: hosts.iter().filter(|host| host.leads()).count() as u64,
            replicas: hosts.len() as u64,
            reads: hosts.iter().map(|host| host.metrics.reads.get()).sum(),
            writes: hosts.iter().map(|host| host.metrics.writes.get()).sum(),
            cache_bytes: self.blocks.cache_bytes(),
            log_bytes: self.log.stats().log_bytes,
            free_bytes,
        }
    }

    fn encode_groups(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let hosts: Vec<Shown> = self.router.hosts().iter().map(Shown::of).collect();
        let counters: &[Figure<Shown>] = &[
            ("writes", "Writes that were applied", |shown| shown.host.metrics.writes.get()),
            ("reads", "Keys and rows that were read", |shown| shown.host.metrics.reads.get()),
            ("writes_delayed", "Writes that back-pressure let wait", |shown| shown.pressure.delayed),
            ("writes_refused", "Writes that back-pressure refused", |shown| shown.pressure.refused),
        ];
        for (name, help, value) in counters {
            let name = format!("{PREFIX}{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            for shown in &hosts {
                ConstCounter::new(value(shown)).encode(family.encode_family(&shown.label())?)?;
            }
        }
        let gauges: &[Figure<Shown>] = &[
            ("memtable_bytes", "Bytes of memtables", |shown| shown.view.memtable_bytes()),
            ("memtable_limit_bytes", "Bytes of memtables at most", |shown| shown.view.config.memtable_bytes),
            ("writes_slowed", "1 while writes pass at a rate only", |shown| {
                u64::from(shown.leads && shown.pressure.slows)
            }),
            ("writes_stopped", "1 while no write passes", |shown| {
                u64::from(shown.leads && shown.pressure.stops)
            }),
            ("tablets", "Tablets of the group", |shown| shown.view.tablets.len() as u64),
            ("tables", "Tables of the group", |shown| shown.view.tables.len() as u64),
            ("table_bytes", "Bytes of these tables, counted once for all copies", Shown::table_bytes),
            ("runs", "Sorted runs over one key, at most", Shown::runs),
        ];
        for (name, help, value) in gauges {
            let samples = hosts.iter().map(|shown| (shown.host.group, value(shown)));
            gauge_by_group(encoder, name, help, samples)?;
        }
        // Only a leader that knows the data nodes knows what lacks.
        let alive = self.alive();
        let lacking = hosts
            .iter()
            .filter(|shown| shown.leads)
            .filter_map(|shown| Some((shown.host.group, under_replicated(&shown.view, alive.as_ref()?))));
        let help = "Tables with fewer copies on living nodes than they should have";
        gauge_by_group(encoder, "under_replicated_tables", help, lacking)?;
        let help = "From the hand-in of a batch of writes to its result";
        let name = format!("{PREFIX}write_seconds");
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Histogram)?;
        for shown in &hosts {
            shown.host.metrics.write_seconds.encode(family.encode_family(&shown.label())?)?;
        }
        Ok(())
    }

    /// Of each replica, that of the meta group included, how its log is.
    fn encode_replicas(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let meta = self.residents.meta();
        let meta = meta.iter().map(|host| Followed::of(GroupId::META, &host.replica));
        let hosts = self.router.hosts();
        let data = hosts.iter().map(|host| Followed::of(host.group, &host.replica));
        let replicas: Vec<Followed> = meta.chain(data).collect();
        let gauges: &[Figure<Followed>] = &[
            ("leading", "1 where this replica leads its group", |it| u64::from(it.leadership.mine)),
            ("leader_known", "1 where this replica knows a leader", |it| {
                u64::from(it.leadership.leader.is_some())
            }),
            ("term", "The term of the group, as far as this replica knows", |it| it.leadership.term),
            (
                "committed_index",
                "Entries of the log that are committed, as far as this replica knows",
                |it| it.committed,
            ),
            ("applied_index", "Entries of the log that are applied here", |it| it.applied),
        ];
        for (name, help, value) in gauges {
            gauge_by_group(encoder, name, help, replicas.iter().map(|it| (it.group, value(it))))?;
        }
        Ok(())
    }

    fn encode_node(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let log = self.log.stats();
        let room = *self.room.lock();
        let gauges = [
            ("cache_bytes", "Bytes of data blocks in the cache", Some(self.blocks.cache_bytes())),
            (
                "cache_limit_bytes",
                "Bytes of data blocks in the cache at most",
                Some(self.blocks.cache_bytes_max()),
            ),
            ("log_bytes", "Bytes of the segments of the log", Some(log.log_bytes)),
            ("log_segments", "Segments of the log", Some(log.segments)),
            (
                "log_full",
                "1 while the volume has no room for the log",
                Some(u64::from(*self.log.full().borrow())),
            ),
            ("volume_free_bytes", "Bytes free on the volume", room.map(|room| room.free)),
            ("volume_bytes", "Bytes of the volume", room.map(|room| room.total)),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let name = format!("{PREFIX}{name}");
            let gauge = ConstGauge::new(signed(value));
            gauge.encode(encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?)?;
        }
        let (hits, misses) = self.blocks.cache_hits();
        let counters = [
            ("cache_hits", "Data blocks that were found in the cache", hits),
            ("cache_misses", "Data blocks that were not in the cache", misses),
            ("log_syncs", "Batches that the log has written and synced", log.syncs),
            ("log_records", "Records in these batches", log.records),
            ("log_entry_bytes", "Bytes of the entries in them", log.entry_bytes),
        ];
        for (name, help, value) in counters {
            let name = format!("{PREFIX}{name}");
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(&name, help, None, MetricType::Counter)?)?;
        }
        let help = "From the hand-in of a batch to the disk until it was synced";
        histogram(encoder, "log_sync_seconds", help, &log.sync_us, 1e-6)?;
        histogram(encoder, "log_batch_records", "Records that shared one sync", &log.batch_records, 1.0)
    }

    /// Data nodes on which copies count; `None`: this node has not met its cluster.
    fn alive(&self) -> Option<BTreeSet<NodeId>> {
        let cluster = self.router.links.view().ok()?;
        let takes = |node: &&NodeView| matches!(node.state, NodeState::Active | NodeState::Joining);
        Some(cluster.nodes_of(Role::Data).filter(takes).map(|node| node.node).collect())
    }
}

/// A replica of a data group at the moment at which somebody asks.
struct Shown {
    host: Arc<DataHost>,
    view: Arc<GroupView>,
    pressure: Pressure,
    leads: bool,
}

impl Shown {
    fn of(host: &Arc<DataHost>) -> Shown {
        let (view, pressure) = (host.published.view(), host.throttle.pressure());
        Shown { view, pressure, leads: host.leads(), host: host.clone() }
    }

    fn label(&self) -> [(&'static str, u32); 1] {
        [("group", self.host.group.0)]
    }

    fn table_bytes(&self) -> u64 {
        self.view.live_tables().map(|(_, record)| record.file_bytes).sum()
    }

    fn runs(&self) -> u64 {
        self.view.tablets.iter().map(|tablet| tablet.tree.runs_over_max() as u64).max().unwrap_or(0)
    }
}

/// A replica of any group, as its log is.
struct Followed {
    group: GroupId,
    leadership: Leadership,
    committed: u64,
    applied: u64,
}

impl Followed {
    fn of<M: StateMachine>(group: GroupId, replica: &Replica<M>) -> Followed {
        // Applied first: what is committed may only be ahead of it.
        let applied = replica.applied().0;
        let leadership = *replica.leadership().borrow();
        Followed { group, leadership, applied, committed: replica.committed().0.max(applied) }
    }
}

fn gauge_by_group(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = (GroupId, u64)>,
) -> fmt::Result {
    let name = format!("{PREFIX}{name}");
    let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
    for (group, value) in samples {
        ConstGauge::new(signed(value)).encode(family.encode_family(&[("group", group.0)])?)?;
    }
    Ok(())
}

/// What was counted in whole numbers, in a unit of which each of them is `scale`.
fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    spread: &Spread,
    scale: f64,
) -> fmt::Result {
    let name = format!("{PREFIX}{name}");
    let bound = |bound: Option<u64>| bound.map_or(f64::INFINITY, |bound| bound as f64 * scale);
    let buckets: Vec<(f64, u64)> = spread.buckets().map(|(at, count)| (bound(at), count)).collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Histogram)?;
    metric.encode_histogram::<NoLabelSet>(spread.sum() as f64 * scale, count, &buckets, None)
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_groups(&mut encoder)?;
        self.encode_replicas(&mut encoder)?;
        self.encode_node(&mut encoder)
    }
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stats(0).fmt(f)
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
