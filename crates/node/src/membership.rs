//! Registration and heartbeats: how a node becomes part of its store, and how it learns what the store has become.
//!
//! Any frontend takes the calls and sends them on to the meta leader. A node registers until it is accepted or
//! refused for good; from then on a heartbeat twice a second carries what it has become, and brings a newer view.

use std::sync::Arc;

use lamina_env::time::{self, Duration};
use lamina_env::watch;
use lamina_peers::admin::{Heartbeat, NodeRegistered, RegisterNode, WhereIsMeta};
use lamina_peers::view::ClusterView;
use lamina_types::{ClusterId, Error, Incarnation, Level, Reason, Result, Role};
use tokio::sync::Notify;

use crate::{Links, Me};

/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Between two attempts to find the store or to register: quick while a store begins, patient afterwards.
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY: Duration = Duration::from_millis(100);
/// So many attempts are quick.
const QUICK_ATTEMPTS: usize = 50;
/// What a call may take.
const DEADLINE_MS: u64 = 2_000;

/// What a node tells with each heartbeat beside its name. Asked anew each time.
pub trait Report: Send + Sync + 'static {
    /// Fills in what is known of this node's role.
    fn fill(&self, heartbeat: &mut Heartbeat);
}

/// Keeps a node part of its store.
pub struct Membership {
    links: Links,
    seeds: Vec<String>,
    zone: String,
    version: String,
    view: watch::Sender<Option<Arc<ClusterView>>>,
    now: Arc<Notify>,
}

/// Tells the membership that something changed which the meta leader should hear at once. Cheap to clone.
#[derive(Clone, Default)]
pub struct Hurry(Arc<Notify>);

impl Hurry {
    /// Sends the next heartbeat now.
    pub fn hurry(&self) {
        self.0.notify_one();
    }
}

impl Membership {
    /// A membership that finds its store through `seeds`, addresses of frontends. `view` is what it writes and what
    /// `links` reads.
    pub fn new(
        links: Links,
        seeds: Vec<String>,
        zone: String,
        version: String,
        view: watch::Sender<Option<Arc<ClusterView>>>,
    ) -> Membership {
        Membership { links, seeds, zone, version, view, now: Arc::new(Notify::new()) }
    }

    /// To send heartbeats early.
    pub fn hurry(&self) -> Hurry {
        Hurry(self.now.clone())
    }

    /// Asks the seeds until one of them belongs to a store.
    ///
    /// A store counts once its meta group has a leader: before that its own bootstrap may still reach this node.
    pub async fn find_cluster(&self) -> ClusterId {
        let mut attempt = 0;
        loop {
            for seed in self.seeds.iter().filter(|seed| seed.as_str() != self.links.me.address()) {
                let peer = self.links.network.admin(seed);
                let call = peer.call(self.links.me.context(1_000), WhereIsMeta {});
                if let Ok(Ok(meta)) = time::timeout(Duration::from_secs(1), call).await
                    && meta.leader.is_some()
                {
                    return meta.cluster;
                }
            }
            pause(attempt).await;
            attempt += 1;
        }
    }

