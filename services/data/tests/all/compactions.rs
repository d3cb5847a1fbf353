//! Merges: what comes out is what a plain merge of all entries gives, wherever the inputs lie.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lamina_data::DataService;
use lamina_engine::entry::{Entry, Value};
use lamina_engine::index_part::IndexPart;
use lamina_env::disk::memory::MemDisk;
use lamina_env::random;
use lamina_peers::data::{
    BlockCodec, Compact, CompactionInput, CompactionOutput, JobId, JobProgress, JobState, TableBuild,
    WrittenTable,
};
use lamina_types::{KeyRange, Reign, TableId, Version};

use crate::lan::{Lan, ask, eventually, id, source, story, target};
use crate::tables::{
    File, GROUP, TABLET, build, entries, key, listed, one, path, read_file, stamp, store, table,
};

/// Runs of tables, newest first, as a tablet has them: newer runs hold newer versions of each key.
pub fn runs(count: u32, keys: u64, per_run: u64) -> Vec<Vec<File>> {
    let mut number = 0;
    let mut make = |run: u32| {
        let base = u64::from(count - run) * 10_000;
        let mut all: BTreeMap<(Bytes, std::cmp::Reverse<u64>), Entry> = BTreeMap::new();
        for n in 0..per_run {
            let (key, version) = (key(random::between(0, keys) as u32), Version((base + n) << 16));
            let entry = match random::between(0, 10) {
                0..2 => Entry::tombstone(key.clone(), version),
                2..4 => {
                    let expires_ms = Some(random::between(1, 60_000));
                    let value = Value::Put { bytes: Bytes::from_static(b"brief"), expires_ms };
                    Entry { key: key.clone(), version, value }
                }
                _ => Entry::put(key.clone(), version, vec![n as u8; random::between(0, 90) as usize]),
            };
            all.insert((key, std::cmp::Reverse(version.0)), entry);
        }
        let all: Vec<Entry> = all.into_values().collect();
        // A run of several tables, none of which divides a key.
        let mut files = Vec::new();
        let mut part: Vec<Entry> = Vec::new();
        for entry in all {
            let new_key = part.last().is_some_and(|last| last.key != entry.key);
            if new_key && part.len() >= 150 {
                number += 1;
                files.push(build(table(number), std::mem::take(&mut part), 700));
            }
            part.push(entry);
        }
        number += 1;
        files.push(build(table(number), part, 700));
        files
    };
    (0..count).map(&mut make).collect()
}

/// A job over these runs.
pub fn job(runs: &[Vec<File>], copies: &[u128], targets: &[u128], quorum: u32) -> Compact {
    let input = |file: &File| CompactionInput {
        table: file.id,
        origin: file.part.origin(),
        range: file.part.properties().range(),
        copies: copies.iter().map(|n| source(*n)).collect(),
    };
    let output = |n: u32| CompactionOutput {
        table: table(n),
        targets: targets.iter().map(|node| target(*node, stamp(n))).collect(),
    };
    Compact {
        job: JobId { group: GROUP, reign: Reign(5), n: 1 },
        tablet: TABLET,
        range: KeyRange::all(),
        inputs: runs.iter().map(|run| run.iter().map(input).collect()).collect(),
        floor: Version(25_000 << 16),
        bottom: false,
        outputs: (100..140).map(output).collect(),
        build: TableBuild {
            block_bytes: 1024,
            table_bytes: 16 << 10,
            codec: BlockCodec::Zstd,
            write_quorum: quorum,
            last_run: true,
            level: 2,
        },
    }
}

/// Protocols §7.3, over all entries at once.
pub fn model(job: &Compact, runs: &[Vec<File>]) -> Vec<Entry> {
    let mut all: BTreeMap<(Bytes, std::cmp::Reverse<Version>), Entry> = BTreeMap::new();
    for (files, inputs) in runs.iter().zip(&job.inputs) {
        for (file, input) in files.iter().zip(inputs) {
            for entry in &file.entries {
                if input.range.contains(&entry.key) && job.range.contains(&entry.key) {
                    all.insert((entry.key.clone(), std::cmp::Reverse(entry.version)), entry.clone());
                }
            }
        }
    }
    let mut kept: Vec<Entry> = Vec::new();
    let mut settled: Option<Bytes> = None;
    for mut entry in all.into_values() {
        if entry.version <= job.floor {
            if settled.replace(entry.key.clone()).as_ref() == Some(&entry.key) {
                continue;
            }
            if entry.value.visible_at(job.floor).is_none() {
                if job.bottom {
                    continue;
                }
                entry.value = Value::Tombstone;
            }
        }
        kept.push(entry);
    }
    kept
}

/// Starts a job and asks for it until it has come to an end.
pub async fn carry_out(node: &Arc<DataService>, job: &Compact) -> JobState {
    ask(node, job.clone()).await.unwrap();
    eventually(async || match ask(node, JobProgress { job: job.job }).await.unwrap() {
        JobState::Running { .. } => None,
        ended => Some(ended),
    })
    .await
}

