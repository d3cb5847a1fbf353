//! Three to four nodes, two groups, clients and readers, while nodes crash, links are cut, leaders are asked to go,
//! checkpoints are made and members change. Afterwards: every acknowledged entry is where it was said to be, none
//! that was refused is there, all replicas hold the same, and every read saw what was acknowledged before it began.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use lamina_consensus::ProposeError;
use lamina_env::time::{Duration, sleep, timeout};
use lamina_env::{random, task};
use lamina_sim::World;
use lamina_sim::network::{Cut, Link};
use lamina_types::{GroupId, LogIndex};
use parking_lot::Mutex;

use crate::fleet::{Fleet, name, quick, replica_of};

const GROUPS: [GroupId; 2] = [GroupId(1), GroupId(2)];
const NODES: u64 = 4;

#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    acknowledged: BTreeMap<(GroupId, u64), String>,
    refused: BTreeSet<(GroupId, String)>,
    unknown: u64,
    reads: u64,
    over: bool,
}

impl Ledger {
    fn note(
        &self,
        world: &World,
        (group, number, count): (GroupId, u64, u64),
        text: String,
        result: Option<Result<(LogIndex, usize), ProposeError>>,
    ) {
        let mut lines = self.0.lock();
        match result {
            Some(Ok((index, _))) => {
                world.trace(format_args!("c{number}-{count} is {group}/{}", index.0));
                let before = lines.acknowledged.insert((group, index.0), text);
                assert_eq!(before, None, "two entries at one index");
            }
            Some(Err(ProposeError::Unknown)) => lines.unknown += 1,
            Some(Err(ProposeError::NotLeader { .. } | ProposeError::Full)) => {
                lines.refused.insert((group, text));
            }
            Some(Err(ProposeError::Stopped)) | None => {}
        }
    }
}

async fn client(world: World, fleet: Fleet, ledger: Ledger, number: u64) {
    for count in 0.. {
        if ledger.0.lock().over {
            return;
        }
        let group = GROUPS[(random::u64() % 2) as usize];
        let text = format!("c{number}-{count}-{}", "y".repeat((random::u64() % 300) as usize));
        let result = fleet.propose(group, &text).await;
        ledger.note(&world, (group, number, count), text, result);
        sleep(Duration::from_millis(random::between(1, 60))).await;
    }
}

/// Reads at any replica that thinks that it leads, as protocols §6.1 says.
async fn reader(fleet: Fleet, ledger: Ledger) {
    while !ledger.0.lock().over {
        sleep(Duration::from_millis(random::between(1, 50))).await;
        let group = GROUPS[(random::u64() % 2) as usize];
        let node = random::between(1, NODES + 1);
        let Some(open) = fleet.open(node, group) else { continue };
        let before: Vec<(u64, String)> = {
            let lines = ledger.0.lock();
            let of_group = lines.acknowledged.iter().filter(|((of, _), _)| *of == group);
            of_group.rev().take(3).map(|((_, index), text)| (*index, text.clone())).collect()
        };
        let read = timeout(Duration::from_secs(3), async {
            let r = open.replica.round().await.ok()?;
            open.replica.wait_applied(r).await;
            Some(open.page.lock().clone())
        });
        let Ok(Some(page)) = read.await else { continue };
        for (index, text) in before {
            let found = page.lines.iter().any(|(at, line)| *at == index && line.as_ref() == text.as_bytes());
            assert!(
                found,
                "a read on n{node} does not see entry {index} of group {group}, acknowledged before it"
            );
        }
        ledger.0.lock().reads += 1;
    }
}

