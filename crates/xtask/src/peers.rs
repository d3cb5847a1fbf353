//! Lamina beside its peers: starts those that are installed, runs one load generator against all of them in rounds
//! that take turns, and prints a table of medians with ratios.
//!
//! Machines are shared and noisy: a figure counts only beside those of the same round. Everything listens on the
//! loopback interface and ends with this program.

mod servers;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use servers::Server;
use table::{Cell, Table};

/// What is measured, and how often.
#[derive(Args, Clone, Debug)]
pub struct PeersArgs {
    /// The program to measure; else the release build of this repository
    #[arg(long)]
    pub lamina: Option<PathBuf>,
    /// Rounds; each of them measures everything once
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Seconds of one measurement, after one second that does not count
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// Keys
    #[arg(long, default_value_t = 100_000)]
    pub keys: u64,
    /// The first of some 100 ports on the loopback interface
    #[arg(long, default_value_t = 24_700)]
    pub port: u16,
}

/// One row of the table: the same work for everybody.
struct Case {
    name: &'static str,
    mix: &'static str,
    connections: u32,
    in_flight: u32,
    /// Peers that are asked over as many connections as there are operations in flight, because they batch nothing.
    separate: &'static [&'static str],
    /// Lamina is asked by unary gRPC calls, without its client.
    unary: bool,
}

const CASES: [Case; 9] = [
    Case {
        name: "durable puts, 1 in flight",
        mix: "overwrite",
        connections: 1,
        in_flight: 1,
        separate: &[],
        unary: false,
    },
    Case {
        name: "durable puts, 64 in flight",
        mix: "overwrite",
        connections: 1,
        in_flight: 64,
        separate: &["redis"],
        unary: false,
    },
    Case {
        name: "durable puts, 256 in flight",
        mix: "overwrite",
        connections: 1,
        in_flight: 256,
        separate: &["redis"],
        unary: false,
    },
    Case {
        name: "linearizable gets, 64 in flight",
        mix: "read-random",
        connections: 1,
        in_flight: 64,
        separate: &["redis"],
        unary: false,
    },
    Case {
        name: "linearizable gets, 256 in flight",
        mix: "read-random",
        connections: 1,
        in_flight: 256,
        separate: &["redis"],
        unary: false,
    },
    Case {
        name: "linearizable gets, 64 connections",
        mix: "read-random",
        connections: 64,
        in_flight: 1,
        separate: &[],
        unary: false,
    },
    Case {
        name: "durable puts, 64 connections, unary gRPC",
        mix: "overwrite",
        connections: 64,
        in_flight: 1,
        separate: &[],
        unary: true,
    },
    Case {
        name: "linearizable gets, 64 connections, unary gRPC",
        mix: "read-random",
        connections: 64,
        in_flight: 1,
        separate: &[],
        unary: true,
    },
    Case {
        name: "scans of 100 rows, 16 in flight",
        mix: "scan",
        connections: 1,
        in_flight: 16,
        separate: &[],
        unary: false,
    },
];

/// Starts the peers that are installed, measures, prints.
///
/// # Errors
/// No peer or no Lamina can be started, or every measurement of a round failed.
pub fn run(repository: &Path, args: &PeersArgs) -> anyhow::Result<()> {
    let lamina = match &args.lamina {
        Some(lamina) => lamina.clone(),
        None => built(repository)?,
    };
    let dir = tempfile::tempdir().context("making a directory for the servers")?;
    let servers = servers::start(&lamina, dir.path(), args.port)?;
    for server in &servers {
        eprintln!("{}: {}", server.name, server.version);
        // Keys are there before anybody reads.
        bench(&lamina, args, server, &fill(), true)?;
    }
    let mut table = Table::new(servers.iter().map(|server| server.name).collect());
    for round in 1..=args.rounds {
        for case in &CASES {
            for server in &servers {
                // A store that was just loaded may still be at work.
                thread::sleep(Duration::from_millis(300));
                match bench(&lamina, args, server, case, false) {
                    Ok(cell) => table.add(case.name, server.name, cell),
                    Err(error) => eprintln!("round {round}, {}, {}: {error:#}", case.name, server.name),
                }
            }
        }
        eprintln!("round {round} of {} is done", args.rounds);
    }
    println!("{}", table.render());
    Ok(())
}

fn fill() -> Case {
    Case { name: "fill", mix: "fill", connections: 1, in_flight: 256, separate: &["redis"], unary: false }
}

fn bench(lamina: &Path, args: &PeersArgs, server: &Server, case: &Case, all: bool) -> anyhow::Result<Cell> {
    let split = case.separate.contains(&server.name);
    let (connections, in_flight) =
        if split { (case.in_flight, 1) } else { (case.connections, case.in_flight) };
    let mut command = Command::new(lamina);
    let target =
        if case.unary { server.target.replace("lamina://", "grpc://") } else { server.target.clone() };
    command.args(["bench", case.mix, "--json", "--target", &target]);
    command.args(["--keys", &args.keys.to_string()]);
    command.args(["--connections", &connections.to_string(), "--in-flight", &in_flight.to_string()]);
    if !all {
        command.args(["--duration", &format!("{}s", args.seconds), "--warm-up", "1s"]);
    }
    let output = command.stderr(Stdio::inherit()).output().context("starting the load generator")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let outcome: Value = text
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok())
        .context("the load generator printed no outcome")?;
    let number = |value: Option<&Value>| value.and_then(Value::as_f64).unwrap_or(0.0);
    let latency = outcome.get("latency").and_then(Value::as_object).and_then(|all| all.values().next());
    let cell = Cell {
        throughput: number(outcome.get("throughput")),
        p99_us: number(latency.and_then(|latency| latency.get("p99_us"))),
    };
    if cell.throughput == 0.0 {
        bail!("nothing succeeded: {}", outcome.get("first_error").unwrap_or(&Value::Null));
    }
    Ok(cell)
}

/// Builds the program, and says where it is.
fn built(repository: &Path) -> anyhow::Result<PathBuf> {
    let build = ["build", "--release", "--locked", "--bin", "lamina", "--message-format", "json"];
    let output = Command::new(env!("CARGO"))
        .args(build)
        .current_dir(repository)
        .stderr(Stdio::inherit())
        .output()
        .context("starting cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let executable = text.lines().rev().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        message.get("executable")?.as_str().map(PathBuf::from)
    });
    executable.context("the release build gave no program")
}
