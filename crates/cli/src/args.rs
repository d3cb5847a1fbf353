//! What can be typed.

mod bench;
mod serve;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lamina_client::{Client, Options};
use lamina_env::time::Duration;
use lamina_types::Error;

use crate::failure::Failure;
use crate::figures::parse_duration;
use crate::form::Form;
use crate::rows::Format;
use crate::waiting::Waiting;

pub use bench::BenchArgs;
pub use serve::{NodeArgs, UpArgs};

/// A durable, ordered key-value store in three layers.
#[derive(Parser, Debug)]
#[command(
    name = "lamina",
    version = crate::serve::VERSION,
    max_term_width = 80,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Which store, and how long to wait for it.
#[derive(Args, Debug)]
pub struct StoreArgs {
    /// Addresses of frontends (host:port), separated by commas
    #[arg(
        long,
        global = true,
        env = "LAMINA_ENDPOINT",
        default_value = "127.0.0.1:4700",
        value_delimiter = ',',
        help_heading = "Store"
    )]
    pub endpoint: Vec<String>,
    /// The longest that a call may take, repetitions included
    #[arg(long, global = true, default_value = "10s", value_parser = parse_duration, help_heading = "Store")]
    pub timeout: Duration,
    /// What a command waits for.
    #[arg(skip)]
    pub waiting: Waiting,
}

impl StoreArgs {
    /// A client of the store.
    pub fn client(&self) -> Result<Client, Failure> {
        for address in &self.endpoint {
            let port = address.rsplit_once(':').map(|(host, port)| (!host.is_empty(), port.parse::<u16>()));
            if !matches!(port, Some((true, Ok(1..)))) {
                return Err(Failure::Usage(format!(
                    "the endpoint {address:?} is no address; it reads host:port, such as 127.0.0.1:4700"
                )));
            }
        }
        let options = Options { deadline: self.timeout, ..Options::default() };
        let client = Client::connect(self.endpoint.clone()).with(options);
        self.waiting.add(&client);
        Ok(client)
    }

    /// A failure of this store.
    pub fn failure(&self, error: Error) -> Failure {
        Failure::Store(error, self.endpoint.join(","))
    }
}

/// Commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Start a whole store in a directory
    Up(UpArgs),
    /// Store a value
    Put(PutArgs),
    /// Print the value of a key
    Get(GetArgs),
    /// Remove a key
    Delete(DeleteArgs),
    /// List keys and values in order
    Scan(ScanArgs),
    /// Do several operations, all or none, from standard input
    #[command(
        after_help = "Lines: put KEY VALUE · delete KEY · if-absent KEY · if-present KEY · if-version KEY VERSION\n\
        (fields apart by tabs, or by single spaces; escapes \\t \\n \\\\ \\xNN), or JSON objects:\n\
        {\"op\":\"put\",\"key\":\"a\",\"value\":\"1\",\"ttl\":\"10s\"}"
    )]
    Batch(BatchArgs),
    /// Load rows from a file
    Import(ImportArgs),
    /// Write all rows of one version to a file
    Export(ExportArgs),
    /// Show how the store is
    Status(StatusArgs),
    /// Prove that every group writes and reads
    Probe,
    /// Write memtables out as tables
    Flush(UpkeepArgs),
    /// Flush, then merge all tables into one run
    Compact(UpkeepArgs),
    /// Measure a store
    Bench(BenchArgs),
    /// Check every checksum in a directory; writes nothing
    Doctor(DoctorArgs),
    /// Say what a reason (the word in capitals) means
    Explain(ExplainArgs),
    /// Run one frontend
    Frontend(NodeArgs),
    /// Run one index node
    Index(NodeArgs),
    /// Run one data node
    Data(NodeArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the version
    Version,
}

impl Command {
    /// Whether it runs nodes, until it is stopped.
    pub fn serves(&self) -> bool {
        matches!(self, Command::Up(_) | Command::Frontend(_) | Command::Index(_) | Command::Data(_))
    }

    /// The option that says how long it waits for the store, and its value.
    pub fn patience(&self, store: &StoreArgs) -> (&'static str, Duration) {
        match self {
            Command::Flush(args) | Command::Compact(args) => ("--wait", args.wait),
            _ => ("--timeout", store.timeout),
        }
    }

    /// Threads of its runtime; 0: one for each core.
    pub fn threads(&self) -> usize {
        match self {
            Command::Up(args) if args.processes => 1,
            Command::Up(args) => args.threads,
            Command::Frontend(args) | Command::Index(args) | Command::Data(args) => args.threads,
            Command::Bench(args) => args.threads.max(1),
            _ => 1,
        }
    }
}

/// How results of one key look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Output {
    /// one JSON object
    Json,
}

