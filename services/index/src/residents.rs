//! The heart: which parts are in memory, and for which shards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use lamina_engine::{Corruption, IndexPart, key_hash};
use lamina_peers::index::{Candidate, Lookup, Part, SeekRange, ShardStat, SoughtRun};
use lamina_types::{BlockHandle, GroupId, Reign, ShardId, TableId};
use parking_lot::RwLock;

/// What a resident part costs beside its own bytes.
const ENTRY_BYTES: u64 = 128;

/// The parts in memory. Lookups run beside one another; installs and releases wait for them.
pub struct Residents {
    state: RwLock<State>,
    memory_bytes_max: u64,
    lookups: AtomicU64,
    filtered: AtomicU64,
    missing: AtomicU64,
}

#[derive(Default)]
struct State {
    parts: BTreeMap<TableId, Resident>,
    memory_bytes: u64,
    /// Shards for which every live part is known to be here.
    complete: BTreeSet<ShardId>,
}

struct Resident {
    part: IndexPart,
    /// The shards that need it; it goes with the last one.
    shards: BTreeSet<ShardId>,
}

/// Why parts were not installed.
#[derive(Debug, thiserror::Error)]
pub enum NotInstalled {
    /// There is no room.
    #[error("{needed} more bytes of index parts do not fit: {used} of {limit} bytes are in use")]
    MemoryLimit {
        /// Bytes that were asked for.
        needed: u64,
        /// Bytes in use.
        used: u64,
        /// The limit.
        limit: u64,
    },
    /// The bytes are not an index part.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
}

/// Figures of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Parts in memory.
    pub tables: u64,
    /// Their bytes.
    pub memory_bytes: u64,
    /// Keys looked up since the start.
    pub lookups: u64,
    /// Candidates whose filter said no.
    pub filtered: u64,
    /// Candidates that were not resident.
    pub missing: u64,
}

impl Residents {
    /// No parts yet, and never more than this many bytes of them.
    pub fn new(memory_bytes_max: u64) -> Residents {
        Residents {
            state: RwLock::new(State::default()),
            memory_bytes_max,
            lookups: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            missing: AtomicU64::new(0),
        }
    }

