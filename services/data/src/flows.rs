//! One module for each verb: ask the heart, use the hands, tell the heart.

pub(crate) mod compact;
pub(crate) mod copy;
pub(crate) mod delete;
pub(crate) mod doubt;
pub(crate) mod link;
pub(crate) mod list;
pub(crate) mod lookup_tail;
pub(crate) mod read_blocks;
pub(crate) mod read_file;
pub(crate) mod scrub;
pub(crate) mod seal;
pub(crate) mod write_table;
