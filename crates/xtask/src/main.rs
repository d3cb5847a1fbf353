//! The project's own tools. Run them with `cargo run -p xtask -- <command>` (or `cargo xtask`, see `.cargo/config.toml`).

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::charts::ChartsArgs;
use xtask::e2e::E2eArgs;
use xtask::image::ImageArgs;
use xtask::peers::PeersArgs;
use xtask::{charts, crdgen, e2e, errors, image, peers, protogen, repository, tidy};

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
    /// Makes the container image from programs of this machine, without any registry
    Image(ImageArgs),
    /// Lints the charts, and compares what helm makes of them with helm/goldens
    Charts(ChartsArgs),
    /// Tells the stories of e2e/ on a Kubernetes cluster that kind makes; ends with 1 if one does not hold
    E2e(E2eArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Tidy if !tidy::run(&repository())? => return Ok(ExitCode::FAILURE),
        Command::Tidy => {}
        Command::Errors => errors::run(&repository())?,
        Command::Crdgen { check } => crdgen::run(&repository(), check)?,
        Command::Protogen => protogen::run()?,
        Command::BenchPeers(args) => peers::run(&repository(), &args)?,
        Command::Image(args) => image::run(&repository(), &args)?,
        Command::Charts(args) => charts::run(&repository(), &args)?,
        Command::E2e(args) if !e2e::run(&repository(), &args)? => return Ok(ExitCode::FAILURE),
        Command::E2e(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}
