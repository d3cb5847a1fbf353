//! Tables that are being received, piece by piece.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamina_env::time::{Duration, Instant};
use lamina_types::{CopyStamp, TableId};
use parking_lot::Mutex;

use crate::hands::store::Incoming;

/// One copy of one table.
pub(crate) type WriteKey = (TableId, CopyStamp);

/// What was received of a table. Pieces are taken one at a time, under the lock around it.
#[derive(Default)]
pub(crate) struct Received {
    /// The file; `None` before the first piece.
    pub incoming: Option<Incoming>,
    /// Bytes received in order.
    pub bytes: u64,
}

/// A table that is being received.
pub(crate) type OpenWrite = Arc<tokio::sync::Mutex<Received>>;

/// All tables that are being received.
#[derive(Default)]
pub(crate) struct Writes(Mutex<BTreeMap<WriteKey, Entry>>);

struct Entry {
    write: OpenWrite,
    used: Instant,
}

impl Writes {
    /// The write of `key`; makes one if `make` and fewer than `limit` are open. `None`: there is none.
    pub fn get(
        &self,
        key: WriteKey,
        make: bool,
        limit: usize,
        now: Instant,
    ) -> Result<Option<OpenWrite>, TooMany> {
        let mut writes = self.0.lock();
        if let Some(entry) = writes.get_mut(&key) {
            entry.used = now;
            return Ok(Some(entry.write.clone()));
        }
        if !make {
            return Ok(None);
        }
        if writes.len() >= limit {
            return Err(TooMany);
        }
        let write = OpenWrite::default();
        writes.insert(key, Entry { write: write.clone(), used: now });
        Ok(Some(write))
    }

    /// Ends one; the caller takes care of its file.
    pub fn remove(&self, key: WriteKey) -> Option<OpenWrite> {
        self.0.lock().remove(&key).map(|entry| entry.write)
    }

    /// Ends all of a table, whatever their stamps.
    pub fn remove_table(&self, table: TableId) -> Vec<OpenWrite> {
        let mut writes = self.0.lock();
        let keys: Vec<WriteKey> = writes.keys().filter(|key| key.0 == table).copied().collect();
        keys.iter().filter_map(|key| writes.remove(key)).map(|entry| entry.write).collect()
    }

    /// Ends those to which no piece came for `idle`.
    pub fn sweep(&self, idle: Duration, now: Instant) -> Vec<OpenWrite> {
        let mut writes = self.0.lock();
        let old = writes.iter().filter(|(_, entry)| now.duration_since(entry.used) > idle);
        let old: Vec<WriteKey> = old.map(|(key, _)| *key).collect();
        old.iter().filter_map(|key| writes.remove(key)).map(|entry| entry.write).collect()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }
}

/// As many as may are open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooMany;
