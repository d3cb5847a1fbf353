//! Frontends, index nodes and data nodes → data nodes. Files are immutable once sealed.

use bytes::Bytes;
use lamina_types::{BlockHandle, CopyStamp, GroupId, KeyRange, NodeId, Reign, TableId, TabletId, Version};
use serde::{Deserialize, Serialize};

use crate::index::{LookedUp, Lookup, Seek, Sought};

crate::port::port! {
    /// A data node.
    DataPeer: DataRequest => DataAnswer {
        WriteTable => TableWritten,
        ReadBlocks => BlocksRead,
        Lookup => LookedUp,
        Seek => Sought,
        ReadTail => TailRead,
        ReadFile => FileRead,
        CopyTable => TableSealed,
        LinkTable => TableSealed,
        DeleteTables => TablesDeleted,
        DropCopy => TablesDeleted,
        ListTables => TablesListed,
        Compact => JobState,
        JobProgress => JobState,
        CancelJob => JobState,
        DataStat => DataStats,
        VerifyTable => TableVerified,
    }
}

/// One piece of a new table. Pieces of one (table, stamp) come in order, one at a time; a piece at offset 0 begins
/// anew. The piece with `seal` is the last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WriteTable {
    /// The new table.
    pub table: TableId,
    /// The stamp of this copy.
    pub stamp: CopyStamp,
    /// Where the piece begins in the file.
    pub offset: u64,
    /// The piece.
    pub bytes: Bytes,
    /// What the whole file must be, to be sealed.
    pub seal: Option<Seal>,
}

/// What a whole file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seal {
    /// Its length.
    pub file_bytes: u64,
    /// The crc32 of its footer.
    pub footer_crc: u32,
}

/// How far the file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableWritten {
    /// Bytes received in order.
    pub received: u64,
    /// The file is durable under its name.
    pub sealed: bool,
}

/// A sealed copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableSealed {
    /// The stamp that the copy has now: at least the one asked for.
    pub stamp: CopyStamp,
}

/// Reads blocks as stored, checksums included; the receiver verifies them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReadBlocks {
    /// The blocks.
    pub blocks: Vec<BlockHandle>,
}

/// The blocks in the order of the request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlocksRead {
    /// One for each handle.
    pub blocks: Vec<BlockRead>,
}

/// One block.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BlockRead {
    /// The bytes as stored.
    Stored(Bytes),
    /// The table is not here.
    TableNotFound,
    /// The disk could not read it.
    Unreadable,
}

/// Reads the index part from the tail of a file, in pieces ([`crate::pieces`]).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReadTail {
    /// The table.
    pub table: TableId,
    /// Where the piece begins in the index part.
    pub offset: u64,
}

/// A piece of the index part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TailRead {
    /// The bytes from the asked offset on; the checksum is in the last ones.
    pub index_part: Bytes,
    /// The bytes of the whole index part.
    pub part_bytes: u64,
}

impl TailRead {
    /// As [`crate::pieces::join`] takes it.
    pub fn into_piece(self) -> crate::pieces::Piece {
        (self.index_part, self.part_bytes)
    }
}

/// Reads a whole table from the disk and verifies every checksum. Damage: `DATA_LOSS`, and the copy is listed as
/// damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VerifyTable {
    /// The table.
    pub table: TableId,
}

/// Every byte of the table is what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableVerified {}

/// Reads a stretch of a sealed file, for copies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReadFile {
    /// The table.
    pub table: TableId,
    /// The first byte.
    pub offset: u64,
    /// Bytes at most.
    pub length: u32,
}

/// A stretch of a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileRead {
    /// The bytes; fewer than asked only at the end.
    pub bytes: Bytes,
    /// The length of the whole file.
    pub file_bytes: u64,
}

/// Makes a copy here, read from another data node and verified block by block.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CopyTable {
    /// The table.
    pub table: TableId,
    /// The stamp of the new copy.
    pub stamp: CopyStamp,
    /// Whom to read from, first to last.
    pub from: Vec<CopySource>,
    /// The copy that is here is damaged: replace it.
    pub replace: bool,
}

/// A node that has a copy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CopySource {
    /// The node.
    pub node: NodeId,
    /// Where it answers.
    pub address: String,
}

/// Gives the bytes of `old` a second name; both stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LinkTable {
    /// The table that is here.
    pub old: TableId,
    /// Its second name.
    pub new: TableId,
    /// The stamp of the copy under the new name.
    pub stamp: CopyStamp,
}

/// Deletes tables, whatever their stamps. What is not here counts as deleted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeleteTables {
    /// The tables.
    pub tables: Vec<TableId>,
}

/// Deletes one copy unless its stamp is higher than `up_to`: then `STAMP_TOO_HIGH`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DropCopy {
    /// The table.
    pub table: TableId,
    /// The highest stamp that may be deleted.
    pub up_to: CopyStamp,
}

/// The tables are gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TablesDeleted {
    /// How many were here.
    pub deleted: u64,
}

/// Lists sealed tables of a group in the order of their ids.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListTables {
    /// The group.
    pub group: GroupId,
    /// Begin behind this one.
    pub after: Option<TableId>,
    /// Tables at most.
    pub limit: u32,
}

