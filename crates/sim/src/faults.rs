//! What goes wrong when: a plan drawn from the world's seed, and its execution.
//!
//! A plan is a list, so that a failing run can be cut down: leave out a kind by its rate, or faults one by one.

use std::collections::BTreeSet;
use std::sync::Arc;

use lamina_env::random;
use lamina_env::time::{self, Duration};

use crate::network::{Cut, Link};
use crate::node::SimNode;
use crate::world::World;

/// How often each kind of fault happens in the whole world: the mean time between two of them. `None`: never.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rates {
    /// Power loss of a node.
    pub crash: Option<Duration>,
    /// The end of a process, whose written bytes stay.
    pub kill: Option<Duration>,
    /// A sync fails; the node is restarted a while later, by kill or power loss.
    pub sync_error: Option<Duration>,
    /// A node that nobody reaches and that reaches nobody.
    pub isolate: Option<Duration>,
    /// A node that is heard and hears nothing, or a link that works in one direction.
    pub one_way: Option<Duration>,
    /// The nodes fall into two parts.
    pub apart: Option<Duration>,
    /// A link that takes a hundred times longer.
    pub slow_link: Option<Duration>,
    /// Messages are lost and doubled everywhere.
    pub lossy: Option<Duration>,
    /// A clock that is up to a day wrong, and then right again.
    pub clock_jump: Option<Duration>,
    /// A disk that takes its time.
    pub slow_disk: Option<Duration>,
    /// A disk on which every tenth read fails.
    pub read_errors: Option<Duration>,
    /// A disk without room.
    pub full_disk: Option<Duration>,
    /// Nodes that are down at once, at most.
    pub down_max: usize,
    /// The least time that a fault lasts.
    pub lasts_min: Duration,
    /// The most time that a fault lasts.
    pub lasts_max: Duration,
}

impl Rates {
    /// Nothing goes wrong.
    pub const NONE: Rates = Rates {
        crash: None,
        kill: None,
        sync_error: None,
        isolate: None,
        one_way: None,
        apart: None,
        slow_link: None,
        lossy: None,
        clock_jump: None,
        slow_disk: None,
        read_errors: None,
        full_disk: None,
        down_max: 1,
        lasts_min: Duration::from_millis(50),
        lasts_max: Duration::from_secs(8),
    };

    /// All kinds, each about once in `mean`.
    pub fn all(mean: Duration) -> Rates {
        let mean = Some(mean);
        Rates {
            crash: mean,
            kill: mean,
            sync_error: mean,
            isolate: mean,
            one_way: mean,
            apart: mean,
            slow_link: mean,
            lossy: mean,
            clock_jump: mean,
            slow_disk: mean,
            read_errors: mean,
            full_disk: mean,
            ..Rates::NONE
        }
    }
}

/// One thing that goes wrong. Nodes are given by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Power loss, and a start when the fault ends.
    Crash(String),
    /// The end of the process, and a start when the fault ends.
    Kill(String),
    /// The next sync of a file fails. When the fault ends, the node is restarted.
    SyncError {
        /// The node.
        node: String,
        /// The restart is a power loss, not only the end of the process.
        crash: bool,
    },
    /// Messages do not get through.
    Cut(Cut),
    /// A slow way from one node to another.
    SlowLink {
        /// Who sends.
        from: String,
        /// Who receives.
        to: String,
    },
    /// Messages are lost and doubled everywhere.
    Lossy,
    /// A clock is wrong by so many milliseconds.
    ClockJump {
        /// The node.
        node: String,
        /// How far ahead it is, or behind.
        skew_ms: i64,
    },
    /// Syncs take long, reads somewhat.
    SlowDisk(String),
    /// Reads fail now and then.
    ReadErrors(String),
    /// The disk has no more room.
    FullDisk(String),
}

