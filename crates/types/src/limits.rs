//! What a request may be at most. All are enforced at the door, none is ever silently clamped.

/// A key has 1 to this many bytes.
pub const KEY_BYTES_MAX: usize = 4096;
/// A value has 0 to this many bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Operations in one atomic batch.
pub const BATCH_OPS_MAX: usize = 1000;
/// Bytes of keys and values in one atomic batch.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// Keys in one `BatchGet`.
pub const BATCH_GET_KEYS_MAX: usize = 1000;
/// Rows in one page of a scan.
pub const SCAN_ROWS_MAX: u32 = 10_000;
/// Rows in a page when the caller names no limit.
pub const SCAN_ROWS_DEFAULT: u32 = 1000;
/// Bytes in one page of a scan.
pub const SCAN_BYTES_MAX: usize = 4 << 20;
/// Bytes in one chunk of a streamed scan.
pub const SCAN_CHUNK_BYTES: usize = 1 << 20;
/// The longest life of a snapshot, in milliseconds.
pub const SNAPSHOT_TTL_MS_MAX: u64 = 5 * 60 * 1000;
/// The longest deadline of a call, and the one of a call that names none, in milliseconds.
pub const DEADLINE_MS_MAX: u64 = 30_000;
/// The longest time to live of an entry, in milliseconds (100 years).
pub const TTL_MS_MAX: u64 = 100 * 365 * 24 * 3600 * 1000;
/// Bytes of one log entry.
pub const ENTRY_BYTES_MAX: usize = 8 << 20;
/// Open request ids of one client token in one tablet.
pub const OPEN_REQUESTS_MAX: usize = 1024;
/// A client token whose base lies this far ahead of the store's clock is refused, in milliseconds.
pub const TOKEN_AHEAD_MS_MAX: u64 = 60_000;
/// The dedupe window remembers results at least this long, in milliseconds.
pub const DEDUPE_MS: u64 = 15 * 60 * 1000;
/// Bytes of one message on the wire.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;
