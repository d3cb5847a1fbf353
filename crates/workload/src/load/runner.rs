//! Drives callers against a target and measures.

use std::sync::Arc;

use bytes::Bytes;
use lamina_env::task;
use lamina_env::time::{self, Duration, Instant};

use super::keys::{Chooser, Dice, Values, key};
use super::meter::{Interval, Meter};
use super::mix::{Class, Mix, Next};
use super::outcome::{Latency, Outcome, Second};
use super::schedule::Schedule;
use super::{Distribution, LoadError, Plan, Progress};
use crate::target::{Ask, Brought, Connection, Target};

/// A caller that fails waits so long before it calls again, so that a store that is down is not hammered.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);

/// What all callers share.
struct Run {
    plan: Plan,
    schedule: Schedule,
    chooser: Chooser,
    values: Values,
    meter: Meter,
}

/// Runs a plan to its end. `progress` is told once a second. Dropping the future ends the run.
///
/// # Errors
/// The plan makes no sense, or the target is not there. Failures of operations are part of the outcome.
pub async fn run(
    target: &Target,
    plan: &Plan,
    mut progress: impl FnMut(&Progress),
) -> Result<Outcome, LoadError> {
    plan.check()?;
    if plan.mix.scans() && !target.has_order() {
        let why =
            format!("{target} keeps no order of keys, so the mix {} cannot be measured there", plan.mix);
        return Err(LoadError::Unsupported(why));
    }
    let mut connections = Vec::new();
    for n in 0..plan.connections {
        connections.push(Arc::new(target.connect(n as usize).await?));
    }
    let present = if plan.mix == Mix::Fill { 0 } else { plan.keys };
    let distribution = if plan.mix == Mix::YcsbD { Distribution::Latest } else { plan.distribution };
    let run = Arc::new(Run {
        plan: plan.clone(),
        chooser: Chooser::new(distribution, present),
        values: Values::new(plan.value_bytes, plan.seed),
        meter: Meter::new(),
        // Last, because its clock begins here.
        schedule: Schedule::new(plan.duration, plan.operations_max(), plan.rate),
    });
    let callers = task::TaskGroup::new();
    let _end = EndsWith(callers.clone());
    let mut ends = Vec::new();
    for (n, connection) in
        connections.iter().cycle().take(connections.len() * plan.in_flight as usize).enumerate()
    {
        ends.push(callers.spawn(call_until_over(run.clone(), connection.clone(), n)));
    }
    let all_ended = async move {
        for end in ends {
            end.await.ok();
        }
    };
    let mut report = Report::new(&run);
    tokio::pin!(all_ended);
    loop {
        let tick = report.last + Duration::from_secs(1);
        let over = tokio::select! {
            biased;
            () = &mut all_ended => true,
            () = time::sleep_until(tick) => false,
        };
        progress(&report.take(&run));
        if over {
            break;
        }
    }
    Ok(Outcome::new(target.to_string(), plan, report.measured.as_secs_f64(), &report.total, report.timeline))
}

/// Stops all callers when the run ends or is dropped.
struct EndsWith(task::TaskGroup);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Gathers intervals.
struct Report {
    last: Instant,
    measured: Duration,
    total: Interval,
    all: u64,
    errors: u64,
    timeline: Vec<Second>,
}

impl Report {
    fn new(run: &Run) -> Report {
        Report {
            last: run.schedule.start(),
            measured: Duration::ZERO,
            total: Interval::empty(),
            all: 0,
            errors: 0,
            timeline: Vec::new(),
        }
    }

    /// Ends an interval and tells of it. What ends within the warm-up is not counted.
    fn take(&mut self, run: &Run) -> Progress {
        let now = time::now();
        let interval = run.meter.take();
        let length = now.duration_since(self.last);
        let elapsed = now.duration_since(run.schedule.start());
        self.last = now;
        let latency = interval.joined().map(|joined| Latency::of(&joined)).unwrap_or_default();
        let operations = interval.operations();
        self.all += operations + interval.failed();
        self.errors += interval.failed();
        if elapsed > run.plan.warm_up {
            self.measured += length;
            self.timeline.push(Second {
                at: elapsed.as_secs_f64(),
                operations,
                errors: interval.failed(),
                seconds: length.as_secs_f64(),
                p50_us: latency.p50_us,
                p99_us: latency.p99_us,
                max_us: latency.max_us,
            });
            self.total.add(&interval);
        }
        let seconds = length.as_secs_f64();
        Progress {
            elapsed,
            operations: self.all,
            errors: self.errors,
            per_second: if seconds > 0.0 { operations as f64 / seconds } else { 0.0 },
            p99_us: latency.p99_us,
            done: run.schedule.done(),
        }
    }
}

/// One caller.
async fn call_until_over(run: Arc<Run>, connection: Arc<Connection>, caller: usize) {
    let mut dice = Dice::new(run.plan.seed ^ ((caller as u64 + 1) << 32));
    while let Some(begin) = run.schedule.next().await {
        let next = run.plan.mix.next(&mut dice);
        let (class, result) = call(&run, &connection, next, &mut dice).await;
        let latency = begin.elapsed();
        match result {
            Ok(brought) => {
                let looked = matches!(class, Class::Read);
                let missed = u64::from(looked && brought.rows == 0);
                run.meter.note(caller, |interval| {
                    interval.succeed(class, latency, brought.rows, missed, brought.bytes)
                });
            }
            Err(failed) => {
                run.meter.note(caller, |interval| interval.fail(&failed.word, &failed.message));
                time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }
}

async fn call(
    run: &Run,
    connection: &Connection,
    next: Next,
    dice: &mut Dice,
) -> (Class, Result<Brought, crate::target::Failed>) {
    let existing = |dice: &mut Dice| key(run.chooser.existing(dice), run.plan.key_bytes);
    let sent = |key: &Bytes| (key.len() + run.plan.value_bytes) as u64;
    let (class, ask, sent) = match next {
        Next::Get => (Class::Read, Ask::Get { key: existing(dice) }, 0),
        Next::GetMissing => {
            let key = key(run.chooser.missing(dice), run.plan.key_bytes);
            (Class::Read, Ask::Get { key }, 0)
        }
        Next::Update => {
            let key = existing(dice);
            let bytes = sent(&key);
            (Class::Write, Ask::Put { key, value: run.values.draw(dice) }, bytes)
        }
        Next::Insert => {
            let key = key(run.chooser.insert(), run.plan.key_bytes);
            let bytes = sent(&key);
            (Class::Write, Ask::Put { key, value: run.values.draw(dice) }, bytes)
        }
        Next::Delete => (Class::Write, Ask::Delete { key: existing(dice) }, 0),
        Next::Scan => {
            // YCSB E draws the length of each scan; a plain scan always reads as many rows as were asked for.
            let most = u64::from(run.plan.scan_rows);
            let rows = if run.plan.mix == Mix::Scan { most } else { 1 + dice.below(most) };
            (Class::Scan, Ask::Scan { from: existing(dice), rows: rows as u32 }, 0)
        }
        Next::Modify => {
            let key = existing(dice);
            let read = match connection.call(Ask::Get { key: key.clone() }).await {
                Ok(read) => read,
                Err(failed) => return (Class::Modify, Err(failed)),
            };
            let bytes = sent(&key) + read.bytes;
            (Class::Modify, Ask::Put { key, value: run.values.draw(dice) }, bytes)
        }
    };
    let result = connection.call(ask).await;
    (class, result.map(|brought| Brought { bytes: brought.bytes + sent, ..brought }))
}