pub fn done(state: JobState) -> Vec<WrittenTable> {
    match state {
        JobState::Done { outputs } => outputs,
        other => panic!("{other:?}"),
    }
}

/// The entries of all outputs, which are in order, disjoint, and sealed where the job says.
pub async fn read_outputs(nodes: &[Arc<DataService>], outputs: &[WrittenTable]) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    for written in outputs {
        let mut content: Option<Vec<Entry>> = None;
        for (node, stamp) in &written.copies {
            let node = nodes.iter().find(|other| other.id() == *node).unwrap();
            let seen = one(node, written.table).await.unwrap();
            assert_eq!((seen.stamp, seen.file_bytes), (*stamp, written.file_bytes));
            let here = entries(node, written.table).await;
            assert_eq!(content.get_or_insert_with(|| here.clone()), &here);
        }
        let content = content.unwrap();
        let part = IndexPart::parse(written.index_part.clone()).unwrap();
        assert_eq!((part.origin(), part.properties().level), (written.table, 2));
        assert_eq!(part.properties().entries, content.len() as u64);
        assert!(all.last().is_none_or(|last| last.key < content[0].key));
        all.extend(content);
    }
    all
}

#[test]
fn what_a_job_writes_is_what_a_model_keeps() {
    for seed in 60..72 {
        story(seed, async move {
            let (lan, disk) = (Lan::new(), MemDisk::new(seed));
            let node = lan.start(1, &disk).await;
            let runs = runs(random::between(1, 5) as u32, 300, random::between(50, 700));
            for file in runs.iter().flatten() {
                store(&node, file, stamp(1)).await.unwrap();
            }
            let mut job = job(&runs, &[1], &[1], 1);
            job.bottom = seed % 2 == 0;
            job.floor = Version(random::between(0, 45_000) << 16);
            if seed % 3 == 0 {
                job.range = KeyRange::new(key(40), Some(key(220)));
                // Views that were clipped by a split: a hole in each run.
                for input in job.inputs.iter_mut().flatten() {
                    input.range = input
                        .range
                        .intersect(&KeyRange::new(key(20), Some(key(180))))
                        .unwrap_or(KeyRange::new(key(9), Some(key(9))));
                }
            }
            let outputs = done(carry_out(&node, &job).await);
            assert_eq!(read_outputs(std::slice::from_ref(&node), &outputs).await, model(&job, &runs));
            let sizes: Vec<u64> = outputs.iter().map(|written| written.file_bytes).collect();
            assert!(sizes.iter().rev().skip(1).all(|bytes| *bytes >= job.build.table_bytes), "{sizes:?}");
            assert!(node.stats().await.compacted_bytes > 0);
        });
    }
}

#[test]
fn a_job_without_survivors_is_done_with_no_outputs() {
    story(80, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(80));
        let node = lan.start(1, &disk).await;
        let gone = vec![vec![build(table(1), vec![Entry::tombstone(key(1), Version(5))], 700)]];
        store(&node, &gone[0][0], stamp(1)).await.unwrap();
        let mut job = job(&gone, &[1], &[1], 1);
        job.bottom = true;
        assert_eq!(carry_out(&node, &job).await, JobState::Done { outputs: Vec::new() });
    });
}

#[test]
fn inputs_come_from_other_nodes_and_outputs_go_to_all_targets() {
    story(81, async {
        let lan = Lan::new();
        let disks = [1, 2, 3].map(MemDisk::new);
        let mut nodes = Vec::new();
        for (n, disk) in (1..).zip(&disks) {
            nodes.push(lan.start(n, disk).await);
        }
        let runs = runs(3, 300, 500);
        for (at, file) in runs.iter().flatten().enumerate() {
            // Some here, some there, none everywhere.
            store(&nodes[at % 3], file, stamp(1)).await.unwrap();
        }
        let job = job(&runs, &[1, 2, 3], &[1, 2, 3], 2);
        let outputs = done(carry_out(&nodes[0], &job).await);
        assert!(outputs.iter().all(|written| written.copies.len() == 3));
        assert_eq!(read_outputs(&nodes, &outputs).await, model(&job, &runs));
        assert!(lan.calls("ReadBlocks") > 0 && lan.calls("ReadTail") > 0);
    });
}

