use super::*;
use crate::disk::conformance;

#[tokio::test]
async fn memory_is_a_disk() {
    conformance::holds(async || MemDisk::new(0)).await;
    conformance::holds(async || MemDisk::new(0).mount()).await;
    conformance::holds(async || {
        let disk = MemDisk::new(0);
        // Switches of tasks, no time.
        disk.change_faults(|faults| {
            faults.read_ms = Some((0, 0));
            faults.write_ms = Some((0, 0));
            faults.sync_ms = Some((0, 0));
        });
        disk
    })
    .await;
}

async fn create(disk: &MemDisk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = disk.open(path, OpenMode::Create).await.unwrap();
    file.write_at(0, vec![Bytes::copy_from_slice(bytes)]).await.unwrap();
    file
}

async fn publish(disk: &MemDisk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = create(disk, path, bytes).await;
    file.sync().await.unwrap();
    disk.sync_dir("").await.unwrap();
    file
}

async fn content(disk: &MemDisk, path: &str) -> Option<Bytes> {
    let file = disk.open(path, OpenMode::Read).await.ok()?;
    Some(file.read_at(0, 1 << 20).await.unwrap())
}

#[tokio::test]
async fn what_was_synced_survives_every_crash() {
    for seed in 0..200 {
        let disk = MemDisk::new(seed);
        disk.create_dir_all("d").await.unwrap();
        let file = create(&disk, "d/a", &[1; 10_000]).await;
        file.sync().await.unwrap();
        disk.sync_dir("d").await.unwrap();
        disk.sync_dir("").await.unwrap();
        file.write_at(9_000, vec![vec![2; 9_000].into()]).await.unwrap();
        disk.crash();
        let bytes = content(&disk, "d/a").await.unwrap();
        assert!(bytes.len() >= 10_000 && bytes[..9_000].iter().all(|byte| *byte == 1), "seed {seed}");
    }
}

#[tokio::test]
async fn unsynced_bytes_are_kept_lost_or_torn_in_any_order() {
    let (mut kept, mut lost, mut torn, mut reordered, mut older) = (0, 0, 0, 0, 0);
    for seed in 0..300 {
        let disk = MemDisk::new(seed);
        let file = publish(&disk, "a", &[1; 3 * PAGE_BYTES]).await;
        for byte in [2, 3] {
            file.write_at(0, vec![vec![byte; 3 * PAGE_BYTES].into()]).await.unwrap();
        }
        disk.crash();
        let bytes = content(&disk, "a").await.unwrap();
        assert_eq!(bytes.len(), 3 * PAGE_BYTES);
        let pages: Vec<Vec<u8>> = bytes
            .chunks(PAGE_BYTES)
            .map(|page| {
                let mut states: Vec<u8> = page.chunks(512).map(|sector| sector[0]).collect();
                assert!(page.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
                states.dedup();
                states
            })
            .collect();
        kept += u32::from(pages.iter().all(|states| *states == [3]));
        lost += u32::from(pages.iter().all(|states| *states == [1]));
        older += u32::from(pages.iter().any(|states| *states == [2]));
        torn += u32::from(pages.iter().any(|states| states.len() > 1));
        reordered += u32::from(pages[0] == [1] && pages[2] == [3]);
    }
    assert!(
        [kept, lost, torn, reordered, older].iter().all(|count| *count > 0),
        "{kept} {lost} {torn} {older}"
    );
}

#[tokio::test]
async fn an_append_may_leave_any_length_and_zeroes() {
    let mut lengths = std::collections::BTreeSet::new();
    let mut zeroes = false;
    for seed in 0..100 {
        let disk = MemDisk::new(seed);
        let file = publish(&disk, "a", &[1; 100]).await;
        file.write_at(100, vec![vec![2; 9_000].into()]).await.unwrap();
        disk.crash();
        let bytes = content(&disk, "a").await.unwrap();
        assert!((100..=9_100).contains(&bytes.len()) && bytes[..100].iter().all(|byte| *byte == 1));
        assert!(bytes[100..].iter().all(|byte| [0, 2].contains(byte)), "only old, new or nothing");
        zeroes |= bytes[100..].contains(&0);
        lengths.insert(bytes.len());
    }
    assert!(zeroes && lengths.contains(&100) && lengths.contains(&9_100) && lengths.len() > 3, "{lengths:?}");
}

#[tokio::test]
async fn a_cut_happens_or_not_and_brings_nothing_else() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let disk = MemDisk::new(seed);
        let file = publish(&disk, "a", &[1; 10_000]).await;
        file.set_len(5_000).await.unwrap();
        disk.crash();
        let bytes = content(&disk, "a").await.unwrap();
        assert!(bytes.iter().all(|byte| *byte == 1), "synced bytes within the length are as they were");
        lengths.insert(bytes.len());
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [5_000, 10_000]);
}

