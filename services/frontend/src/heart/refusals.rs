//! What a client is told when the log of a group did not take its write.

use lamina_types::{Error, Reason};

/// The log's volume is full.
pub fn disk_full() -> Error {
    Error::new(
        Reason::DiskFull,
        "the disk of the leader's log is full: nothing was written; reads go on, and writes do when there is room",
    )
    .retry_after_ms(1_000)
}

/// Nobody knows whether the write was done.
pub fn outcome_unknown() -> Error {
    Error::new(
        Reason::OutcomeUnknown,
        "leadership was lost before the result was seen: the write may or may not have been done; \
         repeat it with the same request id",
    )
}
