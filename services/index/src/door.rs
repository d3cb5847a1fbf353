//! The door: takes requests of the index port, asks the heart.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use lamina_node::Links;
use lamina_peers::Port;
use lamina_peers::index::{
    FetchParts, IndexAnswer, IndexRequest, IndexStats, Install, Installed, LookedUp, Part, PartsFetched,
    Released, Sought,
};
use lamina_types::{Epoch, Error, Reason, RequestContext, Result, ShardId};

use crate::residents::{NotInstalled, Residents};

/// Bytes of parts in one answer to a peer replica; the first part goes whatever its size.
const FETCH_BYTES: usize = 4 << 20;

/// Takes requests of the index port.
pub struct Door {
    residents: Arc<Residents>,
    links: Links,
}

impl Door {
    /// A door to these parts.
    pub fn new(residents: Arc<Residents>, links: Links) -> Door {
        Door { residents, links }
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

    fn fetch(&self, request: &FetchParts) -> PartsFetched {
        let mut fetched = PartsFetched { parts: Vec::new(), missing: Vec::new(), answered: 0 };
        let mut bytes = 0;
        for table in &request.tables {
            match self.residents.bytes(*table) {
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
