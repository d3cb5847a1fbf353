//! What every form of [`Disk`] must do when nothing goes wrong. Each test of this suite runs on each form.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// Runs the whole suite on empty disks that `disk` makes.
pub(super) async fn holds<D: Disk>(mut disk: impl AsyncFnMut() -> D) {
    what_is_written_is_read_back(disk().await).await;
    modes_of_opening(disk().await).await;
    names_of_files(disk().await).await;
    directories(disk().await).await;
    lengths(disk().await).await;
    preallocation(disk().await).await;
    syncs(disk().await).await;
    locks(disk().await).await;
    paths(disk().await).await;
    many_pieces_and_many_calls(disk().await).await;
    a_file_is_a_row_of_bytes(disk().await).await;
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

async fn put(disk: &impl Disk, path: &str, bytes: &'static [u8]) -> Arc<dyn File> {
    let file = disk.open(path, OpenMode::Create).await.unwrap();
    file.write_at(0, vec![Bytes::from_static(bytes)]).await.unwrap();
    file
}

async fn content(disk: &impl Disk, path: &str) -> Bytes {
    disk.open(path, OpenMode::Read).await.unwrap().read_at(0, 1 << 20).await.unwrap()
}

async fn what_is_written_is_read_back(disk: impl Disk) {
    let file = disk.open("a", OpenMode::Create).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 0);
    assert_eq!(file.read_at(0, 10).await.unwrap(), "");
    let pieces = vec![Bytes::from("one"), Bytes::new(), Bytes::from("two")];
    file.write_at(0, pieces).await.unwrap();
    file.write_at(0, Vec::new()).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 6);
    assert_eq!(file.read_at(1, 3).await.unwrap(), "net");
    assert_eq!(file.read_at(4, 100).await.unwrap(), "wo");
    assert_eq!(file.read_at(6, 100).await.unwrap(), "");
    assert_eq!(file.read_at(1 << 40, 100).await.unwrap(), "");
    assert_eq!(file.read_at(2, 0).await.unwrap(), "");
    file.write_at(8, vec![Bytes::from("x")]).await.unwrap();
    let spans = [(8, 5), (0, 2), (3, 6), (100, 4), (5, 0)];
    let read = file.read_many(&spans).await.unwrap();
    assert_eq!(read, ["x", "on", "two\0\0x", "", ""]);
    assert_eq!(file.read_many(&[]).await.unwrap(), Vec::<Bytes>::new());
    let again = disk.open("a", OpenMode::Read).await.unwrap();
    file.write_at(0, vec![Bytes::from("O")]).await.unwrap();
    assert_eq!(again.read_at(0, 3).await.unwrap(), "One", "handles of one file see the same bytes");
}

async fn modes_of_opening(disk: impl Disk) {
    assert_eq!(kind(disk.open("a", OpenMode::Read).await), Some(ErrorKind::NotFound));
    assert_eq!(kind(disk.open("a", OpenMode::Write).await), Some(ErrorKind::NotFound));
    put(&disk, "a", b"bytes").await;
    assert_eq!(kind(disk.open("a", OpenMode::Create).await), Some(ErrorKind::AlreadyExists));
    assert_eq!(kind(disk.open("d/a", OpenMode::Create).await), Some(ErrorKind::NotFound));
    disk.create_dir_all("d").await.unwrap();
    assert_eq!(kind(disk.open("d", OpenMode::Read).await), Some(ErrorKind::IsADirectory));
    let reading = disk.open("a", OpenMode::Read).await.unwrap();
    assert!(reading.write_at(0, vec![Bytes::from("B")]).await.is_err());
    assert!(reading.set_len(0).await.is_err());
    let writing = disk.open("a", OpenMode::Write).await.unwrap();
    writing.write_at(0, vec![Bytes::from("B")]).await.unwrap();
    assert_eq!(reading.read_at(0, 9).await.unwrap(), "Bytes");
}

async fn names_of_files(disk: impl Disk) {
    let (old, new) = (put(&disk, "old", b"old").await, put(&disk, "new", b"new").await);
    disk.rename("new", "old").await.unwrap();
    assert_eq!(content(&disk, "old").await, "new");
    assert_eq!(kind(disk.open("new", OpenMode::Read).await), Some(ErrorKind::NotFound));
    assert_eq!(old.read_at(0, 9).await.unwrap(), "old", "a replaced file stays readable while it is open");
    assert_eq!(new.read_at(0, 9).await.unwrap(), "new");
    assert_eq!(kind(disk.rename("none", "old").await), Some(ErrorKind::NotFound));
    assert_eq!(kind(disk.rename("old", "none/old").await), Some(ErrorKind::NotFound));
    disk.rename("old", "old").await.unwrap();

    disk.link("old", "second").await.unwrap();
    new.write_at(0, vec![Bytes::from("N")]).await.unwrap();
    assert_eq!(content(&disk, "second").await, "New");
    put(&disk, "third", b"3").await;
    assert_eq!(kind(disk.link("old", "third").await), Some(ErrorKind::AlreadyExists));
    assert_eq!(kind(disk.link("none", "fourth").await), Some(ErrorKind::NotFound));
    disk.remove("old").await.unwrap();
    assert_eq!(content(&disk, "second").await, "New", "the other name stays");
    disk.remove("second").await.unwrap();
    assert_eq!(new.read_at(0, 9).await.unwrap(), "New", "a removed file stays readable while it is open");
    assert_eq!(kind(disk.remove("second").await), Some(ErrorKind::NotFound));
    assert_eq!(content(&disk, "third").await, "3");
}

