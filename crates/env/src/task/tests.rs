use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::oneshot;

use super::*;

/// Counts itself down when it is dropped.
struct Alive(Arc<AtomicU32>);

impl Alive {
    fn new(count: &Arc<AtomicU32>) -> Alive {
        count.fetch_add(1, Ordering::SeqCst);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn forever(alive: Alive) {
    std::future::pending::<()>().await;
    drop(alive);
}

/// Lets all others run until `count` is as wanted.
async fn until(count: &Arc<AtomicU32>, wanted: u32) {
    for _ in 0..1000 {
        if count.load(Ordering::SeqCst) == wanted {
            return;
        }
        yield_now().await;
    }
    panic!("{} tasks are alive, not {wanted}", count.load(Ordering::SeqCst));
}

#[tokio::test]
async fn stopping_a_group_ends_the_tasks_that_its_tasks_started() {
    let count = Arc::new(AtomicU32::new(0));
    let (group, other) = (TaskGroup::new(), TaskGroup::new());
    let nested = count.clone();
    group.spawn(async move {
        let deeper = nested.clone();
        spawn(async move {
            spawn(forever(Alive::new(&deeper)));
            forever(Alive::new(&deeper)).await;
        });
        forever(Alive::new(&nested)).await;
    });
    other.spawn(forever(Alive::new(&count)));
    spawn(forever(Alive::new(&count)));
    until(&count, 5).await;
    group.stop();
    until(&count, 2).await;
    assert!(group.is_stopped() && !other.is_stopped());
    other.stop();
    until(&count, 1).await;
}

#[tokio::test]
async fn a_stopped_group_runs_nothing_more() {
    let group = TaskGroup::new();
    group.clone().stop();
    let (tell, told) = oneshot::channel();
    let task = group.spawn(async move { tell.send(()).is_ok() });
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(told.await.is_err(), "not one step was taken");
}

#[tokio::test]
async fn a_task_that_stops_its_own_group_ends_at_its_next_wait() {
    let group = TaskGroup::new();
    let (tell, told) = oneshot::channel();
    let own = group.clone();
    let task = group.spawn(async move {
        own.stop();
        tell.send("stopped").unwrap();
        std::future::pending::<()>().await;
    });
    assert_eq!(told.await.unwrap(), "stopped");
    assert!(task.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn tasks_that_have_ended_do_not_pile_up() {
    let group = TaskGroup::new();
    for _ in 0..1000 {
        group.spawn(async {}).await.unwrap();
    }
    assert!(group.members.lock().tasks.len() <= 64);
    let value = group.spawn(async { 7 }).await.unwrap();
    assert_eq!(value, 7);
}

#[tokio::test]
async fn heavy_work_runs_in_place_in_a_seeded_world_and_beside_it_elsewhere() {
    let here = std::thread::current().id();
    let there = compute(|| std::thread::current().id()).await.unwrap();
    assert_ne!(here, there);
    random::seed_this_thread(1);
    let there = compute(|| std::thread::current().id()).await;
    random::unseed_this_thread();
    assert_eq!(here, there.unwrap());
    let panicked = compute(|| panic!("on purpose")).await;
    assert!(panicked.unwrap_err().is_panic());
}
