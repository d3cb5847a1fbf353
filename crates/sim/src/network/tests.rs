use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use lamina_env::time::{self, Duration};
use lamina_env::{random, task};
use lamina_peers::raft::{RaftCall, RaftReply};
use lamina_types::{Error, GroupId, Reason, ReplicaId};

use super::*;
use crate::World;

/// Counts what it begins and what it ends; its answer is its count.
#[derive(Default)]
struct Counter {
    takes_ms: u64,
    begun: AtomicU64,
    ended: AtomicU64,
    order: Mutex<Vec<Bytes>>,
}

#[async_trait]
impl Port<RaftRequest, RaftAnswer> for Counter {
    async fn call(&self, context: RequestContext, request: RaftRequest) -> Result<RaftAnswer> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let RaftRequest::RaftCall(call) = request;
        self.order.lock().push(call.frame);
        if self.takes_ms > 0 {
            time::sleep(Duration::from_millis(self.takes_ms)).await;
        }
        self.ended.fetch_add(1, Ordering::Relaxed);
        if context.deadline_ms == 0 {
            return Err(Error::new(Reason::DeadlineExceeded, "too late"));
        }
        Ok(RaftAnswer::RaftCall(RaftReply { frame: Bytes::from(context.deadline_ms.to_string()) }))
    }
}

impl Counter {
    fn counts(&self) -> (u64, u64) {
        (self.begun.load(Ordering::Relaxed), self.ended.load(Ordering::Relaxed))
    }
}

fn call(frame: impl Into<Bytes>) -> RaftCall {
    let (group, frame) = (GroupId(1), frame.into());
    RaftCall { group, from: ReplicaId(1), to: ReplicaId(2), bulk: false, frame }
}

fn context(deadline_ms: u64) -> RequestContext {
    RequestContext::new(0, deadline_ms)
}

/// A world with one node that serves a counter at `n1:1`.
fn counting(world: &World, takes_ms: u64) -> (Arc<crate::SimNode>, Arc<Counter>) {
    let counter = Arc::new(Counter { takes_ms, ..Counter::default() });
    let served = counter.clone();
    let node = world.node("n1", move |life| {
        life.network.serve("n1:1", Services { raft: Some(served.clone()), ..Services::default() });
        std::future::pending()
    });
    (node, counter)
}

/// Lets the node boot.
async fn a_moment() {
    time::sleep(Duration::from_millis(1)).await;
}

fn reason<T>(result: Result<T>) -> Option<Reason> {
    result.err().map(|error| error.reason())
}

#[test]
fn a_call_is_answered_and_its_deadline_shrinks_on_the_way() {
    World::explore(0..20, async |world| {
        counting(&world, 0);
        a_moment().await;
        world.network().set_links(Link { delay_ms_min: 10, delay_ms_max: 20, ..Link::default() });
        let raft = world.network().client("c").raft("n1:1");
        let sent = world.elapsed();
        let answer = raft.call(context(1000), call("x")).await.unwrap();
        let left: u64 = std::str::from_utf8(&answer.frame).unwrap().parse().unwrap();
        assert!((980..=990).contains(&left), "{left} ms are left after the way there");
        let took = (world.elapsed() - sent).as_millis();
        assert!((20..=41).contains(&took), "{took} ms there and back");
    });
}

#[test]
fn a_node_calls_itself_without_loss_or_delay() {
    World::run(1, async |world| {
        world.network().set_links(Link { lost: 1000, ..Link::default() });
        let (_, counter) = counting(&world, 0);
        a_moment().await;
        world.network().cut(Cut::Isolated("n1".to_owned()));
        let own = world.network().of("n1", &TaskGroup::new());
        let before = world.elapsed();
        own.raft("n1:1").call(context(1000), call("x")).await.unwrap();
        assert_eq!((world.elapsed(), counter.counts()), (before, (1, 1)));
    });
}

#[test]
fn the_caller_stops_waiting_at_its_deadline_and_the_work_goes_on() {
    World::run(1, async |world| {
        let (_, counter) = counting(&world, 5_000);
        a_moment().await;
        let raft = world.network().client("c").raft("n1:1");
        let sent = world.elapsed();
        let answer = raft.call(context(100), call("x")).await;
        assert_eq!(reason(answer), Some(Reason::DeadlineExceeded));
        assert_eq!((world.elapsed() - sent).as_millis(), 100);
        assert_eq!(counter.counts(), (1, 0));
        time::sleep(Duration::from_secs(10)).await;
        assert_eq!(counter.counts(), (1, 1));
    });
}

#[test]
fn neither_the_callers_drop_nor_its_crash_takes_back_the_work() {
    World::run(1, async |world| {
        let (_, counter) = counting(&world, 50);
        let caller = world.node("n2", |life| async move {
            let _ = life.network.raft("n1:1").call(context(10_000), call("before the crash")).await;
        });
        time::sleep(Duration::from_millis(20)).await;
        caller.crash();
        let raft = world.network().client("c").raft("n1:1");
        let dropped =
            time::timeout(Duration::from_millis(1), raft.call(context(10_000), call("dropped"))).await;
        assert!(dropped.is_err());
        time::sleep(Duration::from_secs(1)).await;
        assert_eq!(counter.counts(), (2, 2));
    });
}

