//! Which merges run here, for which reign, and who still asks for them (protocols §7.3).
//!
//! A job lives as long as its leader asks: without a question for one lease it stops, and what a finished one has
//! to say is forgotten. A job of a reign below the highest that was seen of its group stops at once: its outputs
//! could never be admitted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lamina_env::time::{Duration, Instant};
use lamina_env::watch;
use lamina_peers::data::{JobId, JobState};
use lamina_types::{GroupId, Reign};
use parking_lot::Mutex;

/// How far a job is; the worker writes, questions read.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Bytes of inputs read.
    pub read_bytes: AtomicU64,
    /// Bytes of inputs in all; 0 until the worker knows.
    pub input_bytes: AtomicU64,
}

/// What the worker of a job holds.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// The job.
    pub job: JobId,
    /// Where the worker says how far it is.
    pub progress: Arc<Progress>,
    stop: watch::Receiver<bool>,
}

/// Whether a job was taken.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// It was: start its worker.
    New(Ticket),
    /// It is here already.
    Known(JobState),
    /// A leader of this higher reign was seen.
    Stale(Reign),
    /// As many wait as may.
    Full,
}

/// The jobs of this node.
#[derive(Debug, Default)]
pub(crate) struct Jobs(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    reigns: BTreeMap<GroupId, Reign>,
    jobs: BTreeMap<JobId, Job>,
}

#[derive(Debug)]
struct Job {
    asked: Instant,
    progress: Arc<Progress>,
    stop: watch::Sender<bool>,
    /// `Done` or `Failed`.
    outcome: Option<JobState>,
}

impl Ticket {
    /// Waits until the job is to stop; never ends for one that may go on.
    pub async fn stopped(&mut self) {
        // An error means that the table of jobs is gone, which is as good a reason to stop.
        let _ = self.stop.wait_for(|stop| *stop).await.map(drop);
    }
}

impl Jobs {
    /// A message of this reign came. Answers how many jobs of lower ones it stopped.
    pub fn see(&self, group: GroupId, reign: Reign) -> u64 {
        self.0.lock().see(group, reign)
    }

    /// Takes a job, unless a higher reign was seen or `limit` jobs are unfinished. Answers also how many jobs of
    /// lower reigns it stopped.
    pub fn accept(&self, job: JobId, limit: usize, now: Instant) -> (Accepted, u64) {
        let mut inner = self.0.lock();
        let highest = inner.reigns.get(&job.group).copied().unwrap_or(Reign::ZERO);
        if job.reign < highest {
            return (Accepted::Stale(highest), 0);
        }
        let stopped = inner.see(job.group, job.reign);
        if let Some(known) = inner.jobs.get_mut(&job) {
            known.asked = now;
            return (Accepted::Known(known.state()), stopped);
        }
        if inner.jobs.values().filter(|job| job.outcome.is_none()).count() >= limit {
            return (Accepted::Full, stopped);
        }
        let progress = Arc::new(Progress::default());
        let (stop, receiver) = watch::channel(false);
        inner.jobs.insert(job, Job { asked: now, progress: progress.clone(), stop, outcome: None });
        (Accepted::New(Ticket { job, progress, stop: receiver }), stopped)
    }

    /// The leader asks: that keeps the job going.
    pub fn ask(&self, job: JobId, now: Instant) -> JobState {
        match self.0.lock().jobs.get_mut(&job) {
            Some(known) => {
                known.asked = now;
                known.state()
            }
            None => JobState::Unknown,
        }
    }

    /// The leader does not want it any more. Answers whether it was unfinished.
    pub fn cancel(&self, job: JobId) -> bool {
        self.0.lock().stop(job)
    }

    /// The worker has come to its end. Without effect if the job was stopped meanwhile.
    pub fn finish(&self, job: JobId, outcome: JobState) {
        if let Some(known) = self.0.lock().jobs.get_mut(&job) {
            known.outcome = Some(outcome);
        }
    }

    /// Stops and forgets what nobody asked for since `lease`. Answers how many unfinished ones were stopped.
    pub fn sweep(&self, lease: Duration, now: Instant) -> u64 {
        let mut inner = self.0.lock();
        let overdue = inner.jobs.iter().filter(|(_, job)| now.duration_since(job.asked) > lease);
        let overdue: Vec<JobId> = overdue.map(|(id, _)| *id).collect();
        overdue.into_iter().map(|job| u64::from(inner.stop(job))).sum()
    }

    /// Stops everything.
    pub fn stop_all(&self) {
        let mut inner = self.0.lock();
        let all: Vec<JobId> = inner.jobs.keys().copied().collect();
        for job in all {
            inner.stop(job);
        }
    }

