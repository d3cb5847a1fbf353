use std::sync::atomic::AtomicU64;

use lamina_env::{task, watch};
use tokio::sync::{Notify, Semaphore, broadcast, mpsc};

use super::*;

/// Many tasks that meet at every kind of meeting place, with equal timers and random ones.
async fn bustle(world: World) {
    let (queue, mut items) = mpsc::channel::<(u64, u64)>(3);
    let (news, _) = broadcast::channel::<u64>(64);
    let (clock, ticks) = watch::channel(0_u64);
    let (room, bell) = (Arc::new(Semaphore::new(2)), Arc::new(Notify::new()));
    let lock = Arc::new(tokio::sync::Mutex::new(0_u64));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..20_u64 {
        let (world, queue, room, bell) = (world.clone(), queue.clone(), room.clone(), bell.clone());
        let (mut heard, mut ticks, lock) = (news.subscribe(), ticks.clone(), lock.clone());
        tasks.spawn(async move {
            for step in 0..10 {
                time::sleep(time::Duration::from_millis(random::between(0, 4))).await;
                let permit = room.acquire().await.unwrap();
                *lock.lock().await += step;
                world.trace(format_args!("{number} is in, step {step}"));
                time::sleep(time::Duration::from_millis(1)).await;
                drop(permit);
                queue.send((number, step)).await.unwrap();
                bell.notify_one();
                ticks.changed().await.unwrap();
                world.trace(format_args!("{number} saw tick {}, {:?}", *ticks.borrow(), heard.try_recv()));
            }
            number
        });
    }
    drop(queue);
    let told = world.clone();
    let rings = task::spawn(async move {
        while time::timeout(time::Duration::from_secs(9), bell.notified()).await.is_ok() {
            told.trace("the bell rings");
        }
    });
    while let Some((number, step)) = items.recv().await {
        world.trace(format_args!("{number}.{step}"));
        let _ = news.send(number);
        clock.send_if_modified(|tick| {
            *tick += 1;
            true
        });
        time::sleep(time::Duration::from_millis(random::between(0, 2))).await;
        // Whoever waits for the last ticks must not wait for ever.
        let (clock, late) = (clock.clone(), time::Duration::from_millis(50));
        task::spawn(async move {
            time::sleep(late).await;
            clock.send_if_modified(|tick| {
                *tick += 1;
                true
            });
        });
    }
    while let Some(done) = tasks.join_next().await {
        world.trace(format_args!("{} is done", done.unwrap()));
    }
    rings.await.unwrap();
}

#[test]
fn a_seed_runs_the_same_way_each_time() {
    let mut digests = std::collections::BTreeSet::new();
    for seed in 0..10 {
        let ((), first) = World::run_traced(seed, bustle);
        for _ in 0..3 {
            assert_eq!(World::run_traced(seed, bustle).1, first, "seed {seed}");
        }
        let elsewhere =
            std::thread::scope(|scope| scope.spawn(|| World::run_traced(seed, bustle).1).join().unwrap());
        assert_eq!(elsewhere, first, "seed {seed}, in another thread");
        digests.insert(first.to_string());
    }
    assert_eq!(digests.len(), 10, "every seed runs another way");
}

#[test]
fn time_is_simulated() {
    let day = time::Duration::from_secs(24 * 3600);
    let (elapsed, _) = World::run_for(day * 2, 1, async |world| {
        time::sleep(day).await;
        world.elapsed()
    });
    assert_eq!(elapsed, day);
}

/// What a run that must fail says.
fn failure(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    assert!(!random::is_seeded(), "a failed world leaves no seed behind");
    panic
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap().to_string())
}

#[test]
fn a_run_that_waits_for_ever_fails() {
    let failed = failure(|| World::run(5, async |_| std::future::pending::<()>().await));
    assert_eq!(failed, "seed 5: the scenario did not end within 14400 simulated seconds");
}

#[test]
fn a_thread_inside_the_world_fails_the_run() {
    #[expect(clippy::disallowed_methods, reason = "this is what must be found")]
    let failed = failure(|| World::run(5, async |_| tokio::task::spawn_blocking(|| {}).await.unwrap()));
    assert!(failed.contains("real time is forbidden"), "{failed}");
}

#[test]
fn a_panic_in_any_task_fails_the_run() {
    let failed = failure(|| {
        World::run(5, async |_| {
            assert!(task::spawn(async { panic!("on purpose") }).await.is_err());
        });
    });
    assert_eq!(failed, "seed 5: a task of the world panicked");
    let failed = failure(|| World::run(5, async |_| panic!("in the scenario")));
    assert_eq!(failed, "in the scenario");
    World::run(5, async |_| {});
}

#[test]
fn a_world_within_a_world_is_refused() {
    let failed = failure(|| World::run(5, async |_| World::run(6, async |_| {})));
    assert_eq!(failed, "a simulated world cannot run inside another");
}

#[test]
fn exploring_finds_what_is_drawn_from_outside_the_seed() {
    let outside = AtomicU64::new(0);
    let failed = failure(|| {
        World::explore(0..3, async |world| world.trace(outside.fetch_add(1, Ordering::Relaxed)));
    });
    assert!(failed.contains("two runs of seed 0 differ"), "{failed}");
}

#[test]
fn exploring_runs_every_seed() {
    let seeds = Mutex::new(Vec::new());
    World::explore(3..6, async |world| seeds.lock().push(world.seed()));
    if std::env::var_os("SIM_SEED").is_none() && std::env::var_os("SIM_SEEDS").is_none() {
        assert_eq!(*seeds.lock(), [3, 3, 4, 5]);
    }
}

#[test]
fn a_world_leaves_nothing_behind() {
    let shared = World::run(5, async |world| {
        let held = world.clone();
        world.node("n1", move |life| {
            let held = held.clone();
            async move {
                life.network.serve("n1:1", crate::network::Services::default());
                time::sleep(time::Duration::from_secs(1)).await;
                held.trace("a second later");
            }
        });
        time::sleep(time::Duration::from_millis(10)).await;
        Arc::downgrade(&world.0)
    });
    assert!(shared.upgrade().is_none(), "a node that holds its world does not keep it");
}