async fn directories(disk: impl Disk) {
    assert_eq!(disk.list("").await.unwrap(), []);
    disk.create_dir_all("").await.unwrap();
    disk.create_dir_all("a/b").await.unwrap();
    disk.create_dir_all("a/b").await.unwrap();
    disk.create_dir_all("a-").await.unwrap();
    put(&disk, "a/file", b"12345").await;
    put(&disk, "a/b/deep", b"1").await;
    put(&disk, "a/a", b"").await;
    let entry = |name: &str, kind, length| DirEntry { name: name.to_owned(), kind, length };
    let directory = |name| entry(name, EntryKind::Directory, 0);
    assert_eq!(disk.list("").await.unwrap(), [directory("a"), directory("a-")]);
    let in_a = [entry("a", EntryKind::File, 0), directory("b"), entry("file", EntryKind::File, 5)];
    assert_eq!(disk.list("a").await.unwrap(), in_a);
    assert_eq!(kind(disk.list("none").await), Some(ErrorKind::NotFound));
    assert_eq!(kind(disk.list("a/file").await), Some(ErrorKind::NotADirectory));
    assert_eq!(kind(disk.create_dir_all("a/file").await), Some(ErrorKind::NotADirectory));
    assert_eq!(kind(disk.create_dir_all("a/file/c").await), Some(ErrorKind::NotADirectory));
    assert_eq!(kind(disk.remove("a/b").await), Some(ErrorKind::IsADirectory));
    assert_eq!(kind(disk.rename("a/b", "b").await), Some(ErrorKind::IsADirectory));
    assert_eq!(kind(disk.rename("a/a", "a/b").await), Some(ErrorKind::IsADirectory));
    assert_eq!(kind(disk.link("a/b", "b").await), Some(ErrorKind::IsADirectory));
    disk.rename("a/file", "a/b/file").await.unwrap();
    assert_eq!(content(&disk, "a/b/file").await, "12345");
    disk.remove_dir_all("a").await.unwrap();
    disk.remove_dir_all("a").await.unwrap();
    assert_eq!(disk.list("").await.unwrap(), [directory("a-")]);
    disk.create_dir_all("a").await.unwrap();
    assert_eq!(disk.list("a").await.unwrap(), []);
    assert!(disk.remove_dir_all("").await.is_err(), "the volume itself stays");
}

async fn lengths(disk: impl Disk) {
    let file = put(&disk, "a", b"123456").await;
    file.set_len(3).await.unwrap();
    assert_eq!(file.read_at(0, 9).await.unwrap(), "123");
    file.set_len(5).await.unwrap();
    assert_eq!(file.read_at(0, 9).await.unwrap(), "123\0\0", "what was cut off does not come back");
    file.set_len(20_000).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 20_000);
    assert!(file.read_at(3, 19_997).await.unwrap().iter().all(|byte| *byte == 0));
    file.write_at(9_000, vec![vec![7; 100].into()]).await.unwrap();
    file.set_len(9_050).await.unwrap();
    file.set_len(9_100).await.unwrap();
    let tail = file.read_at(9_000, 200).await.unwrap();
    assert_eq!(tail.len(), 100);
    assert!(tail[..50].iter().all(|byte| *byte == 7) && tail[50..].iter().all(|byte| *byte == 0));
}

async fn preallocation(disk: impl Disk) {
    let file = put(&disk, "a", b"123").await;
    file.write_at(20_000, vec![Bytes::from("x")]).await.unwrap();
    file.preallocate(3_000_001).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 3_000_001);
    assert_eq!(file.read_at(0, 5).await.unwrap(), "123\0\0");
    assert_eq!(file.read_at(19_999, 3).await.unwrap(), "\0x\0", "what was written stays");
    assert!(file.read_at(20_001, 3_000_000).await.unwrap().iter().all(|byte| *byte == 0));
    file.preallocate(100).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 3_000_001, "it never shortens");
    file.sync().await.unwrap();
}