    /// Unfinished jobs.
    pub fn unfinished(&self) -> u64 {
        self.0.lock().jobs.values().filter(|job| job.outcome.is_none()).count() as u64
    }
}

impl Inner {
    fn see(&mut self, group: GroupId, reign: Reign) -> u64 {
        let highest = self.reigns.entry(group).or_insert(Reign::ZERO);
        if reign <= *highest {
            return 0;
        }
        *highest = reign;
        let stale = self.jobs.keys().filter(|job| job.group == group && job.reign < reign);
        let stale: Vec<JobId> = stale.copied().collect();
        stale.into_iter().map(|job| u64::from(self.stop(job))).sum()
    }

    fn stop(&mut self, job: JobId) -> bool {
        let Some(known) = self.jobs.remove(&job) else { return false };
        known.stop.send(true);
        known.outcome.is_none()
    }
}

impl Job {
    fn state(&self) -> JobState {
        self.outcome.clone().unwrap_or_else(|| JobState::Running {
            read_bytes: self.progress.read_bytes.load(Ordering::Relaxed),
            input_bytes: self.progress.input_bytes.load(Ordering::Relaxed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn job(group: u32, reign: u64, n: u32) -> JobId {
        JobId { group: GroupId(group), reign: Reign(reign), n }
    }

    fn taken(jobs: &Jobs, id: JobId, now: Instant) -> Ticket {
        match jobs.accept(id, 10, now).0 {
            Accepted::New(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    fn is_stopped(ticket: &mut Ticket) -> bool {
        ticket.stopped().now_or_never().is_some()
    }

    #[test]
    fn a_higher_reign_stops_jobs_of_lower_ones_of_its_group_only() {
        let (jobs, now) = (Jobs::default(), lamina_env::time::now());
        let (mut old, mut other) = (taken(&jobs, job(1, 5, 1), now), taken(&jobs, job(2, 5, 1), now));
        assert!(!is_stopped(&mut old));
        let (accepted, stopped) = jobs.accept(job(1, 6, 1), 10, now);
        assert!(matches!(accepted, Accepted::New(_)));
        assert_eq!(stopped, 1);
        assert!(is_stopped(&mut old) && !is_stopped(&mut other));
        assert_eq!(jobs.ask(job(1, 5, 1), now), JobState::Unknown);
        assert!(matches!(jobs.accept(job(1, 5, 2), 10, now).0, Accepted::Stale(Reign(6))));
        assert_eq!(jobs.see(GroupId(1), Reign(6)), 0);
        assert_eq!(jobs.see(GroupId(1), Reign(7)), 1);
    }

    #[test]
    fn a_job_that_nobody_asks_for_stops_after_its_lease() {
        let (jobs, start) = (Jobs::default(), lamina_env::time::now());
        let lease = Duration::from_secs(30);
        let (mut asked, mut silent) = (taken(&jobs, job(1, 5, 1), start), taken(&jobs, job(1, 5, 2), start));
        let later = start + Duration::from_secs(20);
        assert!(matches!(jobs.ask(job(1, 5, 1), later), JobState::Running { .. }));
        assert_eq!(jobs.sweep(lease, start + lease), 0);
        assert_eq!(jobs.sweep(lease, start + lease + Duration::from_millis(1)), 1);
        assert!(is_stopped(&mut silent) && !is_stopped(&mut asked));
        assert_eq!(jobs.unfinished(), 1);
    }

    #[test]
    fn the_same_job_again_is_the_same_job_and_a_finished_one_leaves_room() {
        let (jobs, now) = (Jobs::default(), lamina_env::time::now());
        let _first = taken(&jobs, job(1, 5, 1), now);
        assert!(matches!(jobs.accept(job(1, 5, 1), 1, now).0, Accepted::Known(JobState::Running { .. })));
        assert!(matches!(jobs.accept(job(1, 5, 2), 1, now).0, Accepted::Full));
        jobs.finish(job(1, 5, 1), JobState::Done { outputs: Vec::new() });
        assert!(matches!(jobs.accept(job(1, 5, 2), 1, now).0, Accepted::New(_)));
        assert_eq!(jobs.ask(job(1, 5, 1), now), JobState::Done { outputs: Vec::new() });
        assert!(!jobs.cancel(job(1, 5, 1)), "it was finished");
        assert!(jobs.cancel(job(1, 5, 2)));
        jobs.finish(job(1, 5, 2), JobState::Done { outputs: Vec::new() });
        assert_eq!(jobs.ask(job(1, 5, 2), now), JobState::Unknown, "a stopped job stays stopped");
    }
}
