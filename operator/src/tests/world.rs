//! The whole world: an API server, Kubernetes' controllers, a store, a clock, and faults. One thread, one seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use futures::future::poll_fn;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use lamina_crds::{ConditionType, StorageCluster};
use lamina_env::Clock;
use lamina_peers::admin::{AdminAnswer, AdminRequest};
use lamina_peers::{AdminPeer, DataPeer, GroupPeer, IndexPeer, KvPeer, Network, Peer, Port, RaftPeer};
use lamina_types::{Error, Reason, RequestContext, Result};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::api::{Api, Id, status};
use super::controllers;
use super::fakestore::FakeStore;
use super::request::Request;
use crate::cluster::pass::{Context, pass};
use crate::metrics::Metrics;
use crate::names::Key;
use crate::options::Images;

pub const NAMESPACE: &str = "shop";
pub const NAME: &str = "orders";
/// Seconds of one step of the world.
const STEP_SECONDS: i64 = 10;

/// What goes wrong, by chance.
#[derive(Clone, Copy, Default, Debug)]
pub struct Faults {
    /// Of 1000 calls of a pass, so many are its last: half of them are still carried out.
    pub crashes: u64,
    /// Of 1000 lists, so many show an older state.
    pub stale: u64,
    /// Of 1000 calls, so many fail: a third of them are carried out all the same, and a third are told of a conflict.
    pub errors: u64,
    /// Of 100 steps, in so many the operator is not woken.
    pub sleeps: u64,
    /// Up to so many more steps are gone between two passes.
    pub haste: u64,
}

/// Random numbers.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

struct State {
    api: Api,
    store: FakeStore,
    faults: Faults,
    dice: Dice,
    lost: Vec<String>,
    /// The operator has crashed in the middle of a call: nothing of this pass is carried out any more.
    crashed: bool,
    /// The pass crashes at this call that changes something, before or after it was carried out.
    crash_at: Option<(u64, bool)>,
    /// Calls that change something.
    calls: u64,
}

/// The world. Cheap to clone.
#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
}

/// What becomes of a call.
enum Fate {
    Carried,
    Fails,
    /// Somebody else was faster, it is said.
    Conflicts,
    /// It is carried out, and its answer is lost.
    Unanswered,
    CrashesBefore,
    CrashesAfter,
}

impl World {
    pub fn new(seed: u64, faults: Faults) -> World {
        let mut api = Api::default();
        (api.now, api.growth) = (1_800_000_000, true);
        let state = State {
            api,
            store: FakeStore::default(),
            faults,
            dice: Dice::new(seed),
            lost: Vec::new(),
            crashed: false,
            crash_at: None,
            calls: 0,
        };
        World { state: Arc::new(Mutex::new(state)) }
    }

    pub fn key() -> Key {
        Key { namespace: NAMESPACE.to_owned(), name: NAME.to_owned() }
    }

