//! The command line of Lamina.
//!
//! | module | holds |
//! |---|---|
//! | `args` | what can be typed |
//! | `command` | one module for each command |
//! | `serve` | `up`, `frontend`, `index`, `data` |
//! | `failure` | what goes wrong, as one line and an exit code |
//! | `form`, `rows` | keys and values as text: arguments, TSV, JSON lines |
//! | `waiting` | what a command waits for, while no answer comes |
//! | `output`, `figures` | how results look |
//!
//! Silence is success, one line is a summary. Results go to standard output, everything else to standard error.

mod args;
mod command;
mod failure;
mod farewell;
mod figures;
mod form;
mod output;
mod rows;
mod serve;
mod status;
mod waiting;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::Failure;
use farewell::Farewell;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = start(cli);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(line) = failure.line() {
                output::complain(&line);
            }
            ExitCode::from(failure.code())
        }
    }
}

/// Runs a command on the runtime that suits it: calls on one thread, whole stores on all cores.
fn start(cli: Cli) -> Result<(), Failure> {
    let threads = cli.command.threads();
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build().map_err(|error| {
        Failure::Local(format!("cannot start: {error}; too many processes or open files?"))
    })?;
    let result = runtime.block_on(run(cli));
    // A thread may still wait for standard input, which never comes: it must not hold the process.
    runtime.shutdown_background();
    result
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let farewell = Farewell::default();
    if cli.command.serves() {
        // These end by signals in their own way.
        return dispatch(cli, &farewell).await;
    }
    let waiting = cli.store.waiting.clone().speak(cli.command.patience(&cli.store));
    tokio::select! {
        biased;
        result = dispatch(cli, &farewell) => result,
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted(farewell.sentence())),
        never = waiting => match never {},
    }
}

async fn dispatch(cli: Cli, farewell: &Farewell) -> Result<(), Failure> {
    let store = cli.store;
    match cli.command {
        Command::Up(args) => serve::up(args).await,
        Command::Frontend(args) => serve::frontend(args).await,
        Command::Index(args) => serve::index(args).await,
        Command::Data(args) => serve::data(args).await,
        Command::Put(args) => command::keys::put(&store, args).await,
        Command::Get(args) => command::keys::get(&store, args).await,
        Command::Delete(args) => command::keys::delete(&store, args).await,
        Command::Scan(args) => command::scan::scan(&store, args).await,
        Command::Batch(args) => command::batch::batch(&store, args).await,
        Command::Import(args) => command::import::import(&store, args, farewell).await,
        Command::Export(args) => command::export::export(&store, args, farewell).await,
        Command::Bench(args) => command::bench::bench(&store, args, farewell).await,
        Command::Status(args) => status::status(&store, args).await,
        Command::Flush(args) => command::upkeep::flush(&store, args, false).await,
        Command::Compact(args) => command::upkeep::flush(&store, args, true).await,
        Command::Probe => command::upkeep::probe(&store).await,
        Command::Doctor(args) => command::doctor::doctor(args, farewell).await,
        Command::Explain(args) => command::explain::explain(args),
        Command::Completions(args) => command::explain::completions(args),
        Command::Version => output::line(&format!("lamina {}", serve::VERSION)),
    }
}