/// Conditions of a write.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub struct ConditionArgs {
    /// Only if the key has no value
    #[arg(long)]
    pub if_absent: bool,
    /// Only if the key has a value
    #[arg(long)]
    pub if_present: bool,
    /// Only if the key has the value of this version
    #[arg(long, value_name = "VERSION")]
    pub if_version: Option<u64>,
}

/// `put`
#[derive(Args, Debug)]
pub struct PutArgs {
    /// The key: 1 to 4096 bytes
    pub key: OsString,
    /// The value: up to 1 MiB
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    pub value: Option<OsString>,
    /// Read the value, as it is, from a file, or from standard input (-)
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// The key is absent again after this time (10s, 5m, 2h, 7d)
    #[arg(long, value_parser = parse_duration)]
    pub ttl: Option<Duration>,
    #[command(flatten)]
    pub condition: ConditionArgs,
    #[command(flatten)]
    pub form: Form,
    /// Print the version of the write
    #[arg(long, short)]
    pub output: Option<Output>,
}

/// `get`
#[derive(Args, Debug)]
pub struct GetArgs {
    /// The key
    pub key: OsString,
    #[command(flatten)]
    pub form: Form,
    /// Print key, value and version
    #[arg(long, short)]
    pub output: Option<Output>,
}

/// `delete`
#[derive(Args, Debug)]
pub struct DeleteArgs {
    /// The key
    pub key: OsString,
    /// Only if the key has a value
    #[arg(long, conflicts_with = "if_version")]
    pub if_present: bool,
    /// Only if the key has the value of this version
    #[arg(long, value_name = "VERSION")]
    pub if_version: Option<u64>,
    #[command(flatten)]
    pub form: Form,
    /// Print the version of the write
    #[arg(long, short)]
    pub output: Option<Output>,
}

/// Which keys.
#[derive(Args, Debug)]
pub struct RangeArgs {
    /// Only keys that begin with this
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub prefix: Option<OsString>,
    /// From this key on
    #[arg(long)]
    pub from: Option<OsString>,
    /// Up to the key before this one
    #[arg(long)]
    pub to: Option<OsString>,
}

/// `scan`
#[derive(Args, Debug)]
pub struct ScanArgs {
    #[command(flatten)]
    pub range: RangeArgs,
    /// From the last key to the first
    #[arg(long)]
    pub reverse: bool,
    /// Rows at most
    #[arg(long)]
    pub limit: Option<u64>,
    /// Leave the values out
    #[arg(long)]
    pub keys_only: bool,
    #[command(flatten)]
    pub form: Form,
    /// How rows look
    #[arg(long, default_value = "tsv")]
    pub format: Format,
}

/// `batch`
#[derive(Args, Debug)]
pub struct BatchArgs {
    #[command(flatten)]
    pub form: Form,
    /// Print the version of the write
    #[arg(long, short)]
    pub output: Option<Output>,
}

/// `import`
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The file, or - for standard input
    pub file: PathBuf,
    /// The format; else by the file's name, else TSV
    #[arg(long)]
    pub format: Option<Format>,
    /// Leave the first lines out: what an earlier import has stored
    #[arg(long, default_value_t = 0, value_name = "LINES")]
    pub skip: u64,
    /// Batches on the way at once
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=512))]
    pub in_flight: u32,
    #[command(flatten)]
    pub form: Form,
    /// Say nothing on success
    #[arg(long, short)]
    pub quiet: bool,
}

/// `export`
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The file; else standard output
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub range: RangeArgs,
    /// The format; else by the file's name, else TSV
    #[arg(long)]
    pub format: Option<Format>,
    #[command(flatten)]
    pub form: Form,
    /// Say nothing on success
    #[arg(long, short)]
    pub quiet: bool,
}

/// How a status looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum StatusOutput {
    /// four lines
    Summary,
    /// every node and group
    Table,
    /// one JSON object
    Json,
}

/// `status`
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// How it looks
    #[arg(long, short, default_value = "summary")]
    pub output: StatusOutput,
    /// Again every second, until Ctrl-C
    #[arg(long, short)]
    pub watch: bool,
}

/// `flush`, `compact`
#[derive(Args, Debug)]
pub struct UpkeepArgs {
    /// Give up after this time; the store goes on all the same
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    pub wait: Duration,
}

/// `doctor`
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The directory of a store, or of one node
    pub dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `explain`
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The word in capitals; without one, all are listed
    pub reason: Option<String>,
}

/// `completions`
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn endpoints_are_a_list_and_each_reads_host_and_port() {
        let parse =
            |endpoint: &str| Cli::try_parse_from(["lamina", "get", "k", "--endpoint", endpoint]).unwrap();
        assert_eq!(parse("a:1,b:2").store.endpoint, ["a:1", "b:2"]);
        for bad in ["a", ":4700", "a:x", "a:0", "a:70000", "a:1,b"] {
            assert!(parse(bad).store.client().is_err(), "{bad}");
        }
    }
}