    /// An operator, with an image of its own.
    pub fn operator(&self, image: &str) -> Context {
        let world = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let world = world.clone();
            async move { world.http(request).await }
        });
        let network = self.clone();
        Context::new(
            Client::new(service, NAMESPACE),
            Arc::new(self.clone()),
            Images { image: image.to_owned(), ..Images::default() },
            "lamina-system".to_owned(),
            Metrics::new(&lamina_telemetry::Metrics::new()).unwrap(),
            Box::new(move || Arc::new(network.clone()) as Arc<dyn Network>),
        )
    }

    async fn http(
        &self,
        request: http::Request<Body>,
    ) -> std::result::Result<http::Response<Body>, tower::BoxError> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let content = parts.headers.get("content-type").and_then(|it| it.to_str().ok()).unwrap_or_default();
        let query = parts.uri.query().unwrap_or_default();
        let request = Request::read(parts.method.as_str(), parts.uri.path(), query, content, &bytes);
        if request.verb == "watch" {
            // Nothing ever happens there: passes are made by the tests themselves.
            self.state.lock().api.answer(&request, 0);
            return std::future::pending().await;
        }
        let fate = self.fate(request.writes());
        if matches!(fate, Fate::CrashesBefore) {
            return std::future::pending().await;
        }
        let failure = |code, reason, why| Ok((code, serde_json::to_vec(&status(code, reason, why))?));
        let (code, body) = match fate {
            Fate::Fails => failure(500, "InternalError", "the API server is out of sorts"),
            Fate::Conflicts if request.writes() => failure(409, "Conflict", "somebody else was faster"),
            Fate::Unanswered => {
                self.answer(&request);
                failure(504, "Timeout", "the request did not complete in time")
            }
            _ => Ok::<_, tower::BoxError>(self.answer(&request)),
        }?;
        if matches!(fate, Fate::CrashesAfter) {
            self.state.lock().crashed = true;
            return std::future::pending().await;
        }
        let answer = http::Response::builder().status(code).header("content-type", "application/json");
        Ok(answer.body(Body::from(body))?)
    }

    fn answer(&self, request: &Request) -> (u16, Vec<u8>) {
        let mut state = self.state.lock();
        let odds = state.faults.stale;
        let stale =
            if request.verb == "list" && state.dice.below(1000) < odds { 1 + state.dice.below(8) } else { 0 };
        state.api.answer(request, stale as usize)
    }

    /// What becomes of the next call, which changes something or only reads.
    fn fate(&self, writes: bool) -> Fate {
        let mut state = self.state.lock();
        state.calls += u64::from(writes);
        if state.crashed {
            return Fate::CrashesBefore;
        }
        if let Some((at, before)) = state.crash_at {
            if !writes || state.calls < at {
                return Fate::Carried;
            }
            state.crash_at = None;
            state.crashed = before;
            return if before { Fate::CrashesBefore } else { Fate::CrashesAfter };
        }
        let faults = state.faults;
        let drawn = state.dice.below(1000);
        if drawn < faults.crashes {
            let before = drawn.is_multiple_of(2);
            state.crashed = before;
            return if before { Fate::CrashesBefore } else { Fate::CrashesAfter };
        }
        match state.dice.below(1000) {
            drawn if drawn >= faults.errors => Fate::Carried,
            drawn if drawn % 3 == 0 => Fate::Conflicts,
            drawn if drawn % 3 == 1 => Fate::Unanswered,
            _ => Fate::Fails,
        }
    }

    /// The operator crashes at the so manieth call from now that changes something. (A crash at a call that reads is one after the
    /// last call that changed something.)
    pub fn crash_at(&self, call: u64, before: bool) {
        let mut state = self.state.lock();
        state.calls = 0;
        state.crash_at = Some((call, before));
    }

    /// Whether the crash that was asked for is still to come.
    pub fn crash_is_to_come(&self) -> bool {
        self.state.lock().crash_at.is_some()
    }

    /// Whether the crash that was asked for is still to come; it is called off.
    pub fn has_crash_left(&self) -> bool {
        self.state.lock().crash_at.take().is_some()
    }

    /// One pass, which may crash.
    pub async fn pass(&self, context: &Context) {
        self.state.lock().crashed = false;
        let key = World::key();
        let mut pass = Box::pin(pass(context, &key));
        poll_fn(|cx| {
            let polled = pass.as_mut().poll(cx);
            if self.state.lock().crashed {
                return Poll::Ready(());
            }
            polled.map(|result| {
                if let Err(error) = result {
                    assert!(self.state.lock().faults.errors > 0, "{error}");
                }
            })
        })
        .await;
        drop(pass);
        self.state.lock().crashed = false;
    }

    /// Time goes on, for everything but the operator.
    pub fn step(&self) {
        let mut state = self.state.lock();
        let State { api, store, lost, .. } = &mut *state;
        api.now += STEP_SECONDS;
        controllers::step(api, store, lost);
        store.step();
    }

    /// Steps and passes until the store is ready and nothing is left to do; panics after so many.
    pub async fn settle(&self, context: &Context, steps: usize) {
        for _ in 0..steps {
            self.turn(context).await;
            if self.is("Ready") && self.is("Reconciled") {
                return;
            }
        }
        let conditions = ["Ready", "Available", "Progressing", "Degraded", "Reconciled", "Stalled"];
        let said: Vec<String> =
            conditions.iter().map(|it| format!("{it}: {:?}", self.condition(it))).collect();
        let writes = self.writes();
        let last: Vec<&String> = writes.iter().rev().take(40).rev().collect();
        panic!("not settled:\n{}\n{last:?}", said.join("\n"));
    }

    /// One step, and perhaps a pass.
    pub async fn turn(&self, context: &Context) {
        let (sleeps, steps) = {
            let mut state = self.state.lock();
            let Faults { sleeps, haste, .. } = state.faults;
            (state.dice.below(100) < sleeps, 1 + state.dice.below(haste + 1))
        };
        (0..steps).for_each(|_| self.step());
        if !sleeps {
            self.pass(context).await;
        }
    }

    /// From now on nothing goes wrong any more.
    pub fn calm(&self) {
        let haste = self.state.lock().faults.haste;
        self.state.lock().faults = Faults { haste, ..Faults::default() };
    }

    /// Creates the StorageCluster, or changes its spec.
    pub fn spec(&self, spec: Value) {
        let mut state = self.state.lock();
        let id = Api::id(lamina_crds::GROUP, "storageclusters", NAME);
        // As the API server would, with every default.
        let spec: lamina_crds::StorageClusterSpec = serde_json::from_value(spec).unwrap();
        let spec = serde_json::to_value(spec).unwrap();
        match state.api.objects.contains_key(&id) {
            true => state.api.edit(&id, |there| there["spec"] = spec),
            false => {
                let object = json!({ "apiVersion": "lamina.dev/v1alpha1", "kind": "StorageCluster", "metadata": { "name": NAME }, "spec": spec });
                state.api.create(&id, &object);
            }
        }
    }

    /// Deletes the StorageCluster.
    pub fn delete(&self) {
        self.state.lock().api.remove(&Api::id(lamina_crds::GROUP, "storageclusters", NAME));
    }

    /// Creates an operation.
    pub fn operate(&self, name: &str, spec: Value) {
        let id = Api::id(lamina_crds::GROUP, "storageoperations", name);
        let mut spec = spec;
        spec["cluster"] = json!(NAME);
        let object = json!({ "apiVersion": "lamina.dev/v1alpha1", "kind": "StorageOperation", "metadata": { "name": name }, "spec": spec });
        self.state.lock().api.create(&id, &object);
    }

    /// A Service of somebody else.
    pub fn foreign_service(&self, name: &str) {
        let object =
            json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": {} });
        self.state.lock().api.create(&Api::id("", "services", name), &object);
    }

    pub fn lose_host(&self, host: &str) {
        self.state.lock().lost.push(host.to_owned());
    }

    pub fn find_hosts(&self) {
        self.state.lock().lost.clear();
    }

    pub fn get(&self, group: &str, resource: &str, name: &str) -> Option<Value> {
        self.state.lock().api.objects.get(&Api::id(group, resource, name)).map(|it| Value::clone(it))
    }

    pub fn edit(&self, group: &str, resource: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        self.state.lock().api.edit(&Api::id(group, resource, name), edit);
    }

    pub fn take_away(&self, group: &str, resource: &str, name: &str) {
        let mut state = self.state.lock();
        state.api.begin_deletion(&Api::id(group, resource, name), false);
    }

    pub fn cluster(&self) -> Value {
        self.get(lamina_crds::GROUP, "storageclusters", NAME).unwrap()
    }

    /// The status, verdict and message of a condition.
    pub fn condition(&self, kind: &str) -> (String, String, String) {
        let cluster: StorageCluster = serde_json::from_value(self.cluster()).unwrap();
        let kind = ConditionType::ALL.into_iter().find(|it| it.as_str() == kind).unwrap();
        let status = cluster.status.unwrap_or_default();
        status.condition(kind).map_or_else(Default::default, |it| {
            (it.status.to_string(), it.reason.clone(), it.message.clone())
        })
    }

    pub fn is(&self, kind: &str) -> bool {
        let cluster = self.cluster();
        let now = cluster["status"]["observedGeneration"] == cluster["metadata"]["generation"];
        now && self.condition(kind).0 == "True"
    }

    pub fn writes(&self) -> Vec<String> {
        self.state.lock().api.writes.clone()
    }

    /// Writes that were asked for, whether they changed something or not.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().api.asked.clone()
    }

    pub fn forget_writes(&self) {
        let api = &mut self.state.lock().api;
        api.writes.clear();
        api.asked.clear();
    }

    pub fn events(&self) -> Vec<String> {
        self.state.lock().api.events.clone()
    }

    pub fn store<T>(&self, look: impl FnOnce(&mut FakeStore) -> T) -> T {
        look(&mut self.state.lock().store)
    }

    pub fn refuse_growth(&self) {
        self.state.lock().api.growth = false;
    }

    /// The API server itself.
    pub fn api<T>(&self, look: impl FnOnce(&mut Api) -> T) -> T {
        look(&mut self.state.lock().api)
    }

    /// Everything that has to be the same at the end, whatever went wrong on the way.
    pub fn end(&self) -> Value {
        let state = self.state.lock();
        let tidy = |(id, object): (&Id, &Arc<Value>)| {
            let mut object = Value::clone(object);
            if id.1 == "configmaps" && id.3.ends_with("-bootstrap") {
                object["data"] = Value::Null;
            }
            let labels = object["metadata"]["labels"].clone();
            object["metadata"] = labels;
            object.as_object_mut().unwrap().remove("status");
            (format!("{}/{}", id.1, id.3), object)
        };
        let passing = ["storageclusters", "storageoperations"];
        let objects: BTreeMap<String, Value> =
            state.api.objects.iter().filter(|(id, _)| !passing.contains(&id.1.as_str())).map(tidy).collect();
        json!({ "objects": objects, "nodes": format!("{:?}", state.store.roster()), "grant": state.store.granted() })
    }
}

