//! Snapshots: one version, pinned in the log of every group (protocols §6.2).

use futures::future::join_all;
use lamina_env::{random, time};
use lamina_peers::group::{GroupVersion, PinVersion, UnpinVersion, VersionPinned};
use lamina_peers::kv::{SnapshotTaken, TakeSnapshot};
use lamina_types::{Error, GroupId, Reason, RequestContext, Result, SnapshotId, Version};

use crate::flow::route::{Route, Router};

/// What one call to a leader may take.
const DEADLINE_MS: u64 = 3_000;

/// Takes a snapshot over all groups: every write that was acknowledged before the call is in it, none that begins
/// after the answer is.
pub async fn take(
    router: &Router,
    context: &RequestContext,
    request: &TakeSnapshot,
) -> Result<SnapshotTaken> {
    let groups = router.groups()?;
    let versions = groups.iter().map(|group| last_version(router, context, *group));
    let mut at = Version::ZERO;
    for version in join_all(versions).await {
        at = at.max(version?);
    }
    let snapshot = SnapshotId(random::u128());
    let pins = groups.iter().map(|group| pin(router, context, *group, snapshot, at, request.ttl_ms));
    let mut expires_ms = u64::MAX;
    let mut refused = None;
    for pinned in join_all(pins).await {
        match pinned {
            Ok(pinned) => expires_ms = expires_ms.min(pinned.expires_ms),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        None => Ok(SnapshotTaken { snapshot, version: at, expires_ms }),
        Some(error) => {
            // Best effort: what is left expires by itself.
            let _ = release(router, context, snapshot).await;
            Err(error)
        }
    }
}

/// Gives a snapshot up in all groups.
pub async fn release(router: &Router, context: &RequestContext, snapshot: SnapshotId) -> Result<()> {
    let groups = router.groups()?;
    let unpins = groups.into_iter().map(|group| async move {
        let (peer, context) = leader(router, context, group)?;
        peer.call(context, UnpinVersion { group, snapshot }).await.map(|_| ())
    });
    join_all(unpins).await.into_iter().collect()
}

async fn last_version(router: &Router, context: &RequestContext, group: GroupId) -> Result<Version> {
    let (peer, context) = leader(router, context, group)?;
    within(peer.call(context, GroupVersion { group })).await.map(|answer| answer.version)
}

async fn pin(
    router: &Router,
    context: &RequestContext,
    group: GroupId,
    snapshot: SnapshotId,
    at: Version,
    ttl_ms: u64,
) -> Result<VersionPinned> {
    let (peer, context) = leader(router, context, group)?;
    within(peer.call(context, PinVersion { group, snapshot, at, ttl_ms })).await
}

fn leader(
    router: &Router,
    context: &RequestContext,
    group: GroupId,
) -> Result<(lamina_peers::GroupPeer, RequestContext)> {
    let node = match router.route_group(group) {
        Route::Here(_) => router.links.me.node(),
        Route::There { leader, .. } => leader,
    };
    let node = node.ok_or_else(|| router.not_owner(group, None))?;
    let (peer, own) = router.links.group(node, DEADLINE_MS.min(context.deadline_ms))?;
    Ok((peer, RequestContext { trace: context.trace, ..own }))
}

async fn within<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    time::timeout(time::Duration::from_millis(DEADLINE_MS), call)
        .await
        .unwrap_or_else(|_| Err(Error::new(Reason::Unreachable, "the leader did not answer in time")))
}
