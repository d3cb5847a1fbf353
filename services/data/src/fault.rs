//! What the operating system says, as what a caller may do about it.

use std::io;

use lamina_types::{Error, Reason, TableId};

/// A failure of the disk while it did `what`.
pub(crate) fn disk(what: &str, error: &io::Error) -> Error {
    let reason = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Reason::DiskFull
        }
        // Not a defect of ours and not damage of the bytes: another node, or another moment, may do better.
        _ => Reason::NotReady,
    };
    Error::new(reason, format!("cannot {what}: {error}"))
}

/// The table is not sealed on this node.
pub(crate) fn not_here(table: TableId) -> Error {
    Error::new(Reason::TableNotFound, format!("table {table} is not on this node; try another copy"))
}

/// The node goes down while the work is under way.
pub(crate) fn stopping() -> Error {
    Error::new(Reason::NotReady, "the data node is stopping; the outcome will show when it is back")
}

/// The table is here under other bytes: a defect somewhere (T1).
pub(crate) fn conflict(table: TableId) -> Error {
    Error::new(
        Reason::TableConflict,
        format!("table {table} is sealed here with other bytes; nothing was overwritten"),
    )
}

/// A step panicked.
pub(crate) fn defect(error: &dyn std::error::Error) -> Error {
    Error::new(Reason::Bug, format!("a step of the data node failed in a way that it never should: {error}"))
}