#[test]
fn the_receivers_crash_ends_the_work_and_a_restart_serves_again() {
    World::explore(0..20, async |world| {
        let (node, counter) = counting(&world, 1_000);
        a_moment().await;
        world.network().set_links(Link { silent: 0, ..Link::default() });
        let raft = world.network().client("c").raft("n1:1");
        let twin = raft.clone();
        let waiting = task::spawn(async move { twin.call(context(60_000), call("x")).await });
        time::sleep(Duration::from_millis(500)).await;
        node.crash();
        assert_eq!(reason(waiting.await.unwrap()), Some(Reason::Unreachable));
        assert_eq!(reason(raft.call(context(1000), call("x")).await), Some(Reason::Unreachable));
        time::sleep(Duration::from_secs(5)).await;
        assert_eq!(counter.counts(), (1, 0));
        node.start();
        a_moment().await;
        raft.call(context(60_000), call("x")).await.unwrap();
        assert_eq!(counter.counts(), (2, 1));
    });
}

#[test]
fn nobody_and_the_wrong_kind_of_node_are_unreachable() {
    World::run(1, async |world| {
        counting(&world, 0);
        a_moment().await;
        let client = world.network().client("c");
        assert_eq!(reason(client.raft("n9:1").call(context(9), call("x")).await), Some(Reason::Unreachable));
        let identify = lamina_peers::admin::Identify {};
        assert_eq!(reason(client.admin("n1:1").call(context(9), identify).await), Some(Reason::Unreachable));
    });
}

#[test]
fn a_life_that_is_over_serves_nothing() {
    World::run(1, async |world| {
        let tasks = TaskGroup::new();
        let of_n1 = world.network().of("n1", &tasks);
        tasks.stop();
        of_n1.serve("n1:1", Services { raft: Some(Arc::new(Counter::default())), ..Services::default() });
        let answer = world.network().client("c").raft("n1:1").call(context(9), call("x")).await;
        assert_eq!(reason(answer), Some(Reason::Unreachable));
    });
}

#[test]
fn a_cut_on_the_way_there_prevents_the_work_and_on_the_way_back_hides_it() {
    World::explore(0..20, async |world| {
        let (_, counter) = counting(&world, 0);
        a_moment().await;
        let raft = world.network().client("c").raft("n1:1");
        let way = |from: &str, to: &str| Cut::OneWay { from: from.to_owned(), to: to.to_owned() };
        let there = world.network().cut(way("c", "n1"));
        let failed = [Some(Reason::Unreachable), Some(Reason::DeadlineExceeded)];
        assert!(failed.contains(&reason(raft.call(context(1000), call("x")).await)));
        assert_eq!(counter.counts(), (0, 0));
        world.network().mend(there);
        world.network().cut(way("n1", "c"));
        assert!(failed.contains(&reason(raft.call(context(1000), call("x")).await)));
        assert_eq!(counter.counts(), (1, 1));
        world.network().heal();
        raft.call(context(1000), call("x")).await.unwrap();
        for cut in [
            Cut::Between("n1".to_owned(), "c".to_owned()),
            Cut::Deaf("n1".to_owned()),
            Cut::Isolated("c".to_owned()),
            Cut::Apart(["c".to_owned(), "n7".to_owned()].into()),
        ] {
            let cut = world.network().cut(cut);
            assert!(raft.call(context(1000), call("x")).await.is_err());
            world.network().mend(cut);
        }
        let other = world.network().cut(Cut::Apart(["c".to_owned(), "n1".to_owned()].into()));
        raft.call(context(1000), call("x")).await.unwrap();
        world.network().mend(other);
    });
}

#[test]
fn messages_are_lost_before_and_after_the_work_doubled_and_out_of_order() {
    World::run(1, async |world| {
        let (_, counter) = counting(&world, 0);
        a_moment().await;
        let (mut answered, mut reset, mut silent) = (0, 0, 0);
        world.network().set_links(Link { lost: 200, doubled: 100, delay_ms_max: 20, ..Link::default() });
        let raft = world.network().client("c").raft("n1:1");
        let calls = (0..500_u32).map(|number| {
            let raft = raft.clone();
            async move { raft.call(context(1000), call(number.to_be_bytes().to_vec())).await }
        });
        for answer in futures::future::join_all(calls).await {
            match reason(answer) {
                None => answered += 1,
                Some(Reason::Unreachable) => reset += 1,
                Some(Reason::DeadlineExceeded) => silent += 1,
                other => panic!("{other:?}"),
            }
        }
        let order = counter.order.lock();
        let once: std::collections::BTreeSet<&Bytes> = order.iter().collect();
        assert!(answered > 200 && reset > 30 && silent > 30, "{answered} {reset} {silent}");
        assert!(once.len() < 490, "some never came: {}", once.len());
        assert!(once.len() > answered + 30, "some were done, and the caller does not know");
        assert!(order.len() > once.len() + 10, "some came twice");
        assert!(!order.is_sorted(), "some overtook others");
    });
}

#[test]
fn a_link_of_its_own_is_slow_in_its_direction_only() {
    World::run(1, async |world| {
        counting(&world, 0);
        a_moment().await;
        let slow = Link { delay_ms_min: 500, delay_ms_max: 500, ..Link::default() };
        world.network().set_link("n1", "c", Some(slow));
        let raft = world.network().client("c").raft("n1:1");
        assert_eq!(reason(raft.call(context(499), call("x")).await), Some(Reason::DeadlineExceeded));
        raft.call(context(600), call("x")).await.unwrap();
        world.network().set_link("n1", "c", None);
        raft.call(context(100), call("x")).await.unwrap();
        assert!(random::is_seeded());
    });
}
