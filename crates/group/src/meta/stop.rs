//! Why a replica cannot go on.

use lamina_types::LogIndex;

/// Why a replica of the meta group must stop (rule G3): going on could make its state differ from the others'.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MetaStop {
    /// The bytes are of a form that this program does not know.
    #[error("{what} has format {found}, this program knows {known} and older: run a newer version of Lamina")]
    Format {
        /// What was read.
        what: &'static str,
        /// Its format.
        found: u16,
        /// The newest format that is known here.
        known: u16,
    },
    /// The bytes are damaged, or of a newer program of the same format.
    #[error("{what} cannot be read: {why}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The level was raised above what this program supports.
    #[error(
        "the store was raised to level {to}, this program supports {highest}: run a newer version of Lamina"
    )]
    Level {
        /// The store's level.
        to: u16,
        /// The highest level that is supported here.
        highest: u16,
    },
    /// Entries came out of order: a defect.
    #[error("entry {index} came after entry {applied} was applied; this is a defect of Lamina")]
    Order {
        /// The entry.
        index: LogIndex,
        /// What was applied already.
        applied: LogIndex,
    },
}
