//! Timings and limits of the log groups of one process.

use lamina_env::time::Duration;

/// How the log groups of a process behave. The defaults are those of research/openraft.md §4.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogOptions {
    /// Bytes of one segment of the shared log, allocated ahead.
    pub segment_bytes: u64,
    /// How often a leader tells its followers that it is there. Also the time limit of one such message.
    pub heartbeat: Duration,
    /// A follower that hears nothing for a time between these two campaigns; the upper one is also the time for
    /// which voters that hear their leader refuse to vote for another.
    pub election_min: Duration,
    /// See [`LogOptions::election_min`].
    pub election_max: Duration,
    /// Bytes of entries in one message to a follower; a single entry may be larger.
    pub append_bytes_max: usize,
    /// How long one message with entries, or one piece of a snapshot, may take.
    pub message_timeout: Duration,
    /// Bytes of one piece of a snapshot on its way to a follower.
    pub snapshot_piece_bytes: usize,
    /// Bytes of entries that each replica keeps in memory beyond those that it has not applied yet.
    pub cache_bytes: usize,
    /// A replica makes a checkpoint when its log since the last one has grown by this many bytes: twice the group's
    /// memtable budget (protocols §8.2).
    pub checkpoint_log_bytes: u64,
    /// When all segments together reach this, replicas that pin the oldest one make checkpoints too.
    pub log_bytes_max: u64,
    /// How long a leader keeps entries for a follower that is behind the last checkpoint.
    pub keep_for_followers: Duration,
    /// How long one leadership round may take.
    pub round_timeout: Duration,
    /// How long the writer waits between attempts to find room on a full disk.
    pub full_retry: Duration,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            segment_bytes: 64 << 20,
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(400),
            append_bytes_max: 1 << 20,
            message_timeout: Duration::from_secs(2),
            snapshot_piece_bytes: 512 << 10,
            cache_bytes: 32 << 20,
            checkpoint_log_bytes: 128 << 20,
            log_bytes_max: 1 << 30,
            keep_for_followers: Duration::from_secs(600),
            round_timeout: Duration::from_secs(2),
            full_retry: Duration::from_millis(200),
        }
    }
}
