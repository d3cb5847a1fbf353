//! Index nodes.

use lamina_peers::index::{
    Candidate, FetchParts, FetchPiece, IndexAnswer, IndexRequest, IndexStat, IndexStats, Install,
    InstallPiece, Installed, LookedUp, Lookup, LookupKey, Part, PartsFetched, PieceFetched, Release,
    Released, Seek, SeekRange, ShardStat, Sought, SoughtRun,
};
use lamina_types::{Error, Reason, Result, TableId};

use super::{Twin, in_field, no_form, port_twins, twins};
use crate::index;

twins! {
    LookupKey => index::LookupKey { candidates, key, at }
    LookedUp => index::LookupResponse { keys }
    Seek => index::SeekRequest { seeks }
    SeekRange => index::SeekRange { table, range, reverse, limit }
    Sought => index::SeekResponse { runs }
    Install => index::InstallRequest { shard, parts }
    Part => index::Part { table, bytes }
    Installed => index::InstallResponse { complete, epoch }
    Release => index::ReleaseRequest { shard, tables }
    Released => index::ReleaseResponse {}
    FetchParts => index::FetchPartsRequest { tables }
    PartsFetched => index::FetchPartsResponse { parts, missing, answered }
    InstallPiece => index::InstallPieceRequest { shard, table, part_bytes, offset, bytes }
    FetchPiece => index::FetchPieceRequest { table, offset }
    PieceFetched => index::FetchPieceResponse { bytes, part_bytes }
    IndexStat => index::IndexStatRequest {}
    IndexStats => index::IndexStatResponse {
        tables, memory_bytes, memory_bytes_max, shards, lookups, filtered, missing,
    }
    ShardStat => index::ShardStat { shard, tables, memory_bytes, complete }
}

port_twins!(IndexRequest, IndexAnswer => index::op::Request, index::answer::Answer {
    Lookup, Seek, Install, Release, FetchParts, IndexStat, InstallPiece, FetchPiece,
});

impl Twin<index::LookupRequest> for Lookup {
    fn into_wire(self) -> index::LookupRequest {
        index::LookupRequest { candidates: self.candidates.into_wire(), keys: self.keys.into_wire() }
    }
    fn from_wire(wire: index::LookupRequest) -> Result<Lookup> {
        let candidates: Vec<Vec<TableId>> =
            Twin::from_wire(wire.candidates).map_err(in_field("candidates"))?;
        let keys: Vec<LookupKey> = Twin::from_wire(wire.keys).map_err(in_field("keys"))?;
        if keys.iter().any(|key| usize::try_from(key.candidates).map_or(true, |at| at >= candidates.len())) {
            let error =
                Error::new(Reason::FieldInvalid, "a key names a list of candidates that is not there");
            return Err(error.with("field", "keys.candidates"));
        }
        Ok(Lookup { candidates, keys })
    }
}

impl Twin<index::TableList> for Vec<TableId> {
    fn into_wire(self) -> index::TableList {
        index::TableList { tables: self.into_wire() }
    }
    fn from_wire(wire: index::TableList) -> Result<Vec<TableId>> {
        Twin::from_wire(wire.tables)
    }
}

impl Twin<index::CandidateList> for Vec<Candidate> {
    fn into_wire(self) -> index::CandidateList {
        index::CandidateList { candidates: self.into_wire() }
    }
    fn from_wire(wire: index::CandidateList) -> Result<Vec<Candidate>> {
        Twin::from_wire(wire.candidates)
    }
}

impl Twin<index::Candidate> for Candidate {
    fn into_wire(self) -> index::Candidate {
        let candidate = match self {
            Candidate::Block(handle) => index::candidate::Candidate::Block(handle.into_wire()),
            Candidate::Missing(table) => index::candidate::Candidate::Missing(table.into_wire()),
        };
        index::Candidate { candidate: Some(candidate) }
    }
    fn from_wire(wire: index::Candidate) -> Result<Candidate> {
        match wire.candidate {
            Some(index::candidate::Candidate::Block(handle)) => Twin::from_wire(handle).map(Candidate::Block),
            Some(index::candidate::Candidate::Missing(table)) => {
                Twin::from_wire(table).map(Candidate::Missing)
            }
            None => no_form(),
        }
    }
}

impl Twin<index::SoughtRun> for SoughtRun {
    fn into_wire(self) -> index::SoughtRun {
        let run = match self {
            SoughtRun::Blocks { handles, exhausted } => index::sought_run::Run::Blocks(index::SoughtBlocks {
                handles: handles.into_wire(),
                exhausted,
            }),
            SoughtRun::Missing => index::sought_run::Run::Missing(true),
        };
        index::SoughtRun { run: Some(run) }
    }
    fn from_wire(wire: index::SoughtRun) -> Result<SoughtRun> {
        match wire.run {
            Some(index::sought_run::Run::Blocks(blocks)) => Ok(SoughtRun::Blocks {
                handles: Twin::from_wire(blocks.handles).map_err(in_field("handles"))?,
                exhausted: blocks.exhausted,
            }),
            Some(index::sought_run::Run::Missing(_)) => Ok(SoughtRun::Missing),
            None => no_form(),
        }
    }
}
