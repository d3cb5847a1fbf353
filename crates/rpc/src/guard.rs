//! Who may speak to this node (rule G5): only its own store, only the newest start of each node, and only who means it.
//!
//! A [`Guard`] stands before a peer, in process as well as behind a port, so both refuse the same. It also opens the one
//! span of each request, at level `debug`: with the request's id, which a request keeps on its way from node to node.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use lamina_peers::{Named, Peer, Port};
use lamina_types::{ClusterId, Error, Incarnation, NodeId, Reason, RequestContext, Result, Sender};
use parking_lot::Mutex;
use tracing::Instrument;

/// Who this node is, and which starts of other nodes it has heard of. Share one among all guards of a node.
#[derive(Debug, Default)]
pub struct Identity {
    /// How traces call the node.
    name: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cluster: Option<ClusterId>,
    node: Option<NodeId>,
    /// The highest incarnation that was heard of each node.
    incarnations: BTreeMap<NodeId, Incarnation>,
}

impl Identity {
    /// A node, and its store if it has one already. An index node learns both later.
    pub fn new(cluster: Option<ClusterId>, node: Option<NodeId>) -> Identity {
        let state = State { cluster, node, incarnations: BTreeMap::new() };
        Identity { name: String::new(), state: Mutex::new(state) }
    }

    /// The same node with a name for traces: `frontend-0`.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Identity {
        Identity { name: name.into(), ..self }
    }

    /// The node has become a member of a store.
    pub fn set_cluster(&self, cluster: ClusterId) {
        self.state.lock().cluster = Some(cluster);
    }

    /// The node has got its name.
    pub fn set_node(&self, node: NodeId) {
        self.state.lock().node = Some(node);
    }

    /// The store, if there is one yet.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.state.lock().cluster
    }

    /// The node, if it has a name yet.
    pub fn node(&self) -> Option<NodeId> {
        self.state.lock().node
    }

    /// A start of a node was heard of, as from the cluster's view: older ones are refused from now on.
    pub fn heard_of(&self, node: NodeId, incarnation: Incarnation) {
        let mut state = self.state.lock();
        let known = state.incarnations.entry(node).or_insert(incarnation);
        *known = (*known).max(incarnation);
    }

    /// Whether a call with this context may come in.
    ///
    /// # Errors
    /// `NODE_MISMATCH`: another node is meant, or the sender is an earlier start of its node. `CLUSTER_MISMATCH`: the
    /// sender is of another store. `NOT_READY`: `members_only`, and this node has no store yet.
    pub fn admit(&self, context: &RequestContext, members_only: bool) -> Result<()> {
        let mut state = self.state.lock();
        if let (Some(to), Some(node)) = (context.to, state.node)
            && to != node
        {
            let message = format!("node {to} is meant, but node {node} answers at this address");
            return Err(Error::new(Reason::NodeMismatch, message).with("node", node));
        }
        match context.sender {
            Some(sender) => state.admit_sender(sender, members_only),
            None if members_only => {
                let message = "the call does not say which node sends it, and only nodes may call here";
                Err(Error::new(Reason::ClusterMismatch, message))
            }
            None => Ok(()),
        }
    }
}

impl State {
    fn admit_sender(&mut self, sender: Sender, members_only: bool) -> Result<()> {
        match self.cluster {
            Some(cluster) if cluster != sender.cluster => {
                let message =
                    format!("the sender is of store {}, this node of store {cluster}", sender.cluster);
                return Err(Error::new(Reason::ClusterMismatch, message).with("cluster", cluster));
            }
            None if members_only => {
                let message = "this node is not a member of a store yet";
                return Err(Error::new(Reason::NotReady, message));
            }
            // Without a store of its own a node cannot judge senders, and must not remember what they claim.
            None => return Ok(()),
            Some(_) => {}
        }
        let known = self.incarnations.entry(sender.node).or_insert(sender.incarnation);
        if sender.incarnation < *known {
            let message = format!(
                "the message is from start {} of node {}, which has started again since (start {known})",
                sender.incarnation, sender.node
            );
            return Err(Error::new(Reason::NodeMismatch, message).with("incarnation", *known));
        }
        *known = sender.incarnation;
        Ok(())
    }
}

/// A peer behind an [`Identity`].
pub struct Guard<Q, A> {
    inner: Peer<Q, A>,
    identity: Arc<Identity>,
    members_only: bool,
}

impl<Q: Named + Send + 'static, A: Send + 'static> Guard<Q, A> {
    /// Lets only nodes of this store in: for the index, data, raft and group ports.
    pub fn members(inner: Peer<Q, A>, identity: Arc<Identity>) -> Peer<Q, A> {
        Peer::new(Arc::new(Guard { inner, identity, members_only: true }))
    }