async fn syncs(disk: impl Disk) {
    disk.create_dir_all("d").await.unwrap();
    let file = put(&disk, "d/a", b"123").await;
    file.sync().await.unwrap();
    file.sync().await.unwrap();
    file.write_and_sync(3, vec![Bytes::from("4"), Bytes::from("5")]).await.unwrap();
    assert_eq!(file.read_at(0, 9).await.unwrap(), "12345");
    disk.sync_dir("d").await.unwrap();
    disk.sync_dir("").await.unwrap();
    disk.sync_dir("").await.unwrap();
    file.write_and_sync(0, vec![Bytes::from("one")]).await.unwrap();
    disk.rename("d/a", "b").await.unwrap();
    file.write_and_sync(0, vec![Bytes::from("ONE")]).await.unwrap();
    disk.sync_dir("d").await.unwrap();
    disk.sync_dir("").await.unwrap();
    assert_eq!(content(&disk, "b").await, "ONE45");
    assert_eq!(kind(disk.sync_dir("none").await), Some(ErrorKind::NotFound));
    assert_eq!(kind(disk.sync_dir("b").await), Some(ErrorKind::NotADirectory));
    let space = disk.space().await.unwrap();
    assert!(0 < space.free && space.free <= space.total, "{space:?}");
}

async fn locks(disk: impl Disk) {
    let lock = disk.lock("LOCK").await.unwrap();
    assert_eq!(kind(disk.lock("LOCK").await), Some(ErrorKind::WouldBlock));
    let other = disk.lock("OTHER").await.unwrap();
    drop(lock);
    let lock = disk.lock("LOCK").await.unwrap();
    drop((lock, other));
    assert_eq!(disk.list("").await.unwrap().len(), 2, "a lock is a file");
}

async fn paths(disk: impl Disk) {
    for path in ["/a", "a/", "..", "a/../b", "./a", "a//b", "a\0b", "/"] {
        assert_eq!(kind(disk.open(path, OpenMode::Create).await), Some(ErrorKind::InvalidInput), "{path}");
        assert_eq!(kind(disk.create_dir_all(path).await), Some(ErrorKind::InvalidInput), "{path}");
        assert_eq!(kind(disk.list(path).await), Some(ErrorKind::InvalidInput), "{path}");
        assert_eq!(kind(disk.rename("a", path).await), Some(ErrorKind::InvalidInput), "{path}");
    }
    assert_eq!(kind(disk.open("", OpenMode::Read).await), Some(ErrorKind::InvalidInput));
    assert_eq!(kind(disk.remove("").await), Some(ErrorKind::InvalidInput));
}

async fn many_pieces_and_many_calls(disk: impl Disk) {
    let file = disk.open("a", OpenMode::Create).await.unwrap();
    let pieces: Vec<Bytes> = (0..3000_u32).map(|number| number.to_le_bytes().to_vec().into()).collect();
    file.write_at(1, pieces.clone()).await.unwrap();
    assert_eq!(file.read_at(1, 12_000).await.unwrap(), pieces.concat());
    let big: Bytes = (0..3_000_000_u32).map(|at| (at / 7) as u8).collect();
    file.write_and_sync(20_000, vec![big.slice(..1_500_000), big.slice(1_500_000..)]).await.unwrap();
    assert_eq!(file.read_at(20_000, usize::MAX).await.unwrap(), big);
    let writes = (0..40_u64).map(|at| file.write_at(at * 5_000, vec![vec![at as u8; 5_000].into()]));
    futures::future::try_join_all(writes).await.unwrap();
    let spans: Vec<(u64, usize)> = (0..40).map(|at| (at * 5_000, 5_000)).collect();
    for (at, bytes) in file.read_many(&spans).await.unwrap().iter().enumerate() {
        assert_eq!(*bytes, vec![at as u8; 5_000]);
    }
}

async fn a_file_is_a_row_of_bytes(disk: impl Disk) {
    let mut rng = StdRng::seed_from_u64(1);
    let file = disk.open("a", OpenMode::Create).await.unwrap();
    let mut model: Vec<u8> = Vec::new();
    for step in 0..400 {
        let (at, length) = (rng.random_range(0..30_000_usize), rng.random_range(0..9_000_usize));
        match rng.random_range(0..10) {
            0..5 => {
                let bytes: Bytes = vec![step as u8; length].into();
                if length > 0 {
                    model.resize(model.len().max(at + length), 0);
                    model[at..at + length].copy_from_slice(&bytes);
                }
                file.write_at(at as u64, vec![bytes]).await.unwrap();
            }
            5 => {
                model.resize(at, 0);
                file.set_len(at as u64).await.unwrap();
            }
            6 => {
                model.resize(model.len().max(at), 0);
                file.preallocate(at as u64).await.unwrap();
            }
            7 => file.sync().await.unwrap(),
            _ => {
                let end = model.len().min(at + length);
                assert_eq!(file.read_at(at as u64, length).await.unwrap(), model[at.min(end)..end]);
            }
        }
        assert_eq!(file.len().await.unwrap(), model.len() as u64, "step {step}");
    }
    assert_eq!(file.read_at(0, usize::MAX).await.unwrap(), model);
}