impl Fault {
    /// The node that is not up for a part of the fault.
    fn takes_down(&self) -> Option<&str> {
        match self {
            Fault::Crash(node) | Fault::Kill(node) | Fault::SyncError { node, .. } => Some(node),
            _ => None,
        }
    }
}

/// Draws a fault of one kind.
type Draw = fn(&[String]) -> Fault;

/// A fault with its time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    /// When it begins, from the start of the plan.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// What it is.
    pub fault: Fault,
}

/// All that will go wrong.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FaultSchedule {
    /// The faults, by their beginning.
    pub faults: Vec<Planned>,
}

impl FaultSchedule {
    /// Draws a plan for these nodes over `length`, from the random numbers of this thread.
    pub fn draw(nodes: &[String], rates: &Rates, length: Duration) -> FaultSchedule {
        let mut faults = Vec::new();
        let kinds: [(Option<Duration>, Draw); 12] = [
            (rates.crash, |nodes| Fault::Crash(one(nodes))),
            (rates.kill, |nodes| Fault::Kill(one(nodes))),
            (rates.sync_error, |nodes| Fault::SyncError { node: one(nodes), crash: coin() }),
            (rates.isolate, |nodes| Fault::Cut(Cut::Isolated(one(nodes)))),
            (rates.one_way, |nodes| Fault::Cut(one_way(nodes))),
            (rates.apart, |nodes| Fault::Cut(Cut::Apart(some(nodes)))),
            (rates.slow_link, |nodes| Fault::SlowLink { from: one(nodes), to: one(nodes) }),
            (rates.lossy, |_| Fault::Lossy),
            (rates.clock_jump, |nodes| Fault::ClockJump { node: one(nodes), skew_ms: skew() }),
            (rates.slow_disk, |nodes| Fault::SlowDisk(one(nodes))),
            (rates.read_errors, |nodes| Fault::ReadErrors(one(nodes))),
            (rates.full_disk, |nodes| Fault::FullDisk(one(nodes))),
        ];
        if nodes.is_empty() {
            return FaultSchedule::default();
        }
        for (mean, kind) in kinds {
            let Some(mean) = mean else { continue };
            let mut at = between(Duration::ZERO, mean * 2);
            while at < length {
                let lasts = between(rates.lasts_min, rates.lasts_max);
                faults.push(Planned { at, lasts, fault: kind(nodes) });
                at += between(Duration::from_millis(1), mean * 2);
            }
        }
        // Stable: equal times keep the order of the kinds.
        faults.sort_by_key(|planned| planned.at);
        FaultSchedule { faults: with_enough_up(faults, rates.down_max) }
    }

    /// Lets everything happen, and returns when the last fault has ended: then all nodes are up, and all links are
    /// as they were at the beginning.
    pub async fn run(&self, world: &World) {
        let began = time::now();
        let links = world.network().links();
        let all = self.faults.iter().map(|planned| async move {
            time::sleep_until(began + planned.at).await;
            world.trace(format_args!("fault: {:?} for {} ms", planned.fault, planned.lasts.as_millis()));
            happen(world, &planned.fault, planned.lasts, links).await;
            world.trace(format_args!("over: {:?}", planned.fault));
        });
        futures::future::join_all(all).await;
    }
}

/// Leaves out faults that would take down too many nodes at once, or a node that is down.
fn with_enough_up(faults: Vec<Planned>, down_max: usize) -> Vec<Planned> {
    let mut down: Vec<(Duration, String)> = Vec::new();
    let mut kept = Vec::new();
    for planned in faults {
        if let Some(node) = planned.fault.takes_down() {
            down.retain(|(until, _)| *until > planned.at);
            if down.len() >= down_max || down.iter().any(|(_, other)| other == node) {
                continue;
            }
            down.push((planned.at + planned.lasts, node.to_owned()));
        }
        kept.push(planned);
    }
    kept
}

fn between(least: Duration, most: Duration) -> Duration {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random::between(ms(least), ms(most)))
}

