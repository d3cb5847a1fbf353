//! What a walk lacks: answers of the index service, blocks of the data service.

use lamina_types::{BlockHandle, KeyRange, TableId};

/// What has to be fetched before the walk can go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Need {
    /// From the index service: consecutive handles.
    Handles(HandleRequest),
    /// From the data service: consecutive blocks of one table.
    Blocks(Vec<BlockHandle>),
}

/// Asks for the handles of the blocks of `table` that may hold keys of `range`, in the order of the walk.
///
/// The answer has `limit` handles, or fewer if there are no more; a shorter answer with more to come would make a
/// walk over a key with very many versions ask for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HandleRequest {
    /// The table.
    pub table: TableId,
    /// The keys.
    pub range: KeyRange,
    /// From the highest block down.
    pub reverse: bool,
    /// How many handles at most.
    pub limit: u32,
}
