//! Data nodes.

use lamina_peers::data::{
    BlockCodec, BlockRead, BlocksRead, CancelJob, Compact, CompactionInput, CompactionOutput, CopySource,
    CopyTable, CopyTarget, DataAnswer, DataRequest, DataStat, DataStats, DeleteTables, DropCopy, FileRead,
    JobId, JobProgress, JobState, LinkTable, ListTables, ListedTable, ReadBlocks, ReadFile, ReadTail, Seal,
    TableBuild, TableSealed, TableVerified, TableWritten, TablesDeleted, TablesListed, TailRead, VerifyTable,
    WriteTable, WrittenTable,
};
use lamina_types::{CopyStamp, NodeId, Result};

use super::{Twin, enum_twins, in_field, no_form, port_twins, twins};
use crate::data;

twins! {
    WriteTable => data::WriteTableRequest { table, stamp, offset, bytes, seal }
    Seal => data::Seal { file_bytes, footer_crc }
    TableWritten => data::WriteTableResponse { received, sealed }
    TableSealed => data::TableSealed { stamp }
    ReadBlocks => data::ReadBlocksRequest { blocks }
    BlocksRead => data::ReadBlocksResponse { blocks }
    ReadTail => data::ReadTailRequest { table, offset }
    TailRead => data::ReadTailResponse { index_part, part_bytes }
    VerifyTable => data::VerifyTableRequest { table }
    TableVerified => data::VerifyTableResponse {}
    ReadFile => data::ReadFileRequest { table, offset, length }
    FileRead => data::ReadFileResponse { bytes, file_bytes }
    CopyTable => data::CopyTableRequest { table, stamp, from, replace }
    CopySource => data::CopySource { node, address }
    LinkTable => data::LinkTableRequest { old, new, stamp }
    DeleteTables => data::DeleteTablesRequest { tables }
    DropCopy => data::DropCopyRequest { table, up_to }
    TablesDeleted => data::TablesDeleted { deleted }
    ListTables => data::ListTablesRequest { group, after, limit }
    TablesListed => data::ListTablesResponse { tables, more }
    ListedTable => data::ListedTable { table, stamp, file_bytes, verified, damaged }
    Compact => data::CompactRequest { job, tablet, range, inputs, floor, bottom, outputs, build }
    JobId => data::JobId { group, reign, n }
    CompactionInput => data::CompactionInput { table, origin, range, copies }
    CompactionOutput => data::CompactionOutput { table, targets }
    CopyTarget => data::CopyTarget { node, address, stamp }
    TableBuild => data::TableBuild { block_bytes, table_bytes, codec, write_quorum, last_run, level }
    JobProgress => data::JobProgressRequest { job }
    CancelJob => data::CancelJobRequest { job }
    WrittenTable => data::WrittenTable { table, copies, index_part, file_bytes, footer_crc }
    DataStat => data::DataStatRequest {}
    DataStats => data::DataStatResponse {
        tables, file_bytes, free_bytes, total_bytes, blocks_read, blocks_damaged, compacted_bytes, jobs,
        scrubbed_blocks, damage_found,
    }
}

enum_twins!(BlockCodec => data::BlockCodec { Plain, Lz4, Zstd });

port_twins!(DataRequest, DataAnswer => data::op::Request, data::answer::Answer {
    WriteTable, ReadBlocks, Lookup, Seek, ReadTail, ReadFile, CopyTable, LinkTable, DeleteTables, DropCopy,
    ListTables, Compact, JobProgress, CancelJob, DataStat, VerifyTable,
});

impl Twin<data::BlockRead> for BlockRead {
    fn into_wire(self) -> data::BlockRead {
        let block = match self {
            BlockRead::Stored(bytes) => data::block_read::Block::Stored(bytes),
            BlockRead::TableNotFound => data::block_read::Block::TableNotFound(true),
            BlockRead::Unreadable => data::block_read::Block::Unreadable(true),
        };
        data::BlockRead { block: Some(block) }
    }
    fn from_wire(wire: data::BlockRead) -> Result<BlockRead> {
        match wire.block {
            Some(data::block_read::Block::Stored(bytes)) => Ok(BlockRead::Stored(bytes)),
            Some(data::block_read::Block::TableNotFound(_)) => Ok(BlockRead::TableNotFound),
            Some(data::block_read::Block::Unreadable(_)) => Ok(BlockRead::Unreadable),
            None => no_form(),
        }
    }
}

impl Twin<data::CompactionRun> for Vec<CompactionInput> {
    fn into_wire(self) -> data::CompactionRun {
        data::CompactionRun { inputs: self.into_wire() }
    }
    fn from_wire(wire: data::CompactionRun) -> Result<Vec<CompactionInput>> {
        Twin::from_wire(wire.inputs)
    }
}

impl Twin<data::SealedCopy> for (NodeId, CopyStamp) {
    fn into_wire(self) -> data::SealedCopy {
        data::SealedCopy { node: self.0.into_wire(), stamp: self.1.into_wire() }
    }
    fn from_wire(wire: data::SealedCopy) -> Result<(NodeId, CopyStamp)> {
        Ok((
            Twin::from_wire(wire.node).map_err(in_field("node"))?,
            Twin::from_wire(wire.stamp).map_err(in_field("stamp"))?,
        ))
    }
}

impl Twin<data::JobState> for JobState {
    fn into_wire(self) -> data::JobState {
        use data::job_state::State;
        let state = match self {
            JobState::Running { read_bytes, input_bytes } => {
                State::Running(data::JobRunning { read_bytes, input_bytes })
            }
            JobState::Done { outputs } => State::Done(data::JobDone { outputs: outputs.into_wire() }),
            JobState::Failed { why, damaged } => {
                State::Failed(data::JobFailed { why, damaged: damaged.into_wire() })
            }
            JobState::Unknown => State::Unknown(true),
        };
        data::JobState { state: Some(state) }
    }
    fn from_wire(wire: data::JobState) -> Result<JobState> {
        use data::job_state::State;
        match wire.state {
            Some(State::Running(data::JobRunning { read_bytes, input_bytes })) => {
                Ok(JobState::Running { read_bytes, input_bytes })
            }
            Some(State::Done(done)) => Twin::from_wire(done.outputs)
                .map(|outputs| JobState::Done { outputs })
                .map_err(in_field("outputs")),
            Some(State::Failed(failed)) => {
                Ok(JobState::Failed { why: failed.why, damaged: Twin::from_wire(failed.damaged)? })
            }
            Some(State::Unknown(_)) => Ok(JobState::Unknown),
            None => no_form(),
        }
    }
}
