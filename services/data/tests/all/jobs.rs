//! Jobs live as long as their leader wants them.

use std::sync::Arc;

use lamina_data::DataService;
use lamina_env::disk::Disk;
use lamina_env::disk::memory::MemDisk;
use lamina_env::time::{self, Duration};
use lamina_peers::data::{CancelJob, Compact, JobProgress, JobState};
use lamina_types::{Reason, Reign};

use crate::compactions::{carry_out, job, runs};
use crate::lan::{Lan, ask, eventually, story};
use crate::tables::{File, sample, stamp, store, table};

/// A node with inputs and a disk so slow that a job takes minutes.
async fn slow(seed: u64, jobs_max: usize) -> (Arc<DataService>, MemDisk, Vec<Vec<File>>) {
    let (lan, disk) = (Lan::new(), MemDisk::new(seed));
    let change = |options: &mut lamina_data::DataOptions| {
        options.jobs_max = jobs_max;
        options.jobs_waiting_max = 1;
    };
    let node = lan.start_with(1, &disk, change).await;
    let runs = runs(3, 300, 500);
    for file in runs.iter().flatten() {
        store(&node, file, stamp(1)).await.unwrap();
    }
    disk.change_faults(|faults| faults.read_ms = Some((3_000, 5_000)));
    (node, disk, runs)
}

fn numbered(job: &Compact, n: u32) -> Compact {
    let mut job = job.clone();
    job.job.n = n;
    // Each job has names of its own, as T1 wants it.
    for output in &mut job.outputs {
        output.table.n += n * 1000;
    }
    job
}

async fn state(node: &Arc<DataService>, job: &Compact) -> JobState {
    ask(node, JobProgress { job: job.job }).await.unwrap()
}

fn runs_on(state: &JobState) -> bool {
    matches!(state, JobState::Running { .. })
}

/// Nothing of a stopped job is left that takes room.
async fn nothing_left(disk: &MemDisk) {
    disk.change_faults(|faults| faults.read_ms = None);
    eventually(async || disk.list("store/incoming").await.unwrap().is_empty().then_some(())).await;
}

#[test]
fn a_job_that_nobody_asks_for_stops_and_one_that_is_asked_for_goes_on() {
    story(100, async {
        let (node, disk, runs) = slow(100, 2).await;
        let first = job(&runs, &[1], &[1], 1);
        let (asked, silent) = (numbered(&first, 1), numbered(&first, 2));
        ask(&node, asked.clone()).await.unwrap();
        ask(&node, silent.clone()).await.unwrap();
        for _ in 0..4 {
            time::sleep(Duration::from_secs(10)).await;
            assert!(runs_on(&state(&node, &asked).await));
        }
        assert_eq!(node.stats().await.jobs, 1);
        assert_eq!(state(&node, &silent).await, JobState::Unknown);
        disk.change_faults(|faults| faults.read_ms = None);
        assert!(matches!(carry_out(&node, &asked).await, JobState::Done { .. }));
        time::sleep(Duration::from_secs(40)).await;
        assert_eq!(
            state(&node, &asked).await,
            JobState::Unknown,
            "forgotten, its outputs are in the log by now"
        );
        nothing_left(&disk).await;
    });
}

#[test]
fn a_cancelled_job_is_unknown_and_its_place_is_free() {
    story(101, async {
        let (node, disk, runs) = slow(101, 1).await;
        let first = job(&runs, &[1], &[1], 1);
        let jobs: Vec<Compact> = (1..=3).map(|n| numbered(&first, n)).collect();
        assert!(runs_on(&ask(&node, jobs[0].clone()).await.unwrap()));
        assert!(runs_on(&ask(&node, jobs[1].clone()).await.unwrap()), "it waits");
        let error = ask(&node, jobs[2].clone()).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Overloaded);
        assert!(error.retry_after().is_some());
        time::sleep(Duration::from_secs(8)).await;
        let JobState::Running { read_bytes: 0, .. } = state(&node, &jobs[1]).await else {
            panic!("it waits")
        };
        assert_eq!(ask(&node, CancelJob { job: jobs[0].job }).await.unwrap(), JobState::Unknown);
        assert_eq!(state(&node, &jobs[0]).await, JobState::Unknown);
        assert!(runs_on(&ask(&node, jobs[2].clone()).await.unwrap()));
        disk.change_faults(|faults| faults.read_ms = None);
        assert!(matches!(carry_out(&node, &jobs[1]).await, JobState::Done { .. }));
        assert!(matches!(carry_out(&node, &jobs[2]).await, JobState::Done { .. }));
        nothing_left(&disk).await;
    });
}

