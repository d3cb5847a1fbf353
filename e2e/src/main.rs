//! `lamina-e2e run` outside the cluster, `lamina-e2e load` and `idle` inside.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lamina_e2e::{load, run};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(name = "lamina-e2e", about = "Stories on a real Kubernetes cluster", subcommand_required = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the stories
    Run(run::RunArgs),
    /// Writes and reads until standard input ends, then sends its history
    Load(load::LoadArgs),
    /// Prints every row below a prefix
    Rows {
        /// Where the store is reached (host:port), several separated by commas
        #[arg(long, value_delimiter = ',', required = true)]
        endpoint: Vec<String>,
        /// What the keys begin with
        #[arg(long)]
        prefix: String,
    },
    /// Does nothing until it is told to end: what the pod of the load runs
    Idle,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Run(args) => {
            if !run::run(args).await? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Load(args) => load::run(args).await?,
        Command::Rows { endpoint, prefix } => load::rows(endpoint, prefix).await?,
        Command::Idle => {
            signal(SignalKind::terminate())?.recv().await;
        }
    }
    Ok(ExitCode::SUCCESS)
}
