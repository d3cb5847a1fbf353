//! Volumes as nodes find them.

use std::sync::Arc;

use bytes::Bytes;
use lamina_env::Env;
use lamina_env::clock::OsClock;
use lamina_env::disk::OpenMode;
use lamina_env::disk::memory::MemDisk;
use lamina_node::{StartError, identity};
use lamina_types::{ClusterId, Incarnation, Role};

fn env(disk: &MemDisk) -> Env {
    Env { clock: Arc::new(OsClock), disk: Arc::new(disk.mount()) }
}

fn why(result: Result<identity::Volume, StartError>) -> String {
    match result {
        Err(StartError::Refused(why)) => why,
        Err(other) => panic!("not a refusal: {other}"),
        Ok(volume) => panic!("not refused: {volume:?}"),
    }
}

#[tokio::test]
async fn each_start_raises_the_incarnation_and_keeps_the_rest() {
    let disk = MemDisk::new(1);
    let first = identity::open(&env(&disk), Role::Data).await.unwrap().identity();
    assert_eq!((first.incarnation, first.cluster), (Incarnation(1), None));
    let mut volume = identity::open(&env(&disk), Role::Data).await.unwrap();
    volume.join(ClusterId(7)).await.unwrap();
    drop(volume);
    disk.crash();
    let third = identity::open(&env(&disk), Role::Data).await.unwrap().identity();
    assert_eq!(third.node, first.node);
    assert_eq!((third.incarnation, third.cluster), (Incarnation(3), Some(ClusterId(7))));
}

#[tokio::test]
async fn a_volume_in_use_is_refused() {
    let disk = MemDisk::new(2);
    let _in_use = identity::open(&env(&disk), Role::Frontend).await.unwrap();
    assert!(why(identity::open(&env(&disk), Role::Frontend).await).contains("in use by another process"));
}

#[tokio::test]
async fn a_volume_of_another_role_or_another_store_is_refused() {
    let disk = MemDisk::new(3);
    let mut volume = identity::open(&env(&disk), Role::Data).await.unwrap();
    volume.join(ClusterId(7)).await.unwrap();
    let other = volume.join(ClusterId(8)).await.unwrap_err();
    assert!(other.to_string().contains("not to store"), "{other}");
    drop(volume);
    let refused = why(identity::open(&env(&disk), Role::Frontend).await);
    assert!(refused.contains("belongs to data node"), "{refused}");
}

#[tokio::test]
async fn a_directory_with_something_else_in_it_is_refused_and_nothing_is_written() {
    let disk = MemDisk::new(4);
    let world = env(&disk);
    let file = world.disk.open("holiday.jpg", OpenMode::Create).await.unwrap();
    file.write_and_sync(0, vec![Bytes::from_static(b"beach")]).await.unwrap();
    let refused = why(identity::open(&world, Role::Data).await);
    assert!(refused.contains("holiday.jpg"), "{refused}");
    let names: Vec<String> = world.disk.list("").await.unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["holiday.jpg"]);
}

#[tokio::test]
async fn a_damaged_identity_is_refused() {
    let disk = MemDisk::new(5);
    drop(identity::open(&env(&disk), Role::Data).await.unwrap());
    disk.rot("identity", 15, 4);
    assert!(why(identity::open(&env(&disk), Role::Data).await).contains("damaged"));
}
