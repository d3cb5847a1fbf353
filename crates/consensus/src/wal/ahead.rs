//! The segment that is allocated ahead, so that the writer never waits for one.

use std::io;
use std::sync::Arc;

use lamina_env::Disk;
use lamina_env::time::{Duration, sleep};
use tokio::sync::mpsc;

use super::queue::Wal;
use super::segment::{Prepared, id_after, prepare};
use crate::error::LogFailure;

/// Keeps one segment allocated ahead, until nobody takes them any more. Sets `full` while there is no room.
pub async fn prepare_ahead(
    wal: Wal,
    disk: Arc<dyn Disk>,
    dir: String,
    mut last: u64,
    bytes: u64,
    retry: Duration,
    out: mpsc::Sender<Prepared>,
) {
    while let Ok(permit) = out.reserve().await {
        let prepared = loop {
            if out.is_closed() {
                return;
            }
            // A new id for each attempt: a file that could not be removed must not be in the way.
            last = id_after(last);
            match prepare(disk.as_ref(), &dir, last, bytes).await {
                Ok(prepared) => break prepared,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    if !wal.shared().full.borrow().to_owned() {
                        tracing::warn!(%error, "no room for the next segment of the log: writes are refused");
                    }
                    wal.shared().full.send_if_modified(|full| !std::mem::replace(full, true));
                    sleep(retry).await;
                }
                Err(error) => {
                    wal.fail(LogFailure::SegmentFailed(error.to_string()));
                    return;
                }
            }
        };
        wal.shared().full.send_if_modified(|full| std::mem::replace(full, false));
        permit.send(prepared);
    }
}