    /// Registers this start. Waits as long as nobody answers.
    ///
    /// # Errors
    /// The store refuses this node for good: `VOLUME_ROLLED_BACK_OR_IN_USE`, `NODE_REMOVED`, `CLUSTER_MISMATCH`.
    pub async fn register(&self) -> Result<Incarnation> {
        let mut attempt = 0;
        loop {
            match self.try_register(attempt).await {
                Ok(registered) => {
                    self.links.me.settle_incarnation(registered.incarnation);
                    self.publish(registered.view);
                    return Ok(registered.incarnation);
                }
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    tracing::debug!(%error, "not registered yet");
                    pause(attempt).await;
                    attempt += 1;
                }
            }
        }
    }

    /// Sends heartbeats until the node is refused.
    ///
    /// # Errors
    /// As [`Membership::register`]: the process must end, somebody else is this node now.
    pub async fn beat(&self, report: &dyn Report) -> Error {
        let mut attempt = 0;
        loop {
            // Whichever comes first; the notice is kept if nobody waits.
            let _ = time::timeout(HEARTBEAT, self.now.notified()).await;
            match self.try_beat(report, attempt).await {
                Ok(Some(view)) => self.publish(view),
                Ok(None) => {}
                Err(error) if is_final(&error) => return error,
                // Meta was restored without us, or is new: register again.
                Err(error) if error.reason() == Reason::NotFound => {
                    if let Err(error) = self.register().await {
                        return error;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "heartbeat not taken");
                    attempt += 1;
                }
            }
        }
    }

    fn publish(&self, view: ClusterView) {
        self.view.send_if_modified(|present| {
            let newer = present.as_ref().is_none_or(|present| view.epoch > present.epoch);
            if newer {
                *present = Some(Arc::new(view));
            }
            newer
        });
    }

    async fn try_register(&self, attempt: usize) -> Result<NodeRegistered> {
        let me: &Me = &self.links.me;
        let node = me.node().ok_or_else(|| Error::new(Reason::NotReady, "this node has no id yet"))?;
        let incarnation = Some(me.incarnation()).filter(|incarnation| *incarnation != Incarnation::ZERO);
        let request = RegisterNode {
            node,
            role: me.role(),
            name: me.name().to_owned(),
            address: me.address().to_owned(),
            incarnation,
            nonce: me.nonce(),
            zone: self.zone.clone(),
            version: self.version.clone(),
            level_max: Level::HIGHEST,
        };
        let address = self.door(attempt)?;
        self.links.network.admin(&address).call(me.context(DEADLINE_MS), request).await
    }

    async fn try_beat(&self, report: &dyn Report, attempt: usize) -> Result<Option<ClusterView>> {
        let me: &Me = &self.links.me;
        let node = me.node().ok_or_else(|| Error::new(Reason::NotReady, "this node has no id yet"))?;
        let mut heartbeat = Heartbeat {
            node,
            incarnation: me.incarnation(),
            epoch: self.links.view()?.epoch,
            complete: Vec::new(),
            leads: Vec::new(),
            replicas: Vec::new(),
        };
        report.fill(&mut heartbeat);
        let address = self.door(attempt)?;
        let peer = self.links.network.admin(&address);
        let call = peer.call(me.context(DEADLINE_MS), heartbeat);
        let seen = time::timeout(Duration::from_millis(DEADLINE_MS), call)
            .await
            .map_err(|_| Error::new(Reason::Unreachable, "no frontend answered the heartbeat in time"))??;
        Ok(seen.view)
    }

    /// The frontend to ask at this attempt: those of the view, then the seeds, in turn.
    fn door(&self, attempt: usize) -> Result<String> {
        let view = self.links.views.borrow().clone();
        let known = view.iter().flat_map(|view| view.nodes_of(Role::Frontend)).map(|node| &node.address);
        let mut doors: Vec<&String> = known.collect();
        for seed in &self.seeds {
            if !doors.contains(&seed) {
                doors.push(seed);
            }
        }
        let at = attempt.checked_rem(doors.len()).unwrap_or(0);
        doors
            .get(at)
            .map(|door| (*door).clone())
            .ok_or_else(|| Error::new(Reason::NotReady, "no address of a frontend is known"))
    }
}

/// Waits before the next attempt.
async fn pause(attempt: usize) {
    time::sleep(if attempt < QUICK_ATTEMPTS { RETRY_FIRST } else { RETRY }).await;
}

/// Whether the store refuses this node for good.
pub fn is_final(error: &Error) -> bool {
    matches!(
        error.reason(),
        Reason::VolumeRolledBackOrInUse
            | Reason::NodeRemoved
            | Reason::ClusterMismatch
            | Reason::NodeMismatch
    )
}
