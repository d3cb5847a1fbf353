//! What the keeper of a store does when a machine is gone for good (protocols §10.4, §10.5): it starts another one
//! under the same name and an identity of its own, and declares the lost one dead.

use lamina_env::time::{self, Duration};
use lamina_peers::Network;
use lamina_peers::admin::{ReleaseVolume, SetNodeState, VolumeReleased};
use lamina_peers::view::{NodeState, NodeView};
use lamina_types::{NodeId, Result, Role};

use crate::nodes::{Store, context};

/// Nobody may be declared dead sooner than after half a minute, and a majority must have found a leader.
const LIMIT: Duration = Duration::from_secs(120);

impl Store {
    /// Who has this name now, of those that were not declared lost.
    pub async fn identities(&self, name: &str) -> Result<Vec<NodeView>> {
        let status = self.client("keeper", 0).status().await?;
        let lost = |node: &NodeView| matches!(node.state, NodeState::Dead | NodeState::Removed);
        Ok(status.view.nodes.into_iter().filter(|node| node.name == name && !lost(node)).collect())
    }

    /// The machine loses its disk, and what starts there has never been part of the store. Returns the lost node
    /// when the new one takes part, and the lost one is declared dead.
    pub async fn replace(&self, name: &str) -> NodeId {
        let deadline = time::now() + LIMIT;
        let old = loop {
            match self.identities(name).await.as_deref() {
                Ok([only]) => break only.clone(),
                other => self.wait_on(deadline, &format!("{name} is not one node: {other:?}")).await,
            }
        };
        let machine = self.machine(name);
        machine.replace_disk();
        machine.start();
        self.declare_dead(&old, deadline).await;
        loop {
            match self.identities(name).await.as_deref() {
                Ok([new]) if new.node != old.node && new.state == NodeState::Active => return old.node,
                other => self.wait_on(deadline, &format!("{name} is not replaced: {other:?}")).await,
            }
        }
    }

    async fn declare_dead(&self, old: &NodeView, deadline: time::Instant) {
        let network = self.world().network().client("keeper");
        let set = SetNodeState { node: old.node, from: old.state, to: NodeState::Dead };
        loop {
            for address in self.names_of(Role::Frontend) {
                match network.admin(&address).call(context(), set).await {
                    Ok(_) => return,
                    Err(error) => self.world().trace(format_args!("{} is not dead yet: {error}", old.name)),
                }
            }
            self.wait_on(deadline, "the lost node is not declared dead").await;
        }
    }

    /// Gives up the volume of a dead node, and waits until the store has forgotten the node.
    pub async fn forget(&self, node: NodeId) {
        let deadline = time::now() + LIMIT;
        let network = self.world().network().client("keeper");
        let address = &self.names_of(Role::Frontend)[0];
        loop {
            match network.admin(address).call(context(), ReleaseVolume { node }).await {
                Ok(VolumeReleased::Released) => break,
                other => self.wait_on(deadline, &format!("the volume is not released: {other:?}")).await,
            }
        }
        loop {
            let status = self.client("keeper", 0).status().await;
            match status.as_ref().map(|status| status.view.node(node)) {
                Ok(None) => return,
                Ok(Some(known)) if known.state == NodeState::Removed => return,
                other => self.wait_on(deadline, &format!("the node is not forgotten: {other:?}")).await,
            }
        }
    }

    async fn wait_on(&self, deadline: time::Instant, what: &str) {
        assert!(time::now() < deadline, "{what}");
        time::sleep(Duration::from_millis(500)).await;
    }
}
