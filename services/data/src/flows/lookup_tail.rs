//! Lookups from the tails of files, while the index service cannot answer (protocols §11). The same answers as an
//! index node's: what is not here, or cannot be read here, is named as missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use lamina_engine::filter::key_hash;
use lamina_peers::index::{Candidate, LookedUp, Lookup, Seek, SeekRange, Sought, SoughtRun};
use lamina_types::{Error, Reason, Result, TableId};

use crate::hands::tail::Tail;
use crate::node::Node;

/// Tails that are read at once.
const LOADS: usize = 8;

type Tails = BTreeMap<TableId, Arc<Tail>>;

/// For each key, the blocks of its candidates that may hold it.
pub(crate) async fn lookup(node: &Node, request: &Lookup) -> Result<LookedUp> {
    let mut used: BTreeSet<u32> = BTreeSet::new();
    for key in &request.keys {
        if request.candidates.get(key.candidates as usize).is_none() {
            let why = format!(
                "a key names list {} of {} candidate lists",
                key.candidates,
                request.candidates.len()
            );
            return Err(Error::new(Reason::FieldInvalid, why));
        }
        used.insert(key.candidates);
    }
    let lists = used.iter().filter_map(|list| request.candidates.get(*list as usize));
    let tails = load(node, lists.flatten().copied().collect()).await;
    node.metrics.tail_lookups.inc_by(request.keys.len() as u64);
    let keys = request.keys.iter().map(|key| {
        let hash = key_hash(&key.key);
        let candidates = request.candidates.get(key.candidates as usize).into_iter().flatten();
        let found = |table: &TableId| match tails.get(table) {
            None => Some(Candidate::Missing(*table)),
            Some(tail) => tail.part.lookup_at(&key.key, hash, key.at).map(Candidate::Block),
        };
        candidates.filter_map(found).collect()
    });
    Ok(LookedUp { keys: keys.collect() })
}

/// Runs of blocks.
pub(crate) async fn seek(node: &Node, request: &Seek) -> Result<Sought> {
    let tails = load(node, request.seeks.iter().map(|seek| seek.table).collect()).await;
    let runs = request
        .seeks
        .iter()
        .map(|seek| tails.get(&seek.table).map_or(SoughtRun::Missing, |tail| run(tail, seek)));
    Ok(Sought { runs: runs.collect() })
}

fn run(tail: &Tail, seek: &SeekRange) -> SoughtRun {
    // One more than asked for tells whether there are more.
    let limit = seek.limit as usize;
    let mut handles = tail.part.seek(&seek.range, seek.reverse, limit.saturating_add(1));
    let exhausted = handles.len() <= limit;
    handles.truncate(limit);
    SoughtRun::Blocks { handles, exhausted }
}

/// The tails of those tables that are here and sound.
async fn load(node: &Node, tables: BTreeSet<TableId>) -> Tails {
    let loads = stream::iter(tables).map(|table| async move {
        let open = node.open_table(table).await.ok()?;
        Some((table, node.tail(&open).await.ok()?))
    });
    loads.buffered(LOADS).filter_map(std::future::ready).collect().await
}
