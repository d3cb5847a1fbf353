use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use lamina_env::disk::OpenMode;
use lamina_env::time::Duration;
use lamina_env::{task, time};

use crate::World;

#[test]
fn a_crash_ends_all_tasks_and_a_start_boots_again_with_what_was_synced() {
    World::explore(0..20, async |world| {
        let steps = std::sync::Arc::new(AtomicU32::new(0));
        let counted = steps.clone();
        let node = world.node("n1", move |life| {
            let steps = counted.clone();
            async move {
                let disk = life.env.disk.clone();
                if life.number == 1 {
                    let file = disk.open("a", OpenMode::Create).await.unwrap();
                    file.write_and_sync(0, vec![Bytes::from("synced")]).await.unwrap();
                    disk.sync_dir("").await.unwrap();
                    file.write_at(6, vec![Bytes::from(" and not")]).await.unwrap();
                } else {
                    let file = disk.open("a", OpenMode::Read).await.unwrap();
                    let bytes = file.read_at(0, 100).await.unwrap();
                    assert!(bytes.starts_with(b"synced"), "{bytes:?}");
                }
                task::spawn(async move {
                    loop {
                        steps.fetch_add(1, Ordering::Relaxed);
                        time::sleep(Duration::from_millis(10)).await;
                    }
                });
            }
        });
        assert!(node.is_up());
        time::sleep(Duration::from_secs(1)).await;
        node.crash();
        node.crash();
        assert!(!node.is_up() && node.spawn(async {}).is_none());
        let before = steps.load(Ordering::Relaxed);
        assert!(before > 90, "{before} steps in a second");
        time::sleep(Duration::from_secs(1)).await;
        assert_eq!(steps.load(Ordering::Relaxed), before, "nothing runs on a node that is down");
        node.start();
        node.start();
        time::sleep(Duration::from_secs(1)).await;
        assert!(steps.load(Ordering::Relaxed) > before + 90);
        let answer = node.spawn(async { 7 }).unwrap().await.unwrap();
        assert_eq!(answer, 7);
    });
}

#[test]
fn a_killed_process_leaves_its_written_bytes() {
    World::run(1, async |world| {
        let node = world.node("n1", |life| async move {
            if life.number == 1 {
                let file = life.env.disk.open("a", OpenMode::Create).await.unwrap();
                file.write_at(0, vec![Bytes::from("written")]).await.unwrap();
            } else {
                let file = life.env.disk.open("a", OpenMode::Read).await.unwrap();
                assert_eq!(file.read_at(0, 9).await.unwrap(), "written");
            }
        });
        time::sleep(Duration::from_secs(1)).await;
        node.kill();
        node.start();
        time::sleep(Duration::from_secs(1)).await;
        assert!(world.network().links().lost == 0 && world.nodes().len() == 1);
    });
}

#[test]
fn what_an_earlier_life_left_running_cannot_touch_the_disk() {
    World::run(1, async |world| {
        let (tell, told) = tokio::sync::oneshot::channel();
        let tell = parking_lot::Mutex::new(Some(tell));
        let node = world.node("n1", move |life| {
            let tell = tell.lock().take();
            async move {
                if let Some(tell) = tell {
                    // The disk leaves the node's tasks, as it does in a thread of a library.
                    tell.send(life.env.disk.clone()).ok().unwrap();
                }
            }
        });
        let old = told.await.unwrap();
        old.open("a", OpenMode::Create).await.unwrap();
        node.crash();
        node.start();
        assert!(old.open("b", OpenMode::Create).await.is_err());
    });
}
