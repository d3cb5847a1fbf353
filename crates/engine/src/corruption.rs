//! Bytes that are not what was written.

use lamina_types::{Error, Reason, TableId};

/// Stored or received bytes do not have the form, or the checksum, that they should have.
///
/// Every decoder of this crate answers damaged, truncated or forged bytes with it. None panics, and none
/// allocates by a length that it has not bounded before.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", self.describe())]
pub struct Corruption {
    /// What is wrong with which part of a format. Never bytes of keys or values.
    pub what: &'static str,
    /// The origin of the table, where it is known.
    pub table: Option<TableId>,
    /// The number of the block, if a block is damaged.
    pub block: Option<u32>,
}

impl Corruption {
    /// Damage in something that does not know its table (yet).
    pub const fn new(what: &'static str) -> Corruption {
        Corruption { what, table: None, block: None }
    }

    /// Damage in a part of a table other than a data block.
    pub const fn in_table(what: &'static str, table: TableId) -> Corruption {
        Corruption { what, table: Some(table), block: None }
    }

    /// Damage in a data block.
    pub const fn in_block(what: &'static str, origin: TableId, block: u32) -> Corruption {
        Corruption { what, table: Some(origin), block: Some(block) }
    }

    fn describe(&self) -> String {
        match (self.table, self.block) {
            (Some(table), Some(block)) => format!("block {block} of table {table} is damaged: {}", self.what),
            (Some(table), None) => format!("table {table} is damaged: {}", self.what),
            _ => format!("damaged bytes: {}", self.what),
        }
    }
}

impl From<Corruption> for Error {
    fn from(corruption: Corruption) -> Error {
        Error::new(Reason::DataLoss, corruption.to_string())
    }
}
