//! Tables: immutable files of data blocks, the index part in their tail, a footer. Byte format:
//! `docs/formats/table.md`.
//!
//! [`TableBuilder`] takes entries in order and gives blocks away as they become complete, so that a table is
//! streamed out while it is built. A reader of a file takes the last [`FOOTER_BYTES`], [`Footer::parse`]s them,
//! reads the index section that the footer names and gives it to [`Footer::open_index`].

pub mod builder;
pub mod footer;
#[cfg(test)]
mod tests;

use lamina_types::{TableId, TabletId};

pub use builder::{BuildError, BuiltTable, TableBuilder};
pub use footer::{FOOTER_BYTES, Footer, Section};

use crate::block::codec::Codec;
use crate::filter::FilterKind;

/// The bytes of a data block before compression at which the next one is begun.
pub const BLOCK_BYTES_DEFAULT: usize = 16 << 10;

/// What a table is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableSpec {
    /// Its id, which is also its origin for ever.
    pub id: TableId,
    /// The tablet that it is made for.
    pub tablet: TabletId,
    /// Where in the tree it is meant to stand, 0 for a flush. Only for rebuilding a store from its tables.
    pub level: u8,
    /// A block is closed before it grows above this many bytes, uncompressed; one entry always fits.
    pub block_bytes: usize,
    /// How blocks are compressed.
    pub codec: Codec,
    /// What filter it gets.
    pub filter: FilterKind,
}

impl TableSpec {
    /// A table of a flush, with the defaults.
    pub fn new(id: TableId, tablet: TabletId) -> TableSpec {
        TableSpec {
            id,
            tablet,
            level: 0,
            block_bytes: BLOCK_BYTES_DEFAULT,
            codec: Codec::default(),
            filter: FilterKind::default(),
        }
    }
}
