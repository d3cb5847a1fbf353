//! The part of a job that keeps a processor busy: decode, merge, build. Runs in turns beside the tasks.

use bytes::Bytes;
use lamina_engine::block::Block;
use lamina_engine::corruption::Corruption;
use lamina_engine::entry::Entry;
use lamina_engine::merge::{Cutter, DropRules, Merge, MergeInput, MergeStep, Need, ReadAhead};
use lamina_engine::table::{BuildError, BuiltTable, TableBuilder, TableSpec};
use lamina_engine::{Codec, FilterKind};
use lamina_peers::data::{BlockCodec, Compact, TableBuild};
use lamina_types::{BlockHandle, TableId, TabletId};

/// Bytes of keys and values after which a turn ends: a few milliseconds of work.
const TURN_BYTES: usize = 1 << 20;

/// One fetched block whose checksum holds.
pub(super) struct Fed {
    pub handle: BlockHandle,
    pub origin: TableId,
    pub stored: Bytes,
}

/// What one turn brought.
pub(super) struct Turn {
    /// The number of the output that `data` belongs to.
    pub table: usize,
    /// Blocks that are complete, in the order of the file.
    pub data: Vec<Bytes>,
    /// What comes next.
    pub next: Next,
}

/// What a job does after a turn.
pub(super) enum Next {
    /// Fetch these and feed them to the next turn.
    Need(Vec<BlockHandle>),
    /// Just go on.
    More,
    /// A table is complete.
    TableDone(Box<Built>),
    /// There is nothing left.
    Done,
}

/// A table that is complete.
pub(super) struct Built {
    /// The number of the output.
    pub output: usize,
    /// What was not taken of it before.
    pub table: BuiltTable,
}

/// Why the merge cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    /// A block whose checksum holds is no block: it was written so.
    #[error("input {0}: {1}")]
    Damaged(TableId, Corruption),
    /// The job's names are used up.
    #[error("the outputs need more tables than the job has names for")]
    OutOfNames,
    /// A defect of ours.
    #[error("an output cannot be built: {0}")]
    Build(#[from] BuildError),
    /// A defect of ours.
    #[error("the merge asks for handles, which it was given all")]
    AskedForHandles,
}

/// A merge with its outputs.
pub(super) struct Work {
    merge: Merge,
    cutter: Cutter,
    names: Vec<TableId>,
    tablet: TabletId,
    build: TableBuild,
    /// The table in work, if one is.
    table: Option<TableBuilder>,
    /// The number of the table in work, or of the next one.
    output: usize,
    /// The entry with which the next table begins.
    held: Option<Entry>,
}

impl Work {
    /// The job's merge over its inputs.
    pub fn new(request: &Compact, runs: Vec<Vec<MergeInput>>) -> Work {
        let rules = DropRules { floor: request.floor, bottom: request.bottom };
        Work {
            merge: Merge::new(Vec::new(), runs, rules, ReadAhead::MERGE),
            cutter: Cutter::new(request.build.table_bytes),
            names: request.outputs.iter().map(|output| output.table).collect(),
            tablet: request.tablet,
            build: request.build,
            table: None,
            output: 0,
            held: None,
        }
    }

    /// Merges until something is needed, a table is complete, or it is somebody else's turn.
    pub fn turn(&mut self, fed: Vec<Fed>) -> Result<Turn, WorkError> {
        for fed in fed {
            let block = Block::decode(fed.stored, fed.origin, fed.handle.block);
            let block = block.map_err(|corruption| WorkError::Damaged(fed.handle.table, corruption))?;
            self.merge.feed_block(fed.handle, block);
        }
        let output = self.output;
        let next = self.advance()?;
        let data = self.table.as_mut().map(TableBuilder::take_data).unwrap_or_default();
        Ok(Turn { table: output, data, next })
    }

    fn advance(&mut self) -> Result<Next, WorkError> {
        let mut done = 0;
        if let Some(entry) = self.held.take() {
            self.add(entry)?;
        }
        while done < TURN_BYTES {
            let entry = match self.merge.step() {
                MergeStep::Entry(entry) => entry,
                MergeStep::Need(needs) => return blocks(needs).map(Next::Need),
                MergeStep::Done => return Ok(self.finish()?.map_or(Next::Done, Next::TableDone)),
            };
            done += entry.bytes();
            let table_bytes = self.table.as_ref().map_or(0, TableBuilder::data_bytes);
            if self.cutter.cuts_before(&entry.key, table_bytes)
                && let Some(built) = self.finish()?
            {
                self.held = Some(entry);
                return Ok(Next::TableDone(built));
            }
            self.add(entry)?;
        }
        Ok(Next::More)
    }

    fn add(&mut self, entry: Entry) -> Result<(), WorkError> {
        if self.table.is_none() {
            let id = self.names.get(self.output).copied().ok_or(WorkError::OutOfNames)?;
            self.table = Some(TableBuilder::new(spec(id, self.tablet, &self.build)));
        }
        if let Some(table) = self.table.as_mut() {
            table.add(&entry)?;
        }
        Ok(())
    }

    /// Completes the table in work, if there is one.
    fn finish(&mut self) -> Result<Option<Box<Built>>, WorkError> {
        let Some(table) = self.table.take() else { return Ok(None) };
        let output = self.output;
        self.output += 1;
        Ok(Some(Box::new(Built { output, table: table.finish()? })))
    }
}

fn spec(id: TableId, tablet: TabletId, build: &TableBuild) -> TableSpec {
    TableSpec {
        id,
        tablet,
        level: build.level,
        block_bytes: build.block_bytes as usize,
        codec: match build.codec {
            BlockCodec::Plain => Codec::None,
            BlockCodec::Lz4 => Codec::Lz4,
            BlockCodec::Zstd => Codec::Zstd,
        },
        // Most keys are in the last run; the others can afford that hardly any read goes astray.
        filter: if build.last_run { FilterKind::Fuse8 } else { FilterKind::Fuse16 },
    }
}

fn blocks(needs: Vec<Need>) -> Result<Vec<BlockHandle>, WorkError> {
    let mut blocks = Vec::new();
    for need in needs {
        match need {
            Need::Blocks(handles) => blocks.extend(handles),
            Need::Handles(_) => return Err(WorkError::AskedForHandles),
        }
    }
    Ok(blocks)
}