async fn trouble(world: World, fleet: Fleet) {
    for _ in 0..40 {
        sleep(Duration::from_millis(random::between(50, 1500))).await;
        let node = random::between(1, NODES + 1);
        let group = GROUPS[(random::u64() % 2) as usize];
        match random::u64() % 10 {
            0 | 1 => {
                fleet.node(node).crash();
                sleep(Duration::from_millis(random::between(0, 2000))).await;
                fleet.start_node(node);
            }
            2 => {
                fleet.node(node).kill();
                fleet.start_node(node);
            }
            3 => {
                let cut = world.network().cut(Cut::Isolated(name(node)));
                sleep(Duration::from_millis(random::between(100, 3000))).await;
                world.network().mend(cut);
            }
            4 => {
                let to = name(node % NODES + 1);
                let cut = world.network().cut(Cut::OneWay { from: name(node), to });
                sleep(Duration::from_millis(random::between(100, 3000))).await;
                world.network().mend(cut);
            }
            5 => {
                if let Some((leader, _)) = fleet.present_leader(group)
                    && let Some(open) = fleet.open(leader, group)
                {
                    drop(open.replica.transfer(replica_of(group, node)).await);
                }
            }
            6 => {
                if let Some(open) = fleet.open(node, group) {
                    drop(timeout(Duration::from_secs(5), open.replica.checkpoint()).await);
                }
            }
            7 | 8 => {
                let mut voters: BTreeSet<_> = (1..=NODES).collect();
                voters.remove(&node);
                change_voters(&fleet, group, voters).await;
            }
            _ => {
                for node in fleet.all() {
                    fleet.node(node).crash();
                }
                sleep(Duration::from_millis(random::between(0, 1000))).await;
                for node in fleet.all() {
                    fleet.start_node(node);
                }
            }
        }
    }
}

/// One attempt to make these nodes' replicas the voters of a group.
async fn change_voters(fleet: &Fleet, group: GroupId, voters: BTreeSet<u64>) -> bool {
    let Some((leader, _)) = fleet.present_leader(group) else { return false };
    let Some(open) = fleet.open(leader, group) else { return false };
    let change = async {
        for voter in &voters {
            open.replica.add_learner(replica_of(group, *voter)).await?;
        }
        open.replica.change_voters(voters.iter().map(|node| replica_of(group, *node)).collect()).await
    };
    matches!(timeout(Duration::from_secs(20), change).await, Ok(Ok(())))
}

fn weather(world: &World, fleet: &Fleet, lost: u64) {
    let link = Link { lost, doubled: lost, ..Link::default() };
    world.network().set_links(link);
    for node in fleet.all() {
        fleet.node(node).disk().change_faults(|faults| {
            faults.sync_ms = Some((0, 3));
            faults.read_ms = Some((0, 1));
        });
    }
}

async fn story(world: World) {
    let fleet = Fleet::start(&world, NODES, 3, 2, quick());
    weather(&world, &fleet, 5);
    let ledger = Ledger::default();
    let mut tasks = Vec::new();
    for number in 0..4 {
        tasks.push(task::spawn(client(world.clone(), fleet.clone(), ledger.clone(), number)));
        tasks.push(task::spawn(reader(fleet.clone(), ledger.clone())));
    }
    trouble(world.clone(), fleet.clone()).await;
    ledger.0.lock().over = true;
    world.network().heal();
    weather(&world, &fleet, 0);
    for node in fleet.all() {
        fleet.start_node(node);
    }
    for task in tasks {
        task.await.expect("clients and readers end well");
    }
    for group in GROUPS {
        for attempt in 0.. {
            assert!(attempt < 100, "the members of group {group} cannot be changed any more");
            if change_voters(&fleet, group, (1..=NODES).collect()).await {
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
        let last = fleet.put(group, "end").await;
        let page = fleet.agree(group, last.0).await;
        world.trace(format_args!("group {group} ends at {} with {:016x}", page.applied, page.digest));
        judge(group, &page.lines, &ledger.0.lock());
        for node in fleet.all() {
            let replica = fleet.open(node, group).expect("all are up").replica;
            assert_eq!(*replica.stopped().borrow(), None);
            assert!(replica.shut_out().borrow().is_empty(), "nobody broke a promise");
        }
    }
    let lines = ledger.0.lock();
    assert!(lines.acknowledged.len() > 50 && lines.reads > 50, "the story was too quiet");
}

fn judge(group: GroupId, found: &[(u64, Bytes)], lines: &Lines) {
    let at: BTreeMap<u64, &Bytes> = found.iter().map(|(index, line)| (*index, line)).collect();
    for ((_, index), text) in lines.acknowledged.iter().filter(|((of, _), _)| *of == group) {
        let line = at.get(index).copied();
        assert_eq!(line.map(Bytes::as_ref), Some(text.as_bytes()), "entry {index} of group {group} is lost");
    }
    let mut once = BTreeSet::new();
    for (index, line) in found {
        let text = String::from_utf8_lossy(line).into_owned();
        assert!(once.insert(text.clone()), "entry {index} of group {group} is there twice");
        assert!(!lines.refused.contains(&(group, text)), "entry {index} of group {group} was refused");
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_whatever_happens_to_nodes_and_links() {
    // More with SIM_SEEDS: a dozen take about a minute without optimisation.
    World::explore(1..13, story);
}
