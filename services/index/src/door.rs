//! The door: takes requests of the index port, asks the heart.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use lamina_node::Links;
use lamina_peers::Port;
use lamina_peers::index::{
    FetchParts, FetchPiece, IndexAnswer, IndexRequest, IndexStats, Install, InstallPiece, Installed,
    LookedUp, Part, PartsFetched, PieceFetched, Released, Sought,
};
use lamina_peers::pieces::{self, PIECE_BYTES};
use lamina_types::{Epoch, Error, Reason, RequestContext, Result, ShardId};

use crate::assembly::Assemblies;
use crate::residents::{NotInstalled, Residents};

/// Bytes of parts in one answer to a peer replica.
const FETCH_BYTES: usize = PIECE_BYTES;

/// Takes requests of the index port.
pub struct Door {
    residents: Arc<Residents>,
    assemblies: Assemblies,
    links: Links,
}

impl Door {
    /// A door to these parts.
    pub fn new(residents: Arc<Residents>, links: Links) -> Door {
        Door { residents, assemblies: Assemblies::default(), links }
    }

    fn epoch(&self) -> Epoch {
        self.links.view().map_or(Epoch::ZERO, |view| view.epoch)
    }

    fn install(&self, request: &Install) -> Result<Installed> {
        self.residents.install(request.shard, &request.parts).map_err(|error| match error {
            NotInstalled::MemoryLimit { .. } => Error::new(
                Reason::MemoryLimit,
                format!("{error}; give the index nodes more memory, or add index nodes"),
            ),
            NotInstalled::Corrupt(_) => Error::new(Reason::ChecksumMismatch, error.to_string()),
        })?;
        Ok(Installed { complete: self.residents.is_complete(request.shard), epoch: self.epoch() })
    }

    fn install_piece(&self, piece: InstallPiece) -> Result<Installed> {
        // A part that is there already stays.
        if !self.residents.claim(piece.shard, piece.table)
            && let Some(bytes) = self.assemblies.take(&piece)?
        {
            let part = Part { table: piece.table, bytes };
            return self.install(&Install { shard: piece.shard, parts: vec![part] });
        }
        Ok(Installed { complete: self.residents.is_complete(piece.shard), epoch: self.epoch() })
    }

    fn fetch_piece(&self, request: FetchPiece) -> Result<PieceFetched> {
        let part = self.residents.bytes(request.table).ok_or_else(|| {
            let why = format!("the index part of table {} is not in memory here", request.table);
            Error::new(Reason::NotFound, why)
        })?;
        Ok(PieceFetched { bytes: pieces::piece(&part, request.offset), part_bytes: part.len() as u64 })
    }

    fn fetch(&self, request: &FetchParts) -> PartsFetched {
        let mut fetched = PartsFetched { parts: Vec::new(), missing: Vec::new(), answered: 0 };
        let mut bytes = 0;
        for table in &request.tables {
            match self.residents.bytes(*table) {
                // Too large for a message: it is asked for in pieces.
                Some(part) if part.len() > PIECE_BYTES => fetched.missing.push(*table),
                Some(part) if bytes > 0 && bytes + part.len() > FETCH_BYTES => break,
                Some(part) => {
                    bytes += part.len();
                    fetched.parts.push(Part { table: *table, bytes: part });
                }
                None => fetched.missing.push(*table),
            }
            fetched.answered += 1;
        }
        fetched
    }

    fn stats(&self) -> IndexStats {
        let counts = self.residents.counts();
        IndexStats {
            tables: counts.tables,
            memory_bytes: counts.memory_bytes,
            memory_bytes_max: self.residents.memory_bytes_max(),
            shards: self.residents.shard_stats(&served_here(&self.links)),
            lookups: counts.lookups,
            filtered: counts.filtered,
            missing: counts.missing,
        }
    }
}

#[async_trait]
impl Port<IndexRequest, IndexAnswer> for Door {
    async fn call(&self, _: RequestContext, request: IndexRequest) -> Result<IndexAnswer> {
        Ok(match request {
            IndexRequest::Lookup(lookup) => {
                IndexAnswer::Lookup(LookedUp { keys: self.residents.lookup(&lookup) })
            }
            IndexRequest::Seek(seek) => IndexAnswer::Seek(Sought {
                runs: seek.seeks.iter().map(|wanted| self.residents.seek(wanted)).collect(),
            }),
            IndexRequest::Install(install) => IndexAnswer::Install(self.install(&install)?),
            IndexRequest::Release(release) => {
                self.residents.release(release.shard, &release.tables);
                IndexAnswer::Release(Released {})
            }
            IndexRequest::FetchParts(fetch) => IndexAnswer::FetchParts(self.fetch(&fetch)),
            IndexRequest::InstallPiece(piece) => IndexAnswer::InstallPiece(self.install_piece(piece)?),
            IndexRequest::FetchPiece(fetch) => IndexAnswer::FetchPiece(self.fetch_piece(fetch)?),
            IndexRequest::IndexStat(_) => IndexAnswer::IndexStat(self.stats()),
        })
    }
}

/// The shards that the map gives to this node.
pub fn served_here(links: &Links) -> BTreeSet<ShardId> {
    let (Ok(view), Some(me)) = (links.view(), links.me.node()) else { return BTreeSet::new() };
    let here =
        |shard: &&lamina_peers::view::ShardView| shard.replicas.iter().any(|replica| replica.node == me);
    view.shards.iter().filter(here).map(|shard| shard.shard).collect()
}
