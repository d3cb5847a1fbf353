//! The network of a world: every call of a port is a message that may come late, twice, out of order or never, and
//! whose answer may be lost after the work was done.
//!
//! A message travels in a task of the network, so that it arrives even if its sender is gone by then; the work is
//! done in a task of the receiver, so that it ends if the receiver crashes and only then. A node's calls to itself
//! are never lost and take no time.

mod links;
mod message;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lamina_env::TaskGroup;
use lamina_peers::admin::{AdminAnswer, AdminRequest};
use lamina_peers::data::{DataAnswer, DataRequest};
use lamina_peers::group::{GroupAnswer, GroupRequest};
use lamina_peers::index::{IndexAnswer, IndexRequest};
use lamina_peers::kv::{KvAnswer, KvRequest};
use lamina_peers::raft::{RaftAnswer, RaftRequest};
use lamina_peers::{AdminPeer, DataPeer, GroupPeer, IndexPeer, KvPeer, Network, Peer, Port, RaftPeer};
use lamina_types::{RequestContext, Result};
use parking_lot::Mutex;

use crate::trace::Trace;
use links::Links;
pub use links::{Cut, CutId, Link};
use message::Message;

/// One port of a node.
pub type Served<Q, A> = Option<Arc<dyn Port<Q, A>>>;

/// What a node serves at one address. Absent ports answer `UNREACHABLE`.
#[derive(Clone, Default)]
pub struct Services {
    /// A frontend's door for keys and values.
    pub kv: Served<KvRequest, KvAnswer>,
    /// An index node.
    pub index: Served<IndexRequest, IndexAnswer>,
    /// A data node.
    pub data: Served<DataRequest, DataAnswer>,
    /// A frontend that leads groups.
    pub group: Served<GroupRequest, GroupAnswer>,
    /// A frontend's replicas.
    pub raft: Served<RaftRequest, RaftAnswer>,
    /// Any node's administration.
    pub admin: Served<AdminRequest, AdminAnswer>,
}

/// The network. Cheap to clone; clones are the same network.
#[derive(Clone)]
pub struct SimNetwork(Arc<Shared>);

struct Shared {
    trace: Trace,
    /// Messages under way, which belong to nobody.
    tasks: TaskGroup,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hosts: BTreeMap<String, Host>,
    links: Links,
    messages: u64,
}

/// Who answers at an address.
#[derive(Clone)]
struct Host {
    node: Arc<str>,
    tasks: TaskGroup,
    services: Services,
}

impl SimNetwork {
    /// A network without nodes, whose links are [`Link::default`].
    pub fn new(trace: Trace) -> SimNetwork {
        SimNetwork(Arc::new(Shared { trace, tasks: TaskGroup::new(), state: Mutex::default() }))
    }

    /// The network as `node` sees it, for the life that `tasks` belong to.
    pub fn of(&self, node: &str, tasks: &TaskGroup) -> NetworkOf {
        NetworkOf { network: self.clone(), node: node.into(), tasks: tasks.clone() }
    }

    /// The network as somebody sees it who is not a node: a client, a test. Links and cuts may name it.
    pub fn client(&self, name: &str) -> NetworkOf {
        self.of(name, &TaskGroup::new())
    }

    /// Takes everything that `node` serves off the network.
    pub fn withdraw(&self, node: &str) {
        self.0.state.lock().hosts.retain(|_, host| &*host.node != node);
    }

    /// The quality of every link that has none of its own.
    pub fn links(&self) -> Link {
        self.0.state.lock().links.everywhere
    }

    /// Sets the quality of every link that has none of its own.
    pub fn set_links(&self, link: Link) {
        self.0.state.lock().links.everywhere = link;
    }

    /// Gives the way from one node to another a quality of its own; `None` takes it back.
    pub fn set_link(&self, from: &str, to: &str, link: Option<Link>) {
        self.0.state.lock().links.set(from, to, link);
    }

    /// Stops messages, also those under way, until [`SimNetwork::mend`].
    pub fn cut(&self, cut: Cut) -> CutId {
        self.0.trace.push(format_args!("cut {cut:?}"));
        self.0.state.lock().links.cut(cut)
    }

    /// Ends one cut.
    pub fn mend(&self, cut: CutId) {
        self.0.trace.push(format_args!("mend {cut:?}"));
        self.0.state.lock().links.mend(cut);
    }

    /// Ends all cuts, and all links are [`Link::default`] again.
    pub fn heal(&self) {
        self.0.trace.push("heal");
        self.0.state.lock().links.heal();
    }
}

/// The network as one node sees it: finds peers, and registers what the node serves.
#[derive(Clone)]
pub struct NetworkOf {
    network: SimNetwork,
    node: Arc<str>,
    tasks: TaskGroup,
}

impl NetworkOf {
    /// Answers at `address` from now on, until the node's life ends; replaces what was there. Nothing if the life
    /// is over already.
    pub fn serve(&self, address: &str, services: Services) {
        if self.tasks.is_stopped() {
            return;
        }
        self.network.0.trace.push(format_args!("{} serves at {address}", self.node));
        let host = Host { node: self.node.clone(), tasks: self.tasks.clone(), services };
        self.network.0.state.lock().hosts.insert(address.to_owned(), host);
    }

    fn peer<Q, A>(&self, address: &str, form: Form<Q, A>) -> Peer<Q, A>
    where
        Q: Clone + Send + Sync + 'static,
        A: Send + 'static,
    {
        let network = self.network.0.clone();
        Peer::new(Arc::new(Door { network, from: self.node.clone(), address: address.into(), form }))
    }
}

impl Network for NetworkOf {
    fn kv(&self, address: &str) -> KvPeer {
        self.peer(address, Form { port: "kv", name: KvRequest::name, pick: |services| services.kv.clone() })
    }

    fn index(&self, address: &str) -> IndexPeer {
        let pick = |services: &Services| services.index.clone();
        self.peer(address, Form { port: "index", name: IndexRequest::name, pick })
    }

    fn data(&self, address: &str) -> DataPeer {
        self.peer(
            address,
            Form { port: "data", name: DataRequest::name, pick: |services| services.data.clone() },
        )
    }

    fn group(&self, address: &str) -> GroupPeer {
        let pick = |services: &Services| services.group.clone();
        self.peer(address, Form { port: "group", name: GroupRequest::name, pick })
    }

    fn raft(&self, address: &str) -> RaftPeer {
        self.peer(
            address,
            Form { port: "raft", name: RaftRequest::name, pick: |services| services.raft.clone() },
        )
    }

    fn admin(&self, address: &str) -> AdminPeer {
        let pick = |services: &Services| services.admin.clone();
        self.peer(address, Form { port: "admin", name: AdminRequest::name, pick })
    }
}

/// What differs between the ports.
struct Form<Q, A> {
    port: &'static str,
    name: fn(&Q) -> &'static str,
    pick: fn(&Services) -> Served<Q, A>,
}

impl<Q, A> Clone for Form<Q, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q, A> Copy for Form<Q, A> {}

/// A port of somebody else, reached over the network.
struct Door<Q, A> {
    network: Arc<Shared>,
    from: Arc<str>,
    address: Arc<str>,
    form: Form<Q, A>,
}

#[async_trait]
impl<Q, A> Port<Q, A> for Door<Q, A>
where
    Q: Clone + Send + Sync + 'static,
    A: Send + 'static,
{
    async fn call(&self, context: RequestContext, request: Q) -> Result<A> {
        Message::send(&self.network, &self.from, &self.address, self.form, context, request).await
    }
}

#[cfg(test)]
mod tests;
