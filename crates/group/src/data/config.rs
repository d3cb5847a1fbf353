//! The limits that apply uses. They are part of the replicated state, so that all replicas use the same.

use lamina_types::limits;
use serde::{Deserialize, Serialize};

/// What a data group is configured to. Given with the group, replaced as a whole by `SetConfig`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupConfig {
    /// Budget of all memtables of the group, in bytes. The leader rotates and flushes by it; apply does not use it.
    pub memtable_bytes: u64,
    /// Memory views of one tablet at which `RotateMemtable` is refused.
    pub immutables_max: u32,
    /// Copies that each table should have on data nodes.
    pub data_replication: u32,
    /// Snapshots that may be pinned at once.
    pub pins_max: u32,
    /// A pin may lie this far ahead of its entry's hint, in milliseconds.
    pub pin_ahead_ms: u64,
    /// A client token's base may lie this far ahead of the write's version, in milliseconds.
    pub token_ahead_ms: u64,
    /// A dedupe window remembers results at least this long, unless it is full, in milliseconds.
    pub dedupe_ms: u64,
    /// Results that a dedupe window remembers of one client token.
    pub open_requests_max: u32,
    /// Results that a dedupe window remembers in all. Above it, the oldest tokens are given up.
    pub dedupe_results_max: u32,
}

impl GroupConfig {
    /// Copies that must be sealed before a table may become live: more than half.
    pub const fn write_quorum(&self) -> u32 {
        self.data_replication / 2 + 1
    }
}

impl Default for GroupConfig {
    /// A group of a store with three data nodes.
    fn default() -> GroupConfig {
        GroupConfig {
            memtable_bytes: 192 << 20,
            immutables_max: 4,
            data_replication: 3,
            pins_max: 1024,
            pin_ahead_ms: limits::TOKEN_AHEAD_MS_MAX,
            token_ahead_ms: limits::TOKEN_AHEAD_MS_MAX,
            dedupe_ms: limits::DEDUPE_MS,
            open_requests_max: limits::OPEN_REQUESTS_MAX as u32,
            dedupe_results_max: 65_536,
        }
    }
}