#[test]
fn a_job_of_a_former_reign_stops_when_a_later_one_is_seen_in_whatever_message() {
    story(102, async {
        let (node, disk, runs) = slow(102, 2).await;
        let old = job(&runs, &[1], &[1], 1);
        ask(&node, old.clone()).await.unwrap();
        // A table that the new leader flushes.
        let mut stamp = stamp(1);
        stamp.reign = Reign(6);
        disk.change_faults(|faults| faults.read_ms = None);
        let flushed = sample(table(900), 20);
        store(&node, &flushed, stamp).await.unwrap();
        assert_eq!(state(&node, &old).await, JobState::Unknown);
        let error = ask(&node, numbered(&old, 2)).await.unwrap_err();
        assert_eq!(error.reason(), Reason::StateRefused);
        let mut new = numbered(&old, 3);
        new.job.reign = Reign(6);
        assert!(matches!(carry_out(&node, &new).await, JobState::Done { .. }));
        nothing_left(&disk).await;
    });
}

#[test]
fn a_job_that_cannot_be_carried_out_is_refused_at_once() {
    story(103, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(103));
        let node = lan.start(1, &disk).await;
        let good = job(&runs(1, 50, 50), &[1], &[1], 1);
        let changes: [fn(&mut Compact); 6] = [
            |job| job.inputs.clear(),
            |job| job.outputs.clear(),
            |job| job.build.write_quorum = 2,
            |job| job.build.write_quorum = 0,
            |job| job.build.block_bytes = 1 << 30,
            |job| job.build.table_bytes = 0,
        ];
        for change in changes {
            let mut bad = good.clone();
            change(&mut bad);
            assert_eq!(ask(&node, bad).await.unwrap_err().reason(), Reason::FieldInvalid);
        }
        assert_eq!(node.stats().await.jobs, 0);
    });
}

#[test]
fn a_job_with_too_few_names_fails_and_says_so() {
    story(104, async {
        let (node, disk, runs) = slow(104, 1).await;
        disk.change_faults(|faults| faults.read_ms = None);
        let mut few = job(&runs, &[1], &[1], 1);
        few.build.table_bytes = 2000;
        few.outputs.truncate(2);
        let JobState::Failed { why, damaged: None } = carry_out(&node, &few).await else {
            panic!("it failed")
        };
        assert!(why.contains("names"), "{why}");
        nothing_left(&disk).await;
    });
}

#[test]
fn jobs_keep_to_the_rate_that_they_are_given() {
    story(105, async {
        let (lan, disk) = (Lan::new(), MemDisk::new(105));
        let change =
            |options: &mut lamina_data::DataOptions| options.compaction_bytes_per_second = Some(2_000);
        let node = lan.start_with(1, &disk, change).await;
        let runs = runs(3, 300, 500);
        for file in runs.iter().flatten() {
            store(&node, file, stamp(1)).await.unwrap();
        }
        let job = job(&runs, &[1], &[1], 1);
        let before = time::now();
        assert!(matches!(carry_out(&node, &job).await, JobState::Done { .. }));
        let read = node.stats().await.compacted_bytes;
        // The last request is paid for, but not waited for.
        let seconds = before.elapsed().as_secs();
        assert!(
            seconds >= 1 && seconds + 30 >= read / 2_000 && seconds <= read / 2_000 + 2,
            "{seconds} s, {read} bytes"
        );
    });
}

#[test]
fn a_stopped_node_carries_nothing_on() {
    story(106, async {
        let (node, disk, runs) = slow(106, 1).await;
        let job = job(&runs, &[1], &[1], 1);
        ask(&node, job.clone()).await.unwrap();
        node.stop();
        assert_eq!(state(&node, &job).await, JobState::Unknown);
        nothing_left(&disk).await;
        assert_eq!(node.stats().await.jobs, 0);
    });
}
