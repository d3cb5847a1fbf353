//! One step at a time for each table: whatever changes names of a table holds its lock meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamina_types::TableId;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

/// When there are so many, those that nobody holds are dropped.
const SWEEP_AT: usize = 1024;

/// The locks of all tables.
#[derive(Debug, Default)]
pub(crate) struct TableLocks(Mutex<BTreeMap<TableId, Arc<tokio::sync::Mutex<()>>>>);

/// Held as long as it lives.
pub(crate) type TableLock = OwnedMutexGuard<()>;

impl TableLocks {
    /// Waits for the lock of `table`, in the order of asking.
    pub async fn lock(&self, table: TableId) -> TableLock {
        let lock = {
            let mut locks = self.0.lock();
            if locks.len() >= SWEEP_AT {
                locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            locks.entry(table).or_default().clone()
        };
        lock.lock_owned().await
    }

    /// The locks of two tables, taken in the order of their ids, so that two askers never wait for each other.
    pub async fn lock_two(&self, a: TableId, b: TableId) -> (TableLock, Option<TableLock>) {
        let first = self.lock(a.min(b)).await;
        let second = if a == b { None } else { Some(self.lock(a.max(b)).await) };
        (first, second)
    }
}
