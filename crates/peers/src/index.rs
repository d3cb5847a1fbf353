//! Frontend → index node, and index node → peer replica. Keys begin with their keyspace.
//!
//! An index node knows nothing of versions: candidates come from the reader's own view, and a part that is not
//! there is named (invariant X1). A version in a request only picks the block among those of one key.

use bytes::Bytes;
use lamina_types::{BlockHandle, Epoch, KeyRange, ShardId, TableId, Version};
use serde::{Deserialize, Serialize};

crate::port::port! {
    /// An index node.
    IndexPeer: IndexRequest => IndexAnswer {
        Lookup => LookedUp,
        Seek => Sought,
        Install => Installed,
        Release => Released,
        FetchParts => PartsFetched,
        IndexStat => IndexStats,
        InstallPiece => Installed,
        FetchPiece => PieceFetched,
    }
}

/// For each key, which blocks of its candidate tables may hold it. Also asked of data nodes, which answer from the
/// tails of their files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lookup {
    /// Lists of candidate tables, newest first, each used by many keys.
    pub candidates: Vec<Vec<TableId>>,
    /// The keys.
    pub keys: Vec<LookupKey>,
}

/// One key to look up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LookupKey {
    /// The position of its list in `candidates`.
    pub candidates: u32,
    /// The key.
    pub key: Bytes,
    /// The version at which is read: where one key has versions in several blocks, it says which block is meant.
    pub at: Version,
}

/// What was found, in the order of the keys.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LookedUp {
    /// One list for each key: the candidates in order, without those whose filter says no.
    pub keys: Vec<Vec<Candidate>>,
}

/// What is known of a key in one table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Candidate {
    /// The one block that holds the newest version of the key at or below the asked one, if the table has it.
    Block(BlockHandle),
    /// The index part of this table is not resident here.
    Missing(TableId),
}

/// Runs of consecutive blocks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seek {
    /// What to seek.
    pub seeks: Vec<SeekRange>,
}

/// One run of blocks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SeekRange {
    /// The table.
    pub table: TableId,
    /// The keys that the blocks may hold.
    pub range: KeyRange,
    /// From the last block to the first.
    pub reverse: bool,
    /// Blocks at most.
    pub limit: u32,
}

/// The runs, in the order of the request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sought {
    /// One for each range.
    pub runs: Vec<SoughtRun>,
}

/// One run of blocks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SoughtRun {
    /// The blocks in the order of the scan.
    Blocks {
        /// The blocks.
        handles: Vec<BlockHandle>,
        /// There are no further blocks in the range.
        exhausted: bool,
    },
    /// The index part of the table is not resident here.
    Missing,
}

/// Takes index parts into memory. A part that is there already stays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Install {
    /// The shard that needs them.
    pub shard: ShardId,
    /// The parts.
    pub parts: Vec<Part>,
}

/// One index part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Part {
    /// The table's name, which need not be the origin in the bytes.
    pub table: TableId,
    /// The part as the table builder made it.
    pub bytes: Bytes,
}

/// Takes one index part into memory that does not fit into a message, piece by piece ([`crate::pieces`]). The last
/// piece installs it. A piece that came before changes nothing; one that leaves a gap is refused, begin again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InstallPiece {
    /// The shard that needs the part.
    pub shard: ShardId,
    /// The table's name.
    pub table: TableId,
    /// The bytes of the whole part.
    pub part_bytes: u64,
    /// Where the piece begins.
    pub offset: u64,
    /// The piece.
    pub bytes: Bytes,
}

/// The parts are resident; of a part in pieces: the piece was taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Installed {
    /// This node has every part of the shard (it is not loading): the caller may wait for it again.
    pub complete: bool,
    /// The highest map epoch that the node knows.
    pub epoch: Epoch,
}

/// Gives index parts up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Release {
    /// The shard that needs them no more.
    pub shard: ShardId,
    /// The tables.
    pub tables: Vec<TableId>,
}

/// The parts are gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Released {}

/// Asks a peer replica for parts. One with more than [`crate::pieces::PIECE_BYTES`] is asked for with [`FetchPiece`];
/// here it counts as not resident.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FetchParts {
    /// The tables; the answer holds as many from the front as fit in a message.
    pub tables: Vec<TableId>,
}

/// Asks a peer replica for a piece of a large part. Not resident: `NOT_FOUND`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FetchPiece {
    /// The table.
    pub table: TableId,
    /// Where the piece begins in the part.
    pub offset: u64,
}

/// A piece of a part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PieceFetched {
    /// The bytes from the asked offset on.
    pub bytes: Bytes,
    /// The bytes of the whole part.
    pub part_bytes: u64,
}

/// Parts from the front of the list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartsFetched {
    /// Resident parts.
    pub parts: Vec<Part>,
    /// Tables that are not resident.
    pub missing: Vec<TableId>,
    /// How many tables from the front of the request are answered, resident or not.
    pub answered: u32,
}

/// Asks for figures.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IndexStat {}

/// Figures of an index node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IndexStats {
    /// Parts in memory.
    pub tables: u64,
    /// Their exact bytes.
    pub memory_bytes: u64,
    /// The limit.
    pub memory_bytes_max: u64,
    /// Shards and whether they are complete.
    pub shards: Vec<ShardStat>,
    /// Keys looked up since the start.
    pub lookups: u64,
    /// Candidates asked whose filter said no.
    pub filtered: u64,
    /// Candidates that were missing.
    pub missing: u64,
}

/// Figures of one shard on one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShardStat {
    /// The shard.
    pub shard: ShardId,
    /// Parts in memory.
    pub tables: u64,
    /// Their bytes.
    pub memory_bytes: u64,
    /// Every live part is there.
    pub complete: bool,
}