#[tokio::test]
async fn a_name_is_durable_only_after_its_directory_is_synced() {
    let disk = MemDisk::new(0);
    create(&disk, "a", b"1").await.sync().await.unwrap();
    assert_eq!(disk.durable("a"), None);
    disk.crash_with(Loss::Everything);
    assert_eq!(content(&disk, "a").await, None);
    publish(&disk, "a", b"1").await;
    assert_eq!(disk.durable("a").unwrap(), "1");
    disk.create_dir_all("d").await.unwrap();
    create(&disk, "d/b", b"2").await.sync().await.unwrap();
    disk.sync_dir("d").await.unwrap();
    disk.remove("a").await.unwrap();
    disk.crash_with(Loss::Everything);
    assert_eq!(content(&disk, "a").await.unwrap(), "1", "a removal is a change of a name");
    assert_eq!(content(&disk, "d/b").await, None, "its directory had no durable name");
    assert_eq!(disk.durable_files(), ["a"]);
    disk.remove("a").await.unwrap();
    create(&disk, "b", b"3").await;
    disk.crash_with(Loss::Nothing);
    assert_eq!(content(&disk, "a").await, None);
    assert_eq!(content(&disk, "b").await.unwrap(), "3");
}

#[tokio::test]
async fn a_rename_happens_whole_or_not_at_all() {
    let mut seen = [0, 0];
    for seed in 0..60 {
        let disk = MemDisk::new(seed);
        publish(&disk, "a", b"old").await;
        publish(&disk, "b", b"new").await;
        disk.rename("b", "a").await.unwrap();
        disk.crash();
        match (content(&disk, "a").await, content(&disk, "b").await) {
            (Some(a), None) if a == "new" => seen[0] += 1,
            (Some(a), Some(b)) if a == "old" && b == "new" => seen[1] += 1,
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[tokio::test]
async fn a_later_change_of_a_name_does_not_survive_an_earlier_one_that_is_lost() {
    for seed in 0..100 {
        let disk = MemDisk::new(seed);
        publish(&disk, "a", b"1").await;
        disk.rename("a", "b").await.unwrap();
        disk.rename("b", "c").await.unwrap();
        disk.crash();
        let present = ["a", "b", "c"].map(|name| disk.durable(name).is_some());
        assert_eq!(present.iter().filter(|is| **is).count(), 1, "seed {seed}: {present:?}");
    }
}

#[tokio::test]
async fn a_crash_ends_handles_mounts_and_locks() {
    let disk = MemDisk::new(0);
    let mount = disk.mount();
    let file = publish(&mount, "a", b"1").await;
    let lock = mount.lock("LOCK").await.unwrap();
    disk.crash();
    let new = disk.mount();
    let _new_lock = new.lock("LOCK").await.unwrap();
    drop(lock);
    assert!(new.lock("LOCK").await.is_err(), "the end of an old lock does not end a new one");
    assert!(file.read_at(0, 1).await.is_err());
    assert!(file.write_at(0, vec![Bytes::from("2")]).await.is_err());
    assert!(file.sync().await.is_err() && file.len().await.is_err());
    assert!(mount.list("").await.is_err() && mount.remove("a").await.is_err());
    assert!(mount.open("b", OpenMode::Create).await.is_err());
    assert_eq!(content(&new, "a").await.unwrap(), "1");
    assert_eq!(content(&disk, "a").await.unwrap(), "1");
}

#[tokio::test]
async fn the_end_of_a_process_loses_no_written_bytes() {
    let disk = MemDisk::new(0);
    let mount = disk.mount();
    let file = create(&mount, "a", b"1").await;
    disk.unmount();
    assert!(file.read_at(0, 1).await.is_err());
    assert_eq!(content(&disk, "a").await.unwrap(), "1");
    disk.crash_with(Loss::Everything);
    assert_eq!(content(&disk, "a").await, None, "nor did it make anything durable");
}

#[tokio::test]
async fn after_a_failed_sync_reads_show_what_a_crash_loses_even_if_the_next_sync_succeeds() {
    let mut lost = 0;
    for seed in 0..60 {
        let disk = MemDisk::new(seed);
        let file = publish(&disk, "a", &[1; 2 * PAGE_BYTES]).await;
        file.write_at(0, vec![vec![2; 2 * PAGE_BYTES].into()]).await.unwrap();
        disk.change_faults(|faults| faults.next_syncs_fail = 1);
        assert!(file.sync().await.is_err());
        file.sync().await.unwrap();
        assert!(file.read_at(0, 9_000).await.unwrap().iter().all(|byte| *byte == 2));
        disk.crash_with(Loss::Nothing);
        lost += u32::from(content(&disk, "a").await.unwrap().contains(&1));
    }
    assert!(lost > 20, "{lost} of 60");
}

#[tokio::test]
async fn a_full_disk_says_so_and_recovers() {
    let disk = MemDisk::new(0);
    disk.change_faults(|faults| faults.capacity = 10 * PAGE_BYTES as u64);
    let file = create(&disk, "a", &[1; 4 * PAGE_BYTES]).await;
    let other = create(&disk, "b", &[1; 4 * PAGE_BYTES]).await;
    assert_eq!(
        disk.space().await.unwrap(),
        Space { free: 2 * PAGE_BYTES as u64, total: 10 * PAGE_BYTES as u64 }
    );
    let full = file.write_at(4 * PAGE_BYTES as u64, vec![vec![2; 4 * PAGE_BYTES].into()]).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    assert_eq!(file.len().await.unwrap(), 6 * PAGE_BYTES as u64, "a part is written");
    file.write_at(0, vec![vec![3; 6 * PAGE_BYTES].into()]).await.unwrap();
    assert_eq!(other.preallocate(1 << 20).await.unwrap_err().kind(), ErrorKind::StorageFull);
    disk.remove("b").await.unwrap();
    assert_eq!(disk.space().await.unwrap().free, 0, "an open file keeps its room");
    drop(other);
    assert_eq!(disk.space().await.unwrap().free, 4 * PAGE_BYTES as u64);
    file.set_len(1).await.unwrap();
    file.sync().await.unwrap();
    disk.sync_dir("").await.unwrap();
    disk.crash();
    assert_eq!(disk.space().await.unwrap().free, 9 * PAGE_BYTES as u64);
}

#[tokio::test]
async fn faults_hit_the_files_that_they_are_meant_for() {
    let disk = MemDisk::new(0);
    let (log, table) = (publish(&disk, "log", &[1; 100]).await, publish(&disk, "table", &[1; 9_000]).await);
    disk.change_faults(|faults| {
        faults.only = Some("table".to_owned());
        faults.next_reads_fail = 1;
        faults.next_syncs_fail = 1;
        faults.next_writes_misdirected = 1;
    });
    log.read_at(0, 1).await.unwrap();
    log.write_and_sync(0, vec![Bytes::from("log")]).await.unwrap();
    assert_eq!(log.read_at(0, 3).await.unwrap(), "log");
    assert!(table.read_at(0, 1).await.is_err());
    assert!(table.sync().await.is_err());
    table.write_at(0, vec![Bytes::from("xx")]).await.unwrap();
    assert_eq!(table.read_at(0, 2).await.unwrap(), [1, 1].as_slice());
    assert_eq!(table.read_at(4096, 2).await.unwrap(), "xx");
    assert!(disk.rot("table", 8_999, 0x10) && !disk.rot("table", 9_000, 1) && !disk.rot("none", 0, 1));
    assert_eq!(table.read_at(8_998, 2).await.unwrap(), [1, 0x11].as_slice());
    assert_eq!(disk.durable("table").unwrap()[8_999], 0x11);
    assert_eq!(disk.counters().faults, 3);
    disk.change_faults(|faults| *faults = Faults { reads_fail: 1000, ..Faults::default() });
    assert!(log.read_at(0, 1).await.is_err());
}

/// Replaces a file as it should be done; `careless` leaves out the sync of the bytes.
async fn replace(disk: &MemDisk, bytes: &[u8], careless: bool) -> io::Result<()> {
    let file = disk.open("new", OpenMode::Create).await?;
    file.write_at(0, vec![Bytes::copy_from_slice(bytes)]).await?;
    if !careless {
        file.sync().await?;
    }
    disk.rename("new", "a").await?;
    disk.sync_dir("").await
}

#[tokio::test]
async fn a_story_can_be_cut_at_each_of_its_points() {
    for careless in [false, true] {
        let (mut cut, mut done, mut damaged) = (0, 0, 0);
        for (changes, seed) in (0..9).flat_map(|changes| (0..40).map(move |seed| (changes, seed))) {
            let disk = MemDisk::new(seed);
            publish(&disk, "a", &[1; 9_000]).await;
            disk.change_faults(|faults| faults.changes_left = Some(changes));
            let acknowledged = replace(&disk, &[2; 9_000], careless).await.is_ok();
            disk.crash();
            let bytes = content(&disk, "a").await.unwrap();
            let (old, new) = (bytes == vec![1; 9_000], bytes == vec![2; 9_000]);
            cut += u32::from(!acknowledged);
            done += u32::from(acknowledged);
            damaged += u32::from(!(new || (old && !acknowledged)));
        }
        assert!(cut > 0 && done > 0);
        assert_eq!(damaged > 0, careless, "{damaged} damaged, careless: {careless}");
    }
}

#[tokio::test]
async fn one_seed_loses_the_same_bytes_each_time() {
    let run = async |seed| {
        let disk = MemDisk::new(seed);
        let file = publish(&disk, "a", &[1; 50_000]).await;
        file.write_at(0, vec![vec![2; 70_000].into()]).await.unwrap();
        create(&disk, "b", b"1").await;
        disk.crash();
        (content(&disk, "a").await, content(&disk, "b").await)
    };
    assert_eq!(run(3).await, run(3).await);
    assert_ne!(run(3).await, run(4).await);
}