    /// Also lets calls in that name no sender, as of clients and people: for the kv and admin ports. Until this node
    /// has a store it also lets in every sender.
    pub fn everybody(inner: Peer<Q, A>, identity: Arc<Identity>) -> Peer<Q, A> {
        Peer::new(Arc::new(Guard { inner, identity, members_only: false }))
    }
}

impl<Q: Named + Send + 'static, A: Send + 'static> Port<Q, A> for Guard<Q, A> {
    /// Written out, so that a request that may come in costs no future of the guard's own.
    fn call<'a, 'call>(
        &'a self,
        context: RequestContext,
        request: Q,
    ) -> Pin<Box<dyn Future<Output = Result<A>> + Send + 'call>>
    where
        'a: 'call,
        Self: 'call,
    {
        if let Err(error) = self.identity.admit(&context, self.members_only) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let span = tracing::debug_span!(
            "request",
            node = &*self.identity.name,
            operation = request.name(),
            id = %format_args!("{:032x}", context.trace)
        );
        let work = self.inner.forward(context, request);
        // Nobody listens: then a request costs the look at a flag, and no more.
        if span.is_disabled() { work } else { Box::pin(work.instrument(span)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: ClusterId = ClusterId(1);

    fn from(cluster: ClusterId, incarnation: u64) -> RequestContext {
        let sender = Sender { cluster, node: NodeId(7), incarnation: Incarnation(incarnation) };
        RequestContext { sender: Some(sender), ..RequestContext::new(1, 1000) }
    }

    fn refused(result: Result<()>) -> Option<Reason> {
        result.err().map(|error| error.reason())
    }

    #[test]
    fn a_node_of_another_store_is_refused() {
        let identity = Identity::new(Some(OURS), Some(NodeId(1)));
        assert_eq!(refused(identity.admit(&from(OURS, 1), true)), None);
        assert_eq!(refused(identity.admit(&from(ClusterId(2), 1), true)), Some(Reason::ClusterMismatch));
        assert_eq!(refused(identity.admit(&from(ClusterId(2), 1), false)), Some(Reason::ClusterMismatch));
    }

    #[test]
    fn an_earlier_start_of_a_node_is_refused_once_a_later_one_was_heard_of() {
        let identity = Identity::new(Some(OURS), Some(NodeId(1)));
        assert_eq!(refused(identity.admit(&from(OURS, 3), true)), None);
        assert_eq!(refused(identity.admit(&from(OURS, 2), true)), Some(Reason::NodeMismatch));
        identity.heard_of(NodeId(7), Incarnation(5));
        assert_eq!(refused(identity.admit(&from(OURS, 4), true)), Some(Reason::NodeMismatch));
        identity.heard_of(NodeId(7), Incarnation(2));
        assert_eq!(refused(identity.admit(&from(OURS, 4), true)), Some(Reason::NodeMismatch));
        assert_eq!(refused(identity.admit(&from(OURS, 5), true)), None);
    }

    #[test]
    fn a_sender_of_another_store_cannot_make_us_refuse_our_own_nodes() {
        let identity = Identity::new(Some(OURS), Some(NodeId(1)));
        assert!(identity.admit(&from(ClusterId(2), 900), true).is_err());
        assert_eq!(refused(identity.admit(&from(OURS, 1), true)), None);
        let homeless = Identity::new(None, None);
        assert_eq!(refused(homeless.admit(&from(ClusterId(2), 900), false)), None);
        homeless.set_cluster(OURS);
        assert_eq!(refused(homeless.admit(&from(OURS, 1), true)), None);
    }

    #[test]
    fn a_call_that_means_another_node_is_refused() {
        let identity = Identity::new(Some(OURS), None);
        let call = RequestContext { to: Some(NodeId(2)), ..from(OURS, 1) };
        assert_eq!(refused(identity.admit(&call, true)), None, "the node does not know its name yet");
        identity.set_node(NodeId(1));
        assert_eq!(refused(identity.admit(&call, true)), Some(Reason::NodeMismatch));
        identity.set_node(NodeId(2));
        assert_eq!(refused(identity.admit(&call, true)), None);
    }

    #[test]
    fn who_names_no_sender_comes_in_only_where_everybody_may() {
        let identity = Identity::new(Some(OURS), Some(NodeId(1)));
        let client = RequestContext::new(1, 1000);
        assert_eq!(refused(identity.admit(&client, true)), Some(Reason::ClusterMismatch));
        assert_eq!(refused(identity.admit(&client, false)), None);
        let homeless = Identity::new(None, None);
        assert_eq!(refused(homeless.admit(&from(OURS, 1), true)), Some(Reason::NotReady));
    }
}
