//! What can be typed behind the commands that run nodes.

use std::path::PathBuf;

use clap::Args;

use crate::figures::parse_bytes;

/// `up`
#[derive(Args, Debug)]
pub struct UpArgs {
    /// The directory of the store; made if it is not there
    #[arg(long, default_value = "./lamina-data")]
    pub dir: PathBuf,
    /// Where clients connect; the status page is 80 ports above
    #[arg(long, default_value = "127.0.0.1:4700")]
    pub listen: std::net::SocketAddr,
    /// Run each node as a process of its own
    #[arg(long)]
    pub processes: bool,
    /// A StorageCluster as `kubectl apply` takes it, for the shape of a new store and its memory (`-`: standard input)
    #[arg(short, long, value_name = "FILE", conflicts_with_all = [
        "frontends", "index_nodes", "data_nodes", "memtables", "cache", "index_memory",
    ])]
    pub file: Option<PathBuf>,
    /// Frontends of a new store
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub frontends: u32,
    /// Index nodes of a new store
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub index_nodes: u32,
    /// Data nodes of a new store
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub data_nodes: u32,
    /// Memtables of a new store, for each group
    #[arg(long, default_value = "192MiB", value_parser = parse_bytes)]
    pub memtables: u64,
    /// Block cache of each frontend
    #[arg(long, default_value = "128MiB", value_parser = parse_bytes)]
    pub cache: u64,
    /// Index parts on each index node, at most
    #[arg(long, default_value = "1GiB", value_parser = parse_bytes)]
    pub index_memory: u64,
    /// Threads; 0: one for each core
    #[arg(long, default_value_t = 0, hide = true)]
    pub threads: usize,
    /// Bytes of one segment of each frontend's log, allocated ahead
    #[arg(long, default_value = "64MiB", value_parser = parse_bytes, hide = true)]
    pub log_segment: u64,
    /// For tests that kill the process: bytes reach files at syncs only, and all volumes are held in memory
    #[arg(long, hide = true, conflicts_with = "processes")]
    pub unsynced: bool,
}

/// `frontend`, `index`, `data`
#[derive(Args, Debug)]
pub struct NodeArgs {
    /// The node's name, unique in the store (frontend-0)
    #[arg(long)]
    pub name: String,
    /// The node's volume (an index node keeps nothing there)
    #[arg(long)]
    pub dir: PathBuf,
    /// Where it listens for calls
    #[arg(long)]
    pub listen: String,
    /// Where /live, /ready and /metrics are served
    #[arg(long)]
    pub admin_listen: Option<String>,
    /// Where others reach it; else the address of --listen
    #[arg(long)]
    pub advertise: Option<String>,
    /// Addresses of frontends (host:port), separated by commas
    #[arg(long, value_delimiter = ',', required = true)]
    pub seeds: Vec<String>,
    /// The failure domain of the node
    #[arg(long, default_value = "")]
    pub zone: String,
    /// Frontends: block cache (128MiB); index nodes: index parts (1GiB)
    #[arg(long, value_parser = parse_bytes)]
    pub memory: Option<u64>,
    /// Threads; 0: one for each core
    #[arg(long, default_value_t = 0, hide = true)]
    pub threads: usize,
    /// Bytes of one segment of a frontend's log, allocated ahead
    #[arg(long, default_value = "64MiB", value_parser = parse_bytes, hide = true)]
    pub log_segment: u64,
    /// A replica makes a checkpoint when its log has grown by so many bytes
    #[arg(long, default_value = "128MiB", value_parser = parse_bytes, hide = true)]
    pub checkpoint_log: u64,
    /// End when standard input is closed, as under `up --processes`
    #[arg(long, hide = true)]
    pub end_with_parent: bool,
}