impl Clock for World {
    fn now_ms(&self) -> u64 {
        (self.state.lock().api.now * 1000) as u64
    }
}

/// The administration of whoever answers at an address.
struct At {
    world: World,
    address: String,
}

#[async_trait]
impl Port<AdminRequest, AdminAnswer> for At {
    async fn call(&self, _: RequestContext, request: AdminRequest) -> Result<AdminAnswer> {
        use AdminRequest::{ClusterStatus, Identify, Probe};
        let reads = matches!(request, Identify(_) | ClusterStatus(_) | Probe(_));
        let fate = self.world.fate(!reads);
        match fate {
            Fate::CrashesBefore => return std::future::pending().await,
            Fate::Fails | Fate::Conflicts => {
                return Err(Error::new(Reason::Unreachable, "the network is out of sorts"));
            }
            Fate::Carried | Fate::CrashesAfter | Fate::Unanswered => {}
        }
        let answer = self.world.state.lock().store.answer(&self.address, request);
        if matches!(fate, Fate::Unanswered) {
            return Err(Error::new(Reason::DeadlineExceeded, "the answer was lost"));
        }
        if matches!(fate, Fate::CrashesAfter) {
            self.world.state.lock().crashed = true;
            return std::future::pending().await;
        }
        answer
    }
}

/// A port that nobody needs here.
struct Nobody;

#[async_trait]
impl<Q: Send + 'static, A: Send + 'static> Port<Q, A> for Nobody {
    async fn call(&self, _: RequestContext, _: Q) -> Result<A> {
        Err(Error::new(Reason::Unreachable, "the operator talks to administrations only"))
    }
}

impl Network for World {
    fn kv(&self, _: &str) -> KvPeer {
        Peer::new(Arc::new(Nobody))
    }
    fn index(&self, _: &str) -> IndexPeer {
        Peer::new(Arc::new(Nobody))
    }
    fn data(&self, _: &str) -> DataPeer {
        Peer::new(Arc::new(Nobody))
    }
    fn group(&self, _: &str) -> GroupPeer {
        Peer::new(Arc::new(Nobody))
    }
    fn raft(&self, _: &str) -> RaftPeer {
        Peer::new(Arc::new(Nobody))
    }
    fn admin(&self, address: &str) -> AdminPeer {
        Peer::new(Arc::new(At { world: self.clone(), address: address.to_owned() }))
    }
}