/// Tables of a group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TablesListed {
    /// The tables, by id.
    pub tables: Vec<ListedTable>,
    /// There are more.
    pub more: bool,
}

/// One sealed table on a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListedTable {
    /// The table.
    pub table: TableId,
    /// The stamp of the copy.
    pub stamp: CopyStamp,
    /// The bytes of the file.
    pub file_bytes: u64,
    /// Every block of this copy was read and its checksum verified since the process began.
    pub verified: bool,
    /// The node has found damage in this copy: it is to be replaced ([`CopyTable::replace`]).
    pub damaged: bool,
}

/// Merges tables next to the data. Accepted at once; ask for progress to keep it going.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Compact {
    /// The job's name.
    pub job: JobId,
    /// The tablet that the outputs belong to.
    pub tablet: TabletId,
    /// Outputs are clipped to this range.
    pub range: KeyRange,
    /// Runs of inputs, newest first; each run's views ascending.
    pub inputs: Vec<Vec<CompactionInput>>,
    /// Versions above it are all kept.
    pub floor: Version,
    /// Nothing lies below: tombstones may be dropped.
    pub bottom: bool,
    /// Names of outputs, to be used from the front.
    pub outputs: Vec<CompactionOutput>,
    /// How outputs are built.
    pub build: TableBuild,
}

/// Names a job: its leader's reign and a number that the leader's process counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct JobId {
    /// The group.
    pub group: GroupId,
    /// The leader's reign; a job of a lower one than the highest seen is stopped.
    pub reign: Reign,
    /// Counted by the leader's process.
    pub n: u32,
}

/// One input of a job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CompactionInput {
    /// The table.
    pub table: TableId,
    /// Under which name its checksums were seeded.
    pub origin: TableId,
    /// Only these keys of it count.
    pub range: KeyRange,
    /// Who has copies, for a node that does not.
    pub copies: Vec<CopySource>,
}

/// The name of one output and where its copies go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CompactionOutput {
    /// The new table.
    pub table: TableId,
    /// Its copies.
    pub targets: Vec<CopyTarget>,
}

/// Where a copy goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CopyTarget {
    /// The node.
    pub node: NodeId,
    /// Where it answers.
    pub address: String,
    /// The stamp of the copy.
    pub stamp: CopyStamp,
}

/// How tables are built.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableBuild {
    /// Bytes of a data block before compression.
    pub block_bytes: u32,
    /// Bytes of a table at which the next one begins.
    pub table_bytes: u64,
    /// The codec of blocks.
    pub codec: BlockCodec,
    /// Copies that must be sealed before a table counts as written.
    pub write_quorum: u32,
    /// The table goes into the last run, where most keys are: the filter may be the smallest.
    pub last_run: bool,
    /// What outputs note as their level, by which later compactions are picked.
    pub level: u8,
}

/// The codec of data blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BlockCodec {
    /// As they are.
    Plain,
    /// Fast.
    Lz4,
    /// Small.
    Zstd,
}

/// Asks a job how far it is. A job that nobody asks for 30 seconds stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobProgress {
    /// The job.
    pub job: JobId,
}

/// Stops a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CancelJob {
    /// The job.
    pub job: JobId,
}

/// How far a job is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum JobState {
    /// It waits or works.
    Running {
        /// Bytes of inputs read.
        read_bytes: u64,
        /// Bytes of inputs in all.
        input_bytes: u64,
    },
    /// It is done: every output is sealed at its write quorum.
    Done {
        /// What was written, ascending by keys.
        outputs: Vec<WrittenTable>,
    },
    /// It failed; nothing of it counts.
    Failed {
        /// Why, for the log.
        why: String,
        /// An input that no copy could give intact, if that is why.
        damaged: Option<TableId>,
    },
    /// The node knows no such job (it was stopped, or the node restarted).
    Unknown,
}

/// A table that was written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WrittenTable {
    /// The table.
    pub table: TableId,
    /// Where it is sealed.
    pub copies: Vec<(NodeId, CopyStamp)>,
    /// Its index part, to be installed. Empty if the parts of all outputs do not fit into one message: then it is
    /// read from a copy.
    pub index_part: Bytes,
    /// The length of the file.
    pub file_bytes: u64,
    /// The crc32 of its footer.
    pub footer_crc: u32,
}

/// Asks for figures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DataStat {}

/// Figures of a data node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DataStats {
    /// Sealed tables.
    pub tables: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Room on the volume.
    pub free_bytes: u64,
    /// The size of the volume.
    pub total_bytes: u64,
    /// Blocks read for others since the start.
    pub blocks_read: u64,
    /// Blocks whose checksum did not hold, since the start.
    pub blocks_damaged: u64,
    /// Bytes of inputs that jobs have read since the start.
    pub compacted_bytes: u64,
    /// Jobs under way.
    pub jobs: u64,
    /// Blocks that the scrubber has verified since the start.
    pub scrubbed_blocks: u64,
    /// Copies in which damage was found since the start: when it rises, [`ListTables`] names a copy to be replaced.
    pub damage_found: u64,
}
