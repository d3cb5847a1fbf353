use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::disk::conformance;
use crate::disk::memory::Loss;

#[tokio::test]
async fn memory_before_files_is_a_disk() {
    let mut roots = Vec::new();
    conformance::holds(async || {
        let root = tempfile::tempdir().unwrap();
        let disk = UnsyncedDisk::open(root.path().join("volume")).await.unwrap();
        roots.push(root);
        disk
    })
    .await;
}

#[tokio::test]
async fn the_end_of_the_process_loses_what_was_not_synced() {
    let root = tempfile::tempdir().unwrap();
    let disk = UnsyncedDisk::open(root.path().into()).await.unwrap();
    let file = disk.open("a", OpenMode::Create).await.unwrap();
    file.write_and_sync(0, vec![Bytes::from("synced")]).await.unwrap();
    assert!(!root.path().join("a").exists(), "the name is not durable yet");
    disk.sync_dir("").await.unwrap();
    file.write_at(0, vec![Bytes::from("LOST")]).await.unwrap();
    disk.open("b", OpenMode::Create).await.unwrap();
    assert_eq!(file.read_at(0, 9).await.unwrap(), "LOSTed");
    drop((disk, file));

    let disk = UnsyncedDisk::open(root.path().into()).await.unwrap();
    let names: Vec<String> = disk.list("").await.unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["a"]);
    let file = disk.open("a", OpenMode::Write).await.unwrap();
    assert_eq!(file.read_at(0, 9).await.unwrap(), "synced");
    file.write_and_sync(6, vec![Bytes::from("!")]).await.unwrap();
    let real = OsDisk::open(root.path().into()).unwrap();
    assert_eq!(real.open("a", OpenMode::Read).await.unwrap().read_at(0, 9).await.unwrap(), "synced!");
}

#[tokio::test]
async fn a_lock_file_is_never_replaced() {
    let root = tempfile::tempdir().unwrap();
    let disk = UnsyncedDisk::open(root.path().into()).await.unwrap();
    let _lock = disk.lock("LOCK").await.unwrap();
    disk.sync_dir("").await.unwrap();
    let other = UnsyncedDisk::open(root.path().into()).await.unwrap();
    assert_eq!(other.lock("LOCK").await.err().unwrap().kind(), io::ErrorKind::WouldBlock);
}

type Tree = BTreeMap<String, Option<Bytes>>;

async fn tree(disk: &impl Disk) -> Tree {
    let mut tree = Tree::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        for entry in disk.list(&directory).await.unwrap() {
            let path = if directory.is_empty() { entry.name } else { format!("{directory}/{}", entry.name) };
            if entry.kind == EntryKind::Directory {
                tree.insert(path.clone(), None);
                directories.push(path);
            } else {
                let bytes =
                    disk.open(&path, OpenMode::Read).await.unwrap().read_at(0, 1 << 20).await.unwrap();
                tree.insert(path, Some(bytes));
            }
        }
    }
    tree
}

/// One random deed; many of them fail, for want of a name or because of one.
async fn deed(disk: &UnsyncedDisk, rng: &mut StdRng) {
    let names = ["a", "b", "c", "d/a", "d/b", "d/e/a", "d/e/b", "f/a"];
    let directories = ["", "d", "d/e", "f"];
    let name = |rng: &mut StdRng| names[rng.random_range(0..names.len())];
    let directory = directories[rng.random_range(0..directories.len())];
    let (one, other) = (name(rng), name(rng));
    match rng.random_range(0..20) {
        0..3 => drop(disk.open(one, OpenMode::Create).await),
        3..8 => {
            if let Ok(file) = disk.open(one, OpenMode::Write).await {
                let bytes = vec![rng.random(); rng.random_range(0..9_000)].into();
                file.write_at(rng.random_range(0..9_000), vec![bytes]).await.unwrap();
                match rng.random_range(0..4) {
                    0 => file.set_len(rng.random_range(0..9_000)).await.unwrap(),
                    1 => file.sync().await.unwrap(),
                    _ => {}
                }
            }
        }
        8..11 => drop(disk.rename(one, other).await),
        11 => drop(disk.link(one, other).await),
        12..14 => drop(disk.remove(one).await),
        14 => drop(disk.create_dir_all(directory).await),
        15 if rng.random_bool(0.2) => drop(disk.remove_dir_all(directory).await),
        _ => drop(disk.sync_dir(directory).await),
    }
}

#[tokio::test]
async fn real_files_are_what_the_worst_crash_leaves() {
    let mut seen = 0;
    for seed in 0..60 {
        let root = tempfile::tempdir().unwrap();
        let disk = UnsyncedDisk::open(root.path().into()).await.unwrap();
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..120 {
            deed(&disk, &mut rng).await;
        }
        disk.memory.crash_with(Loss::Everything);
        let survived = tree(&disk.memory).await;
        let real = tree(&UnsyncedDisk::open(root.path().into()).await.unwrap()).await;
        let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&real), names(&survived), "seed {seed}");
        for (name, bytes) in &survived {
            assert!(real[name] == *bytes, "seed {seed}: '{name}' differs");
        }
        seen += survived.len();
    }
    assert!(seen > 60, "the deeds leave something to compare: {seen}");
}
