//! How frames travel between the replicas of a group.

use async_trait::async_trait;
use bytes::Bytes;
use lamina_types::{GroupId, ReplicaId, Result};

/// Carries frames from one replica of a group to another; the service implements it over the cluster's connections.
/// The other side hands the frame to [`crate::Replica::handle`].
#[async_trait]
pub trait RaftWire: Send + Sync + 'static {
    /// Sends one frame and waits for its answer, for at most `deadline_ms`. `bulk` frames are large and may wait
    /// for each other; the others must not wait for them.
    ///
    /// # Errors
    /// `UNREACHABLE`, `DEADLINE_EXCEEDED`, or what [`crate::Replica::handle`] answered.
    async fn call(
        &self,
        group: GroupId,
        from: ReplicaId,
        to: ReplicaId,
        bulk: bool,
        deadline_ms: u64,
        frame: Bytes,
    ) -> Result<Bytes>;
}
