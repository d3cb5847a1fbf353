//! Lamina's operator for Kubernetes: makes the stores that StorageClusters describe, and keeps them.
//!
//! | module | holds |
//! |---|---|
//! | `cluster` | one store: observe, validate, plan, guard, execute, status |
//! | `controller` | what wakes a pass |
//! | `store` | a store's administration |
//! | `names`, `kinds` | names, labels and kinds of objects |
//! | `lease`, `http`, `events`, `metrics` | one operator at a time; its health; what it tells |
//! | `rbac` | what it may do |
//! | `options`, `run` | the program |
//! | `plugin` | `kubectl lamina` |

use std::process::ExitCode;

use clap::Parser;
use lamina_telemetry::logs::{self, LogForm};

mod cluster;
mod controller;
mod events;
mod http;
mod kinds;
mod lease;
mod metrics;
mod names;
mod options;
mod plugin;
mod rbac;
mod run;
mod store;

#[cfg(test)]
mod tests;

/// The name before messages on standard error.
const OPERATOR: &str = "lamina-operator";

/// The program `lamina-operator`.
pub fn operator() -> ExitCode {
    match options::Cli::parse().command {
        options::Command::Rbac => print(&rbac::yaml()),
        options::Command::Version => print(&format!("lamina-operator {}\n", env!("CARGO_PKG_VERSION"))),
        options::Command::Run(args) => work(args),
    }
}

fn work(args: options::RunArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Ok(runtime), Ok(())) = (runtime, logs::start(LogForm::Json)) else {
        return fail(OPERATOR, "the runtime or the logs cannot be started", 1);
    };
    match runtime.block_on(run::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ run::Ended::Misconfigured(_)) => fail(OPERATOR, &error.to_string(), run::MISCONFIGURED),
        Err(error) => fail(OPERATOR, &error.to_string(), 1),
    }
}

/// The program `kubectl-lamina`.
pub fn plugin() -> ExitCode {
    let cli = plugin::options::Cli::parse();
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => match runtime.block_on(plugin::run(cli)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => fail("kubectl lamina", &failure.why, failure.code),
        },
        Err(error) => fail("kubectl lamina", &error.to_string(), 70),
    }
}

fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(program: &str, why: &str, code: u8) -> ExitCode {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{program}: {why}");
    ExitCode::from(code)
}
