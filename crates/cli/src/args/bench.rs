//! What can be typed behind `bench`.

use clap::Args;
use lamina_env::time::Duration;
use lamina_workload::{Distribution, Mix, Target};

use crate::figures::parse_duration;

/// `bench`
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// fill, overwrite, read-random, read-missing, scan, ycsb-a … ycsb-f, mixed
    #[arg(default_value = "mixed")]
    pub mix: Mix,
    /// lamina://host:port,…  grpc://… (unary calls)  etcd://…  redis://…; else --endpoint
    #[arg(long)]
    pub target: Option<Target>,
    /// Put all keys first
    #[arg(long)]
    pub fill: bool,
    /// Keys that are there
    #[arg(long, default_value_t = 100_000)]
    pub keys: u64,
    /// Bytes of a key
    #[arg(long, default_value_t = 16)]
    pub key_bytes: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 128)]
    pub value_bytes: usize,
    /// uniform, zipfian, latest; else uniform, and zipfian for YCSB
    #[arg(long)]
    pub distribution: Option<Distribution>,
    /// Rows of a scan
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub scan_rows: u32,
    /// Connections to the store
    #[arg(long, short, default_value_t = 1)]
    pub connections: u32,
    /// Operations on the way on each connection
    #[arg(long, short, default_value_t = 64)]
    pub in_flight: u32,
    /// Operations per second, whatever the store does (open loop); else as many as it takes
    #[arg(long)]
    pub rate: Option<f64>,
    /// End after this time; else 10s, if there is no number of operations
    #[arg(long, short, value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// End after so many operations
    #[arg(long, short = 'n')]
    pub operations: Option<u64>,
    /// What is measured in this time counts for nothing
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub warm_up: Duration,
    /// The same seed asks for the same keys
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Threads of the load generator
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
