//! A store's administration, as the operator uses it: whichever frontend answers. The port is
//! [`lamina_peers::Network`]: over gRPC by the DNS names of pods in a cluster, another one in tests.

use std::sync::Arc;

use lamina_env::random;
use lamina_env::time::{self, Duration};
use lamina_peers::admin::{
    Bootstrap, CanStop, ClusterStatus, EndGrant, Identify, Identity, Probe, ReleaseVolume, SetNodeState,
    SetNodeZone, Status, StopGranted, VolumeReleased,
};
use lamina_peers::view::NodeState;
use lamina_peers::{AdminPeer, Network, Operation, admin};
use lamina_types::{Error, NodeId, Reason, RequestContext, Result};

/// What a question to one node may take.
const QUESTION_MS: u64 = 2_000;
/// What a step of the whole store may take.
const STEP_MS: u64 = 10_000;

/// A yes, or every reason against it.
pub type Answer = std::result::Result<(), Vec<String>>;

/// One store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    network: Arc<dyn Network>,
    frontends: Vec<String>,
}

impl Store {
    /// The store that is reached through these addresses of frontends.
    pub fn new(network: Arc<dyn Network>, frontends: Vec<String>) -> Store {
        Store { network, frontends }
    }

    /// The same store, through these frontends only.
    #[must_use]
    pub fn through(&self, frontends: Vec<String>) -> Store {
        Store { network: self.network.clone(), frontends }
    }

    /// Who answers at an address.
    pub async fn identify(&self, address: &str) -> Result<Identity> {
        ask(&self.network.admin(address), context(QUESTION_MS), Identify {}).await
    }

    /// What the store says of itself.
    pub async fn status(&self) -> Result<Status> {
        self.any(STEP_MS, ClusterStatus {}).await
    }

    /// Whether every group works.
    pub async fn probe(&self) -> Result<()> {
        self.any(STEP_MS, Probe {}).await.map(|_| ())
    }

    /// Makes the node at an address a first member.
    pub async fn bootstrap(&self, address: &str, node: NodeId, record: Bootstrap) -> Result<()> {
        let context = RequestContext { to: Some(node), ..context(STEP_MS) };
        ask(&self.network.admin(address), context, record).await.map(|_| ())
    }

    /// Whether a node may be stopped.
    pub async fn can_stop(&self, grant: String, node: NodeId) -> Result<Answer> {
        self.any(STEP_MS, CanStop { grant, node }).await.map(|answer| match answer {
            StopGranted::Granted => Ok(()),
            StopGranted::Refused { reasons } => Err(reasons),
        })
    }

    /// Ends a grant.
    pub async fn end_grant(&self, grant: String) -> Result<()> {
        self.any(STEP_MS, EndGrant { grant }).await.map(|_| ())
    }

    /// Declares a node lost.
    pub async fn declare_dead(&self, node: NodeId, from: NodeState) -> Result<()> {
        self.any(STEP_MS, SetNodeState { node, from, to: NodeState::Dead }).await.map(|_| ())
    }

    /// Tells a node's failure domain.
    pub async fn set_zone(&self, node: NodeId, zone: String) -> Result<()> {
        self.any(STEP_MS, SetNodeZone { node, zone }).await.map(|_| ())
    }

    /// Whether the volume of a dead node may be thrown away.
    pub async fn release(&self, node: NodeId) -> Result<Answer> {
        self.any(STEP_MS, ReleaseVolume { node }).await.map(|answer| match answer {
            VolumeReleased::Released => Ok(()),
            VolumeReleased::Refused { reasons } => Err(reasons),
        })
    }

    /// Asks one frontend after the other until one answers. An answer that refuses is an answer.
    async fn any<O>(&self, limit_ms: u64, operation: O) -> Result<O::Answer>
    where
        O: Operation<admin::AdminRequest, admin::AdminAnswer> + Clone,
    {
        let mut last = Error::new(Reason::Unreachable, "there is no frontend to ask");
        for address in &self.frontends {
            match ask(&self.network.admin(address), context(limit_ms), operation.clone()).await {
                Err(error) if is_elsewhere(&error) => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }
}

/// Whether another frontend may know better.
fn is_elsewhere(error: &Error) -> bool {
    matches!(
        error.reason(),
        Reason::Unreachable
            | Reason::NotOwner
            | Reason::NotReady
            | Reason::NoQuorum
            | Reason::DeadlineExceeded
    )
}

async fn ask<O>(peer: &AdminPeer, context: RequestContext, operation: O) -> Result<O::Answer>
where
    O: Operation<admin::AdminRequest, admin::AdminAnswer>,
{
    let limit = Duration::from_millis(context.deadline_ms);
    time::timeout(limit, peer.call(context, operation))
        .await
        .unwrap_or_else(|_| Err(Error::new(Reason::DeadlineExceeded, "the node did not answer in time")))
}

fn context(deadline_ms: u64) -> RequestContext {
    RequestContext::new(random::u128(), deadline_ms)
}
