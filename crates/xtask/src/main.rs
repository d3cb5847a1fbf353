//! The project's own tools. Run them with `cargo run -p xtask -- <command>` (or `cargo xtask`, see `.cargo/config.toml`).

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::peers::PeersArgs;
use xtask::{crdgen, errors, peers, protogen, repository, tidy};

#[derive(Parser)]
#[command(about = "Lamina's own tools")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Proves the rules of the house; ends with 1 if one is broken
    Tidy,
    /// Writes docs/errors.md from the reasons of crates/types
    Errors,
    /// Writes crds/generated, docs/api.md and docs/conditions.md from the types in crds
    Crdgen {
        /// Write nothing; end with an error if anything is stale
        #[arg(long)]
        check: bool,
    },
    /// Generates the Rust code of the protobuf files into crates/proto/src/generated
    Protogen,
    /// Measures Lamina beside etcd and Redis, as far as they are installed, and prints a table
    BenchPeers(PeersArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Tidy if !tidy::run(&repository())? => return Ok(ExitCode::FAILURE),
        Command::Tidy => {}
        Command::Errors => errors::run(&repository())?,
        Command::Crdgen { check } => crdgen::run(&repository(), check)?,
        Command::Protogen => protogen::run()?,
        Command::BenchPeers(args) => peers::run(&repository(), &args)?,
    }
    Ok(ExitCode::SUCCESS)
}
