//! Data nodes with disks in memory, and a network between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use lamina_data::{DataOptions, DataService};
use lamina_env::clock::SimClock;
use lamina_env::disk::memory::MemDisk;
use lamina_env::{Disk, Env, random, time};
use lamina_peers::data::{CopySource, CopyTarget, DataAnswer, DataRequest};
use lamina_peers::{
    AdminPeer, DataPeer, GroupPeer, IndexPeer, KvPeer, Network, Operation, Peer, Port, RaftPeer,
};
use lamina_types::{CopyStamp, Error, NodeId, Reason, RequestContext, Result};
use parking_lot::Mutex;

/// Runs a story in a paused, seeded world: timers pass when everybody waits.
pub fn story(seed: u64, run: impl Future<Output = ()>) {
    random::seed_this_thread(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run);
    random::unseed_this_thread();
}

/// Nodes by address. Node `n` answers at `data-n`.
#[derive(Default)]
pub struct Lan {
    services: Mutex<BTreeMap<String, Weak<DataService>>>,
    down: Mutex<BTreeSet<String>>,
    calls: Mutex<BTreeMap<&'static str, u64>>,
}

pub fn id(n: u128) -> NodeId {
    NodeId(n)
}

pub fn address(n: u128) -> String {
    format!("data-{n}")
}

pub fn source(n: u128) -> CopySource {
    CopySource { node: id(n), address: address(n) }
}

pub fn target(n: u128, stamp: CopyStamp) -> CopyTarget {
    CopyTarget { node: id(n), address: address(n), stamp }
}

impl Lan {
    pub fn new() -> Arc<Lan> {
        Arc::new(Lan::default())
    }

    /// Starts node `n` on `disk`; the scrubber runs only when it is called.
    pub async fn start(self: &Arc<Lan>, n: u128, disk: &MemDisk) -> Arc<DataService> {
        self.start_with(n, disk, |_| ()).await
    }

    pub async fn start_with(
        self: &Arc<Lan>,
        n: u128,
        disk: &MemDisk,
        change: impl FnOnce(&mut DataOptions),
    ) -> Arc<DataService> {
        self.start_on(n, Arc::new(disk.mount()), change).await
    }

    pub async fn start_on(
        self: &Arc<Lan>,
        n: u128,
        disk: Arc<dyn Disk>,
        change: impl FnOnce(&mut DataOptions),
    ) -> Arc<DataService> {
        let mut options = DataOptions::new(id(n));
        options.scrub_bytes_per_second = 0;
        change(&mut options);
        let env = Env { clock: Arc::new(SimClock::starting_at(1)), disk };
        let network: Arc<dyn Network> = Arc::new(Wires(self.clone()));
        let service = DataService::start(env, "store", network, options).await.unwrap();
        self.services.lock().insert(address(n), Arc::downgrade(&service));
        service
    }

    /// Calls to node `n` fail from now on, or work again.
    pub fn set_down(&self, n: u128, down: bool) {
        let mut all = self.down.lock();
        if down {
            all.insert(address(n))
        } else {
            all.remove(&address(n))
        };
    }

    /// How often a request went over the network.
    pub fn calls(&self, name: &str) -> u64 {
        self.calls.lock().get(name).copied().unwrap_or(0)
    }
}

/// Calls a service as another node would.
pub async fn ask<O>(service: &Arc<DataService>, operation: O) -> Result<O::Answer>
where
    O: Operation<DataRequest, DataAnswer>,
{
    service.peer().call(RequestContext::new(1, 600_000), operation).await
}

/// Waits until `probe` gives something, but not for ever.
pub async fn eventually<T>(mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..10_000 {
        if let Some(found) = probe().await {
            return found;
        }
        time::sleep(time::Duration::from_millis(20)).await;
    }
    panic!("it never came about");
}

struct Wires(Arc<Lan>);

struct Wire {
    lan: Arc<Lan>,
    address: String,
}

struct Nobody;

fn unreachable(what: &str) -> Error {
    Error::new(Reason::Unreachable, format!("{what} cannot be reached"))
}

#[async_trait]
impl Port<DataRequest, DataAnswer> for Wire {
    async fn call(&self, context: RequestContext, request: DataRequest) -> Result<DataAnswer> {
        *self.lan.calls.lock().entry(request.name()).or_default() += 1;
        if self.lan.down.lock().contains(&self.address) {
            return Err(unreachable(&self.address));
        }
        let service = self.lan.services.lock().get(&self.address).and_then(Weak::upgrade);
        service.ok_or_else(|| unreachable(&self.address))?.call(context, request).await
    }
}

#[async_trait]
impl<Q: Send + 'static, A: Send + 'static> Port<Q, A> for Nobody {
    async fn call(&self, _: RequestContext, _: Q) -> Result<A> {
        Err(unreachable("a node that is no data node"))
    }
}

impl Network for Wires {
    fn kv(&self, _: &str) -> KvPeer {
        Peer::new(Arc::new(Nobody))
    }
    fn index(&self, _: &str) -> IndexPeer {
        Peer::new(Arc::new(Nobody))
    }
    fn data(&self, address: &str) -> DataPeer {
        Peer::new(Arc::new(Wire { lan: self.0.clone(), address: address.to_owned() }))
    }
    fn group(&self, _: &str) -> GroupPeer {
        Peer::new(Arc::new(Nobody))
    }
    fn raft(&self, _: &str) -> RaftPeer {
        Peer::new(Arc::new(Nobody))
    }
    fn admin(&self, _: &str) -> AdminPeer {
        Peer::new(Arc::new(Nobody))
    }
}
