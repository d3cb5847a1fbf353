use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::file::Opened;
use super::*;
use crate::disk::conformance;

#[tokio::test]
async fn the_file_system_is_a_disk() {
    let mut roots = Vec::new();
    conformance::holds(async || {
        let root = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(root.path().join("volume")).unwrap();
        roots.push(root);
        disk
    })
    .await;
}

#[tokio::test]
async fn a_preallocated_file_has_no_holes() {
    let root = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(root.path().into()).unwrap();
    let file = disk.open("a", OpenMode::Create).await.unwrap();
    file.set_len(300_000).await.unwrap();
    file.write_at(100_000, vec![Bytes::from("x")]).await.unwrap();
    file.preallocate(1_000_000).await.unwrap();
    let opened = open_file(&root.path().join("a"), OpenMode::Write).unwrap();
    assert!(opened.metadata().unwrap().blocks() * 512 >= 1_000_000, "it has its room");
    let opened = Opened::new(opened, "a");
    assert_eq!(opened.holes(1_000_000).unwrap(), []);
    assert_eq!(file.read_at(99_999, 3).await.unwrap(), "\0x\0");
}

#[tokio::test]
async fn nothing_is_promised_after_a_failed_sync() {
    let root = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(root.path().into()).unwrap();
    disk.open("a", OpenMode::Create).await.unwrap();
    let opened = Opened::new(open_file(&root.path().join("a"), OpenMode::Write).unwrap(), "a");
    opened.sync().unwrap();
    opened.sync_failed.store(true, Ordering::Release);
    assert!(opened.sync().is_err());
}

#[tokio::test]
async fn an_error_names_the_deed_and_the_file() {
    let root = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(root.path().into()).unwrap();
    let error = disk.open("log/1", OpenMode::Read).await.err().unwrap();
    assert!(error.to_string().starts_with("cannot open 'log/1': No such file"), "{error}");
    let full = told(&io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()), "write", "a");
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    let full = told(&io::Error::from_raw_os_error(rustix::io::Errno::DQUOT.raw_os_error()), "write", "a");
    assert_eq!(full.kind(), ErrorKind::StorageFull);
}

#[tokio::test]
async fn a_lock_keeps_out_another_opening_of_the_same_volume() {
    let root = tempfile::tempdir().unwrap();
    let (one, other) = (OsDisk::open(root.path().into()).unwrap(), OsDisk::open(root.path().into()).unwrap());
    let lock = one.lock("LOCK").await.unwrap();
    assert_eq!(other.lock("LOCK").await.err().unwrap().kind(), ErrorKind::WouldBlock);
    drop(lock);
    other.lock("LOCK").await.unwrap();
}
