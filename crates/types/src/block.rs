//! Where a data block lies.

use serde::{Deserialize, Serialize};

use crate::TableId;

/// The place of one data block in the data part of a table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct BlockHandle {
    /// The table.
    pub table: TableId,
    /// The first byte of the block in the file.
    pub offset: u64,
    /// The bytes of the block as stored, checksum included.
    pub length: u32,
    /// The number of the block in its table, counted from 0; its checksum is seeded with it.
    pub block: u32,
}

impl BlockHandle {
    /// The first byte after the block.
    pub const fn end(&self) -> u64 {
        self.offset + self.length as u64
    }
}
