//! `bench`.

use lamina_env::time::Duration;
use lamina_workload::load::outcome::Latency;
use lamina_workload::{Distribution, LoadError, Mix, Outcome, Plan, Target, run};

use super::progress::Progress;
use crate::args::{BenchArgs, StoreArgs};
use crate::failure::Failure;
use crate::farewell::Farewell;
use crate::figures::{bytes, count, micros, short};
use crate::output;

/// How long a run takes if nothing was said.
const DURATION_DEFAULT: Duration = Duration::from_secs(10);
/// Puts on the way while keys are filled in.
const FILL_IN_FLIGHT: u32 = 256;

pub async fn bench(store: &StoreArgs, args: BenchArgs, farewell: &Farewell) -> Result<(), Failure> {
    let target = match args.target.clone() {
        Some(target) => target,
        None => {
            store.client()?;
            Target::Lamina(store.endpoint.clone())
        }
    };
    let plan = plan(&args);
    farewell.set(|| "interrupted; there is no outcome".to_owned());
    if args.fill && plan.mix != Mix::Fill {
        let fill = Plan {
            mix: Mix::Fill,
            connections: 1,
            in_flight: FILL_IN_FLIGHT,
            rate: None,
            operations: None,
            duration: None,
            warm_up: Duration::ZERO,
            ..plan.clone()
        };
        let filled = measure(&target, &fill, "fill").await?;
        if let Some(error) = filled.first_error {
            return Err(Failure::Ended(format!("not all keys could be put; the first failure: {error}")));
        }
    }
    let outcome = measure(&target, &plan, plan.mix.as_str()).await?;
    if args.json {
        let json = serde_json::to_string(&outcome).map_err(|error| Failure::Local(error.to_string()))?;
        output::line(&json)?;
    } else {
        output::line(&page(&outcome))?;
    }
    match &outcome.first_error {
        Some(error) if outcome.operations == 0 => {
            Err(Failure::Ended(format!("every operation failed: {error}")))
        }
        _ => Ok(()),
    }
}

fn plan(args: &BenchArgs) -> Plan {
    let ycsb =
        matches!(args.mix, Mix::YcsbA | Mix::YcsbB | Mix::YcsbC | Mix::YcsbD | Mix::YcsbE | Mix::YcsbF);
    let usual = if ycsb { Distribution::Zipfian } else { Distribution::Uniform };
    let endless = args.duration.is_none() && args.operations.is_none() && args.mix != Mix::Fill;
    Plan {
        mix: args.mix,
        keys: args.keys,
        key_bytes: args.key_bytes,
        value_bytes: args.value_bytes,
        distribution: args.distribution.unwrap_or(usual),
        scan_rows: args.scan_rows,
        connections: args.connections,
        in_flight: args.in_flight,
        rate: args.rate,
        operations: args.operations,
        duration: if endless { Some(DURATION_DEFAULT) } else { args.duration },
        warm_up: args.warm_up,
        seed: args.seed,
    }
}

async fn measure(target: &Target, plan: &Plan, name: &str) -> Result<Outcome, Failure> {
    let end_is_known = plan.operations.is_some() || plan.duration.is_some() || plan.mix == Mix::Fill;
    let mut progress = Progress::new(name, end_is_known);
    let outcome = run(target, plan, |now| {
        progress.show(now.done, || {
            let errors =
                if now.errors > 0 { format!(" · {} errors", count(now.errors)) } else { String::new() };
            format!("{} op/s · p99 {}{errors}", short(now.per_second), micros(now.p99_us))
        });
    });
    outcome.await.map_err(|error| match error {
        LoadError::Plan(_) | LoadError::Unsupported(_) => Failure::Usage(error.to_string()),
        LoadError::Unreachable(_) => Failure::Ended(format!("{error}; is it running there?")),
    })
}

/// The outcome for people, 80 columns wide.
fn page(outcome: &Outcome) -> String {
    let shape = match outcome.rate {
        Some(rate) => format!("open loop at {} op/s", short(rate)),
        None => "closed loop".to_owned(),
    };
    let mut lines = vec![
        format!("{} on {}", outcome.mix, outcome.target),
        format!(
            "{shape} · {} × {} in flight · {} keys of {} B, {} · values of {} B",
            outcome.connections,
            outcome.in_flight,
            count(outcome.keys),
            outcome.key_bytes,
            outcome.distribution,
            outcome.value_bytes
        ),
        format!(
            "{} op/s · median second {} · worst {} · {}/s · {} in {:.1} s",
            short(outcome.throughput),
            short(outcome.median_second),
            short(outcome.worst_second),
            bytes(outcome.bytes_per_second as u64),
            count(outcome.operations),
            outcome.seconds
        ),
        format!(
            "{:<7}{:>11} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "", "count", "mean", "p50", "p90", "p99", "p99.9", "max"
        ),
    ];
    for (class, latency) in &outcome.latency {
        lines.push(row(&format!("{class:?}").to_lowercase(), latency));
    }
    if outcome.missed > 0 {
        lines.push(format!("{} reads found nothing", count(outcome.missed)));
    }
    for (word, n) in &outcome.errors {
        lines.push(format!("{} × {word}", count(*n)));
    }
    if let Some(error) = &outcome.first_error {
        lines.push(format!("first failure: {error}"));
    }
    lines.join("\n")
}

fn row(name: &str, latency: &Latency) -> String {
    let Latency { count: n, mean_us, p50_us, p90_us, p99_us, p999_us, max_us, .. } = *latency;
    let [mean, p50, p90, p99, p999, max] = [mean_us, p50_us, p90_us, p99_us, p999_us, max_us].map(micros);
    format!("{name:<7}{:>11} {mean:>9} {p50:>9} {p90:>9} {p99:>9} {p999:>9} {max:>9}", count(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_at_most_80_columns_wide() {
        let latency = Latency {
            count: 12_345_678,
            mean_us: 99_949.0,
            p50_us: 99_949.0,
            p90_us: 99_949.0,
            p99_us: 99_949.0,
            p999_us: 999_499.0,
            max_us: 99_949_000.0,
            min_us: 1.0,
        };
        let row = row("modify", &latency);
        assert!(row.chars().count() <= 80, "{row}");
    }
}