#[test]
fn a_target_that_is_down_is_left_out_as_long_as_the_quorum_is_kept() {
    story(82, async {
        let lan = Lan::new();
        let disks = [1, 2, 3].map(MemDisk::new);
        let mut nodes = Vec::new();
        for (n, disk) in (1..).zip(&disks) {
            nodes.push(lan.start(n, disk).await);
        }
        let runs = runs(2, 300, 300);
        for file in runs.iter().flatten() {
            store(&nodes[0], file, stamp(1)).await.unwrap();
        }
        lan.set_down(3, true);
        let mut job = job(&runs, &[1], &[1, 2, 3], 2);
        let outputs = done(carry_out(&nodes[0], &job).await);
        let both = |written: &WrittenTable| written.copies.iter().map(|(node, _)| *node).eq([id(1), id(2)]);
        assert!(outputs.iter().all(both));
        assert_eq!(read_outputs(&nodes, &outputs).await, model(&job, &runs));

        job.job.n = 2;
        job.build.write_quorum = 3;
        let JobState::Failed { why, damaged: None } = carry_out(&nodes[0], &job).await else {
            panic!("it failed")
        };
        assert!(why.contains("output"), "{why}");
    });
}

#[test]
fn a_damaged_input_is_read_elsewhere_and_repaired_here() {
    story(83, async {
        let lan = Lan::new();
        let disks = [1, 2].map(MemDisk::new);
        let nodes = [lan.start(1, &disks[0]).await, lan.start(2, &disks[1]).await];
        let runs = runs(2, 300, 400);
        for file in runs.iter().flatten() {
            store(&nodes[0], file, stamp(1)).await.unwrap();
            store(&nodes[1], file, stamp(1)).await.unwrap();
        }
        let (block, tail) = (&runs[0][0], &runs[1][0]);
        assert!(disks[0].rot(&path(block.id, stamp(1)), 40, 1));
        assert!(disks[0].rot(&path(tail.id, stamp(1)), tail.seal.file_bytes - 20, 1));
        let job = job(&runs, &[1, 2], &[1], 1);
        let outputs = done(carry_out(&nodes[0], &job).await);
        assert_eq!(read_outputs(&nodes, &outputs).await, model(&job, &runs));
        eventually(async || listed(&nodes[0]).await.iter().all(|copy| !copy.damaged).then_some(())).await;
        for file in [block, tail] {
            assert_eq!(read_file(&nodes[0], file.id).await.unwrap(), file.bytes);
            assert_eq!(one(&nodes[0], file.id).await.unwrap().stamp, stamp(1), "the listed stamp stays");
        }
    });
}

#[test]
fn an_input_that_is_damaged_everywhere_fails_the_job_by_name() {
    story(84, async {
        let lan = Lan::new();
        let disks = [1, 2].map(MemDisk::new);
        let nodes = [lan.start(1, &disks[0]).await, lan.start(2, &disks[1]).await];
        let runs = runs(2, 300, 400);
        for file in runs.iter().flatten() {
            store(&nodes[0], file, stamp(1)).await.unwrap();
            store(&nodes[1], file, stamp(1)).await.unwrap();
        }
        for disk in &disks {
            assert!(disk.rot(&path(runs[1][0].id, stamp(1)), 40, 1));
        }
        let mut job = job(&runs, &[1, 2], &[1], 1);
        let JobState::Failed { damaged, .. } = carry_out(&nodes[0], &job).await else { panic!("it failed") };
        assert_eq!(damaged, Some(runs[1][0].id));
        // A copy that is silent may be intact: nobody says that the bytes are lost.
        lan.set_down(2, true);
        job.job.n = 2;
        let JobState::Failed { damaged, .. } = carry_out(&nodes[0], &job).await else { panic!("it failed") };
        assert_eq!(damaged, None);
        let stored: Vec<TableId> = listed(&nodes[0]).await.iter().map(|copy| copy.table).collect();
        assert!(stored.iter().all(|id| runs.iter().flatten().any(|file| file.id == *id)) || stored.len() > 4);
    });
}

#[test]
fn an_input_that_is_nowhere_fails_the_job_without_saying_damaged() {
    story(85, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(85));
        let node = lan.start(1, &disk).await;
        let runs = runs(2, 100, 100);
        store(&node, &runs[0][0], stamp(1)).await.unwrap();
        let job = job(&runs, &[1], &[1], 1);
        let JobState::Failed { why, damaged: None } = carry_out(&node, &job).await else {
            panic!("it failed")
        };
        assert!(why.contains("on none of the nodes"), "{why}");
    });
}

#[test]
fn a_full_disk_fails_a_job_and_leaves_its_inputs() {
    story(86, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(86));
        let node = lan.start(1, &disk).await;
        let runs = runs(2, 300, 400);
        for file in runs.iter().flatten() {
            store(&node, file, stamp(1)).await.unwrap();
        }
        let free = node.stats().await.free_bytes;
        disk.change_faults(|faults| faults.capacity -= free);
        let job = job(&runs, &[1], &[1], 1);
        let JobState::Failed { why, .. } = carry_out(&node, &job).await else { panic!("it failed") };
        assert!(why.contains("DISK_FULL"), "{why}");
        for file in runs.iter().flatten() {
            assert_eq!(read_file(&node, file.id).await.unwrap(), file.bytes);
        }
        assert_eq!(node.stats().await.free_bytes, 0);
    });
}
