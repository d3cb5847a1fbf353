//! The keeper: acts on the world for a store, as the operator does in a cluster (protocols §10).
//!
//! It never throws a volume away that the store may still need: first the node is declared dead, then the store
//! releases the volume, and only then it is set aside. The store refuses as long as a group would not keep a majority
//! of caught-up voters without it. So one damaged frontend is replaced after the other, however often the keeper
//! itself is killed in between: what has been done stands in the meta group, nothing in the keeper's memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamina_env::random;
use lamina_env::time::{self, Duration};
use lamina_peers::admin::{Identify, ReleaseVolume, SetNodeState, VolumeReleased, Watch};
use lamina_peers::view::{ClusterView, NodeState, NodeView};
use lamina_peers::{AdminPeer, Network};
use lamina_types::{Epoch, NodeId, RequestContext};
use parking_lot::Mutex;

use crate::error::UpError;

/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two words on the same thing.
const SAY_EVERY: u32 = 10;
/// Between two looks at nodes that share a name.
const LOOK: Duration = Duration::from_secs(10);
/// What a call may take.
const DEADLINE_MS: u64 = 5_000;

/// Acts for one store. Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    network: Arc<dyn Network>,
    frontends: Vec<String>,
    damaged: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Keeper {
    /// A keeper that reaches the store through these addresses of frontends.
    pub fn new(network: Arc<dyn Network>, frontends: Vec<String>) -> Keeper {
        Keeper { network, frontends, damaged: Arc::default() }
    }

    /// Takes note of a frontend whose log is damaged.
    ///
    /// # Errors
    /// The others cannot replace it: too few are left. Nothing was set aside.
    pub fn note_damage(&self, name: &str, why: &str) -> Result<(), UpError> {
        let mut damaged = self.damaged.lock();
        damaged.insert(name.to_owned(), why.to_owned());
        let all = self.frontends.len();
        if all >= 3 && all - damaged.len() > all / 2 {
            return Ok(());
        }
        let whys: Vec<String> = damaged.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        Err(UpError::Refused(format!(
            "{} of {all} frontends cannot start ({}); nothing was set aside, because the others may not hold all that \
             was acknowledged: bring back undamaged volumes of a majority",
            damaged.len(),
            whys.join("; ")
        )))
    }

    /// Waits until the store has declared this frontend dead and released its volume: everything that it held is held
    /// by others.
    pub async fn release(&self, name: &str, lost: NodeId) {
        for attempt in 0u32.. {
            let mut why = "no frontend answers".to_owned();
            for peer in self.doors() {
                match ask_for_release(&peer, lost).await {
                    Ok(()) => {
                        self.damaged.lock().remove(name);
                        return;
                    }
                    Err(refusal) => why = refusal,
                }
            }
            if attempt.is_multiple_of(SAY_EVERY) {
                tracing::warn!(node = name, why, "the damaged volume stays where it is until it is released");
            }
            time::sleep(AGAIN).await;
        }
    }

    /// What a start may be waiting for; empty if nothing is damaged.
    pub fn complaint(&self) -> String {
        let damaged = self.damaged.lock();
        let names: Vec<&str> = damaged.keys().map(String::as_str).collect();
        match names[..] {
            [] => String::new(),
            _ => format!("; {} is damaged and not replaced yet", names.join(", ")),
        }
    }

    /// Looks, for ever, for nodes whose volume has gone: another node has their name, and answers at their address.
    /// They are declared dead, so that what they held is made anew.
    pub async fn watch(self) {
        loop {
            time::sleep(LOOK).await;
            for peer in self.doors() {
                let Ok(view) = view(&peer).await else { continue };
                for node in namesakes(&view) {
                    self.bury_if_replaced(&peer, node).await;
                }
                break;
            }
        }
    }

    async fn bury_if_replaced(&self, peer: &AdminPeer, node: &NodeView) {
        let there = self.network.admin(&node.address).call(context(), Identify {}).await;
        let replaced = there.is_ok_and(|identity| {
            identity.name == node.name && identity.node.is_some_and(|present| present != node.node)
        });
        if !replaced {
            return;
        }
        // Refused until the store has not heard of it for long enough.
        let set = SetNodeState { node: node.node, from: node.state, to: NodeState::Dead };
        let dead = node.state == NodeState::Dead || peer.call(context(), set).await.is_ok();
        if dead {
            let _ = peer.call(context(), ReleaseVolume { node: node.node }).await;
        }
    }

    fn doors(&self) -> impl Iterator<Item = AdminPeer> {
        self.frontends.iter().map(|address| self.network.admin(address))
    }
}

/// Declares the node dead and asks for its volume.
async fn ask_for_release(peer: &AdminPeer, lost: NodeId) -> Result<(), String> {
    let view = view(peer).await?;
    if let Some(node) = view.node(lost)
        && node.state != NodeState::Dead
    {
        let set = SetNodeState { node: lost, from: node.state, to: NodeState::Dead };
        peer.call(context(), set).await.map_err(|error| error.to_string())?;
    }
    match peer.call(context(), ReleaseVolume { node: lost }).await {
        Ok(VolumeReleased::Released) => Ok(()),
        Ok(VolumeReleased::Refused { reasons }) => Err(reasons.join("; ")),
        Err(error) => Err(error.to_string()),
    }
}

async fn view(peer: &AdminPeer) -> Result<ClusterView, String> {
    let watch = Watch { after: Epoch::ZERO };
    peer.call(context(), watch).await.map(|changed| changed.view).map_err(|error| error.to_string())
}

/// Nodes that share their name and role with another one.
fn namesakes(view: &ClusterView) -> impl Iterator<Item = &NodeView> {
    view.nodes.iter().filter(|node| {
        let same = |other: &&NodeView| other.name == node.name && other.role == node.role;
        view.nodes.iter().filter(same).count() > 1
    })
}

fn context() -> RequestContext {
    RequestContext::new(random::u128(), DEADLINE_MS)
}
