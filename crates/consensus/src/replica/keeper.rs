//! Checkpoints, and cutting the log behind them (protocols §8.2).
//!
//! The keeper of a replica looks whenever something was applied: is a checkpoint due, because the log has grown, or
//! because this replica's entries keep the oldest segment from being removed? A failure to make one (a full disk)
//! stops nothing: it is tried again.

use std::io;

use lamina_env::time::{Duration, sleep, timeout};
use lamina_types::LogIndex;
use openraft::async_runtime::WatchReceiver;

use super::Replica;
use crate::machine::StateMachine;
use crate::raft::applier::{Picture, keep};

/// Pause after a checkpoint that failed, and between looks at a segment that is pinned.
const PAUSE: Duration = Duration::from_secs(1);

/// Bytes of entries that are copied out of a pinned segment in one step.
const MOVE_BYTES_MAX: usize = 4 << 20;

/// Runs the keeper of a replica.
pub async fn run<M: StateMachine>(replica: Replica<M>) {
    let mut pinned = replica.0.shared.log.wal().shared().pinned.subscribe();
    loop {
        let applied = tokio::select! {
            biased;
            () = replica.0.shared.progress.notified() => true,
            changed = pinned.changed() => if changed.is_err() { return } else { false },
            () = sleep(PAUSE * 10) => false,
        };
        if replica.has_stopped() {
            return;
        }
        let pins = pins(&replica);
        let due = {
            let table = replica.0.shared.log.table().lock();
            table.bytes_since_checkpoint() > replica.0.options.checkpoint_log_bytes
        };
        if !due && pins.is_none() {
            if !applied {
                // Followers catch up, and time passes for those who do not: the log may be cut further.
                cut(&replica, false).await;
            }
            continue;
        }
        if let Err(error) = checkpoint(&replica).await {
            tracing::warn!(%error, group = %replica.group(), "a checkpoint failed and is tried again");
            sleep(PAUSE).await;
            replica.0.shared.progress.notify_one();
        }
        if let Some(segment) = pins {
            unpin(&replica, segment).await;
        }
    }
}

/// The oldest segment, if there are too many and this replica needs it.
fn pins<M: StateMachine>(replica: &Replica<M>) -> Option<u64> {
    let wal = replica.0.shared.log.wal().shared();
    let pinned = wal.pinned.borrow();
    pinned.as_ref().filter(|(_, owners)| owners.contains(&replica.0.owner)).map(|(segment, _)| *segment)
}

/// After a checkpoint: if the segment is still needed, for entries that are not applied yet, copies those forward.
async fn unpin<M: StateMachine>(replica: &Replica<M>, segment: u64) {
    cut(replica, true).await;
    sleep(PAUSE).await;
    if pins(replica) != Some(segment) {
        return;
    }
    match replica.0.shared.log.move_forward(segment, MOVE_BYTES_MAX).await {
        Ok(moved) => {
            tracing::info!(moved, group = %replica.group(), "entries were copied out of a pinned segment")
        }
        Err(error) => tracing::warn!(%error, group = %replica.group(), "a pinned segment cannot be read"),
    }
    replica.0.shared.progress.notify_one();
}

/// See [`Replica::checkpoint`].
pub async fn checkpoint<M: StateMachine>(replica: &Replica<M>) -> io::Result<Option<LogIndex>> {
    let _one_at_a_time = replica.0.checkpointing.lock().await;
    let shared = &replica.0.shared;
    let raft = &replica.0.raft;
    let picture: Picture = raft
        .with_state_machine(|applier| {
            // Quick: nothing is copied, and apply goes on while the picture is written.
            let picture = applier.picture();
            Box::pin(async move { picture })
        })
        .await
        .map_err(io::Error::other)?;
    if picture.head.at.is_none() {
        return Ok(None);
    }
    let known = shared.shelf.at();
    let kept = if known.is_some() && known == picture.head.at {
        known
    } else {
        keep(shared, picture).await?.head.at
    };
    // The library looks at the shelf, and from then on sends this one.
    raft.trigger().snapshot().await.map_err(io::Error::other)?;
    let index = kept.map_or(0, |at| at.index);
    let mut metrics = raft.data_metrics();
    let seen = async {
        while metrics.borrow_and_update().snapshot.as_ref().is_none_or(|snapshot| snapshot.index < index) {
            if metrics.changed().await.is_err() {
                return;
            }
        }
    };
    if timeout(PAUSE * 5, seen).await.is_ok() {
        cut(replica, false).await;
    }
    Ok(kept.map(|at| LogIndex(at.index)))
}

/// Cuts the log behind the last checkpoint. A leader keeps what its followers lack, as long as they answered not too
/// long ago, and unless room is wanted (`hard`).
async fn cut<M: StateMachine>(replica: &Replica<M>, hard: bool) {
    let metrics = replica.0.raft.data_metrics();
    let Some(snapshot) = metrics.borrow_watched().snapshot.as_ref().map(|snapshot| snapshot.index) else {
        return;
    };
    let mut upto = Some(snapshot);
    if !hard {
        let keep_ms = u64::try_from(replica.0.options.keep_for_followers.as_millis()).unwrap_or(u64::MAX);
        for follower in replica.progress() {
            if follower.silent_ms.is_some_and(|silent| silent < keep_ms) {
                upto = upto.min(follower.matched.map(|matched| matched.0));
            }
        }
    }
    let Some(upto) = upto else { return };
    if upto < replica.0.shared.log.table().lock().first() {
        return;
    }
    if let Err(error) = replica.0.raft.trigger().purge_log(upto).await {
        tracing::warn!(%error, group = %replica.group(), "the log of a replica that has stopped is not cut");
    }
}