fn coin() -> bool {
    random::between(0, 2) == 1
}

fn one(nodes: &[String]) -> String {
    let chosen = random::between(0, nodes.len() as u64);
    nodes.get(usize::try_from(chosen).unwrap_or(0)).cloned().unwrap_or_default()
}

fn some(nodes: &[String]) -> BTreeSet<String> {
    nodes.iter().filter(|_| coin()).cloned().collect()
}

fn one_way(nodes: &[String]) -> Cut {
    if coin() { Cut::Deaf(one(nodes)) } else { Cut::OneWay { from: one(nodes), to: one(nodes) } }
}

/// Mostly seconds, now and then up to a day, ahead or behind.
fn skew() -> i64 {
    let most = if random::between(0, 4) == 0 { 86_400_000 } else { 10_000 };
    let skew = i64::try_from(random::between(1, most)).unwrap_or(i64::MAX);
    if coin() { skew } else { -skew }
}

/// One fault from its beginning to its end.
async fn happen(world: &World, fault: &Fault, lasts: Duration, links: Link) {
    let network = world.network();
    match fault {
        Fault::Crash(_) | Fault::Kill(_) | Fault::SyncError { .. } => restart(world, fault, lasts).await,
        Fault::Cut(cut) => {
            let id = network.cut(cut.clone());
            time::sleep(lasts).await;
            network.mend(id);
        }
        Fault::SlowLink { from, to } => {
            let slow = Link { delay_ms_min: 30, delay_ms_max: 300, ..links };
            network.set_link(from, to, Some(slow));
            time::sleep(lasts).await;
            network.set_link(from, to, None);
        }
        Fault::Lossy => {
            network.set_links(Link { lost: 100, doubled: 100, ..links });
            time::sleep(lasts).await;
            network.set_links(links);
        }
        Fault::ClockJump { node, skew_ms } => {
            let Some(node) = world.nodes().get(node).cloned() else { return };
            node.clock().set_skew_ms(*skew_ms);
            time::sleep(lasts).await;
            node.clock().set_skew_ms(0);
        }
        Fault::SlowDisk(node) | Fault::ReadErrors(node) | Fault::FullDisk(node) => {
            let Some(node) = world.nodes().get(node).cloned() else { return };
            harm_disk(&node, fault, lasts).await;
        }
    }
}

async fn restart(world: &World, fault: &Fault, lasts: Duration) {
    let Some(node) = fault.takes_down().and_then(|name| world.nodes().get(name).cloned()) else {
        return;
    };
    match fault {
        Fault::Crash(_) => node.crash(),
        Fault::Kill(_) => node.kill(),
        _ => node.disk().change_faults(|faults| faults.next_syncs_fail = 1),
    }
    time::sleep(lasts).await;
    if let Fault::SyncError { crash, .. } = fault {
        node.disk().change_faults(|faults| faults.next_syncs_fail = 0);
        if *crash { node.crash() } else { node.kill() }
    }
    node.start();
}

async fn harm_disk(node: &Arc<SimNode>, fault: &Fault, lasts: Duration) {
    let disk = node.disk();
    match fault {
        Fault::SlowDisk(_) => {
            disk.change_faults(|faults| {
                faults.sync_ms = Some((20, 400));
                faults.read_ms = Some((0, 50));
            });
            time::sleep(lasts).await;
            disk.change_faults(SimNode::usual_times);
        }
        Fault::ReadErrors(_) => {
            disk.change_faults(|faults| faults.reads_fail = 100);
            time::sleep(lasts).await;
            disk.change_faults(|faults| faults.reads_fail = 0);
        }
        _ => {
            let (used, total) = disk.used();
            let room = random::between(0, 256 << 10);
            disk.change_faults(|faults| faults.capacity = used + room);
            time::sleep(lasts).await;
            disk.change_faults(|faults| faults.capacity = total);
        }
    }
}

#[cfg(test)]
mod tests;
