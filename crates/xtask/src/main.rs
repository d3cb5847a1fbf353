//! The project's own tools. Run them with `cargo run -p xtask -- <command>` (or `cargo xtask`, see `.cargo/config.toml`).

mod protogen;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Lamina's own tools")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generates the Rust code of the protobuf files into crates/proto/src/generated
    Protogen,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Protogen => protogen::run(),
    }
}
