//! Other data nodes.

use std::sync::Arc;

use lamina_env::random;
use lamina_peers::{DataPeer, Network};
use lamina_types::{NodeId, RequestContext, Sender};
use parking_lot::Mutex;

/// Milliseconds that another data node has for one piece of a table.
const PIECE_DEADLINE_MS: u64 = 20_000;

/// The way to other data nodes.
pub(crate) struct Peers {
    network: Arc<dyn Network>,
    sender: Mutex<Option<Sender>>,
}

impl Peers {
    pub fn new(network: Arc<dyn Network>) -> Peers {
        Peers { network, sender: Mutex::new(None) }
    }

    /// Who this node is, once it has registered.
    pub fn set_sender(&self, sender: Sender) {
        *self.sender.lock() = Some(sender);
    }

    /// The data node at an address.
    pub fn data(&self, address: &str) -> DataPeer {
        self.network.data(address)
    }

    /// The context of a call to `to`.
    pub fn context(&self, to: NodeId) -> RequestContext {
        let mut context = RequestContext::new(random::u128(), PIECE_DEADLINE_MS);
        context.sender = *self.sender.lock();
        context.to = Some(to);
        context
    }
}