    /// The limit in bytes.
    pub fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max
    }

    /// Takes parts in for a shard: all of them, or, with an error, some of the first.
    pub fn install(&self, shard: ShardId, parts: &[Part]) -> Result<(), NotInstalled> {
        for part in parts {
            self.install_one(shard, part.table, &part.bytes)?;
        }
        Ok(())
    }

    fn install_one(&self, shard: ShardId, table: TableId, bytes: &Bytes) -> Result<(), NotInstalled> {
        if let Some(resident) = self.state.write().parts.get_mut(&table) {
            resident.shards.insert(shard);
            return Ok(());
        }
        // Its own copy: the bytes may be a slice of a larger message, which would stay in memory with it.
        let part = IndexPart::parse(Bytes::copy_from_slice(bytes))?.renamed(table);
        let needed = bytes_of(&part);
        let mut state = self.state.write();
        if state.memory_bytes + needed > self.memory_bytes_max {
            let (used, limit) = (state.memory_bytes, self.memory_bytes_max);
            return Err(NotInstalled::MemoryLimit { needed, used, limit });
        }
        let mut added = false;
        let resident = state.parts.entry(table).or_insert_with(|| {
            added = true;
            Resident { part, shards: BTreeSet::new() }
        });
        resident.shards.insert(shard);
        if added {
            state.memory_bytes += needed;
        }
        Ok(())
    }

    /// Gives parts of a shard up. A part that another shard needs stays.
    pub fn release(&self, shard: ShardId, tables: &[TableId]) {
        let mut state = self.state.write();
        for table in tables {
            state.release(shard, *table);
        }
    }

    /// Gives up everything of shards that are not served here any more.
    pub fn keep_only(&self, shards: &BTreeSet<ShardId>) {
        let mut state = self.state.write();
        state.complete.retain(|shard| shards.contains(shard));
        let gone: Vec<(ShardId, TableId)> = state
            .parts
            .iter()
            .flat_map(|(table, resident)| resident.shards.iter().map(|shard| (*shard, *table)))
            .filter(|(shard, _)| !shards.contains(shard))
            .collect();
        for (shard, table) in gone {
            state.release(shard, table);
        }
    }

    /// Gives up parts of a group and a shard that its leader did not list, below the list's own mark (protocols §11).
    pub fn compare(
        &self,
        shard: ShardId,
        group: GroupId,
        listed: &BTreeSet<TableId>,
        mark: (Reign, u32),
    ) -> usize {
        let mut state = self.state.write();
        let dead: Vec<TableId> = state
            .parts
            .iter()
            .filter(|(table, resident)| {
                table.group == group
                    && (table.reign, table.n) < mark
                    && resident.shards.contains(&shard)
                    && !listed.contains(*table)
            })
            .map(|(table, _)| *table)
            .collect();
        for table in &dead {
            state.release(shard, *table);
        }
        dead.len()
    }

    /// Whether a part is in memory for a shard; if it is there for another one, it counts for this one from now on.
    pub fn claim(&self, shard: ShardId, table: TableId) -> bool {
        match self.state.write().parts.get_mut(&table) {
            Some(resident) => {
                resident.shards.insert(shard);
                true
            }
            None => false,
        }
    }

    /// Says that every live part of a shard is here, or that this is not known.
    pub fn set_complete(&self, shard: ShardId, complete: bool) {
        let mut state = self.state.write();
        if complete {
            state.complete.insert(shard);
        } else {
            state.complete.remove(&shard);
        }
    }

    /// Whether every live part of a shard is here.
    pub fn is_complete(&self, shard: ShardId) -> bool {
        self.state.read().complete.contains(&shard)
    }

    /// The shards of which every live part is here.
    pub fn complete(&self) -> Vec<ShardId> {
        self.state.read().complete.iter().copied().collect()
    }

    /// For each key of the request, its candidates in order, without those whose filter says no.
    pub fn lookup(&self, request: &Lookup) -> Vec<Vec<Candidate>> {
        let state = self.state.read();
        let lists: Vec<Vec<(TableId, Option<&IndexPart>)>> = request
            .candidates
            .iter()
            .map(|list| list.iter().map(|table| (*table, state.part(*table))).collect())
            .collect();
        let (mut filtered, mut missing) = (0, 0);
        let mut answers = Vec::with_capacity(request.keys.len());
        for wanted in &request.keys {
            let hash = key_hash(&wanted.key);
            let mut answer = Vec::new();
            for (table, part) in lists.get(wanted.candidates as usize).into_iter().flatten() {
                match part.map(|part| part.lookup_at(&wanted.key, hash, wanted.at)) {
                    Some(Some(handle)) => answer.push(Candidate::Block(handle)),
                    Some(None) => filtered += 1,
                    None => {
                        missing += 1;
                        answer.push(Candidate::Missing(*table));
                    }
                }
            }
            answers.push(answer);
        }
        drop(state);
        self.lookups.fetch_add(request.keys.len() as u64, Ordering::Relaxed);
        self.filtered.fetch_add(filtered, Ordering::Relaxed);
        self.missing.fetch_add(missing, Ordering::Relaxed);
        answers
    }

    /// A run of consecutive blocks of one table.
    pub fn seek(&self, wanted: &SeekRange) -> SoughtRun {
        let part = self.state.read().part(wanted.table).cloned();
        let Some(part) = part else { return SoughtRun::Missing };
        // One more than asked tells whether the run is exhausted.
        let limit = wanted.limit as usize;
        let mut handles: Vec<BlockHandle> = part.seek(&wanted.range, wanted.reverse, limit.saturating_add(1));
        let exhausted = handles.len() <= limit;
        handles.truncate(limit);
        SoughtRun::Blocks { handles, exhausted }
    }

    /// The bytes of a part, for a peer replica.
    pub fn bytes(&self, table: TableId) -> Option<Bytes> {
        self.state.read().part(table).map(|part| part.bytes().clone())
    }

    /// Figures of the node.
    pub fn counts(&self) -> Counts {
        let state = self.state.read();
        Counts {
            tables: state.parts.len() as u64,
            memory_bytes: state.memory_bytes,
            lookups: self.lookups.load(Ordering::Relaxed),
            filtered: self.filtered.load(Ordering::Relaxed),
            missing: self.missing.load(Ordering::Relaxed),
        }
    }

    /// Figures of each of these shards.
    pub fn shard_stats(&self, shards: &BTreeSet<ShardId>) -> Vec<ShardStat> {
        let state = self.state.read();
        let mut stats: BTreeMap<ShardId, ShardStat> = shards
            .iter()
            .map(|shard| {
                let complete = state.complete.contains(shard);
                (*shard, ShardStat { shard: *shard, tables: 0, memory_bytes: 0, complete })
            })
            .collect();
        for resident in state.parts.values() {
            for shard in &resident.shards {
                if let Some(stat) = stats.get_mut(shard) {
                    stat.tables += 1;
                    stat.memory_bytes += bytes_of(&resident.part);
                }
            }
        }
        stats.into_values().collect()
    }
}

impl State {
    fn part(&self, table: TableId) -> Option<&IndexPart> {
        self.parts.get(&table).map(|resident| &resident.part)
    }

    fn release(&mut self, shard: ShardId, table: TableId) {
        let Some(resident) = self.parts.get_mut(&table) else { return };
        resident.shards.remove(&shard);
        if !resident.shards.is_empty() {
            return;
        }
        if let Some(resident) = self.parts.remove(&table) {
            self.memory_bytes = self.memory_bytes.saturating_sub(bytes_of(&resident.part));
        }
    }
}

fn bytes_of(part: &IndexPart) -> u64 {
    part.memory_bytes() as u64 + ENTRY_BYTES
}

#[cfg(test)]
mod tests;
