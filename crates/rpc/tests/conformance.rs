//! One suite on both forms of every port: within a process, and over gRPC.

#[path = "../../proto/testing/arbitrary.rs"]
mod arbitrary;

use std::fmt::Debug;
use std::sync::Arc;

use arbitrary::arbitrary;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lamina_peers::data::DataRequest;
use lamina_peers::index::{IndexRequest, Lookup};
use lamina_peers::{Network, Peer, Port};
use lamina_proto::stream::{AdminWire, DataWire, GroupWire, IndexWire, KvWire, RaftWire, Wire};
use lamina_rpc::{GrpcNetwork, Server, ServerOptions, Services, serve};
use lamina_types::{ClusterId, Epoch, Error, Incarnation, NodeId, Reason, RequestContext, Result, Sender};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

/// What the echo does is told by the principal of a call.
mod behaviour {
    /// Answers something that depends on the whole request.
    pub const ANSWER: &str = "";
    /// The same, but only when it is released.
    pub const HELD: &str = "held";
    /// Fails, with everything that an error can have.
    pub const FAIL: &str = "fail";
    /// Fails with the context as its message.
    pub const TELL: &str = "tell";
}

struct Echo {
    release: Arc<Semaphore>,
}

#[async_trait]
impl<Q: Debug + Send + 'static, A: DeserializeOwned + Send + 'static> Port<Q, A> for Echo {
    async fn call(&self, context: RequestContext, request: Q) -> Result<A> {
        match context.principal.as_str() {
            behaviour::HELD => self.release.acquire().await.unwrap().forget(),
            behaviour::FAIL => return Err(failure()),
            behaviour::TELL => return Err(Error::new(Reason::StateRefused, format!("{context:?}"))),
            _ => {}
        }
        Ok(arbitrary(digest(&request)))
    }
}

fn failure() -> Error {
    Error::new(Reason::Overloaded, "too much at once")
        .retry_after_ms(321)
        .with("limit", 7)
        .with("leader", "a:1")
}

/// FNV-1a over the request's text.
fn digest(request: &impl Debug) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{request:?}").bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// A port's peer in one of its forms, and what holds it up.
struct Form<W: Wire> {
    peer: Peer<W::Request, W::Answer>,
    release: Arc<Semaphore>,
    _server: Option<(Server, GrpcNetwork)>,
}

/// A port as the suite needs it.
trait Tested: Wire {
    /// Puts a peer among the services.
    fn offer(peer: Peer<Self::Request, Self::Answer>) -> Services;
    /// Finds it again.
    fn find(network: &GrpcNetwork, address: &str) -> Peer<Self::Request, Self::Answer>;
    /// A request that may come in.
    fn request(seed: u64) -> Self::Request;
}

macro_rules! tested {
    ($($wire:ident $field:ident $well:expr;)*) => {$(
        impl Tested for $wire {
            fn offer(peer: Peer<Self::Request, Self::Answer>) -> Services {
                Services { $field: Some(peer), ..Services::default() }
            }
            fn find(network: &GrpcNetwork, address: &str) -> Peer<Self::Request, Self::Answer> {
                network.$field(address)
            }
            fn request(seed: u64) -> Self::Request {
                let well: fn(Self::Request) -> Option<Self::Request> = $well;
                (0..).find_map(|next| well(arbitrary(seed * 1000 + next))).unwrap()
            }
        }
    )*};
}
tested! {
    KvWire kv |request| lamina_proto::validate::kv(&request).is_ok().then_some(request);
    IndexWire index |request| match request {
        IndexRequest::Lookup(lookup) => whole(&lookup).then_some(IndexRequest::Lookup(lookup)),
        other => Some(other),
    };
    DataWire data |request| match request {
        DataRequest::Lookup(lookup) => whole(&lookup).then_some(DataRequest::Lookup(lookup)),
        other => Some(other),
    };
    GroupWire group Some;
    RaftWire raft Some;
    AdminWire admin Some;
}

fn whole(lookup: &Lookup) -> bool {
    lookup.keys.iter().all(|key| (key.candidates as usize) < lookup.candidates.len())
}

impl<W: Tested> Form<W>
where
    W::Request: Debug,
    W::Answer: DeserializeOwned,
{
    fn in_process() -> Form<W> {
        let release = Arc::new(Semaphore::new(0));
        let peer = Peer::new(Arc::new(Echo { release: release.clone() }));
        Form { peer, release, _server: None }
    }

    async fn grpc() -> Form<W> {
        let form = Self::in_process();
        let services = W::offer(form.peer);
        let options =
            ServerOptions { listen: "127.0.0.1:0".into(), services, calls: None, reflection: false };
        let server = serve(options).await.unwrap();
        let network = GrpcNetwork::new();
        let peer = W::find(&network, &server.address().to_string());
        Form { peer, release: form.release, _server: Some((server, network)) }
    }
}

fn context(behaviour: &str) -> RequestContext {
    RequestContext { principal: behaviour.to_owned(), ..RequestContext::new(1, 20_000) }
}

/// The suite.
async fn conform<W: Tested>(form: Form<W>)
where
    W::Request: Debug + Clone,
    W::Answer: DeserializeOwned + PartialEq + Debug,
{
    answers_match(&form).await;
    answers_overtake_one_another(&form).await;
    errors_survive(&form).await;
    contexts_survive(&form).await;
    thousands_at_once_are_all_answered(&form).await;
}

async fn answers_match<W: Tested>(form: &Form<W>)
where
    W::Request: Debug + Clone,
    W::Answer: DeserializeOwned + PartialEq + Debug,
{
    for seed in 0..60 {
        let request = W::request(seed);
        let answer = form.peer.forward(context(behaviour::ANSWER), request.clone()).await;
        assert_eq!(answer, Ok(arbitrary(digest(&request))), "{} of seed {seed}: {request:?}", W::PORT);
    }
}

async fn answers_overtake_one_another<W: Tested>(form: &Form<W>)
where
    W::Request: Debug + Clone,
    W::Answer: DeserializeOwned + PartialEq + Debug,
{
    let held = form.peer.forward(context(behaviour::HELD), W::request(1));
    let mut held = std::pin::pin!(held);
    for seed in 0..20 {
        tokio::select! {
            biased;
            answer = &mut held => panic!("{} answered before it was released: {answer:?}", W::PORT),
            answer = form.peer.forward(context(behaviour::ANSWER), W::request(seed)) => assert!(answer.is_ok()),
        }
    }
    form.release.add_permits(1);
    assert_eq!(held.await, Ok(arbitrary(digest(&W::request(1)))));
}

async fn errors_survive<W: Tested>(form: &Form<W>)
where
    W::Answer: PartialEq + Debug,
{
    let answer = form.peer.forward(context(behaviour::FAIL), W::request(3)).await;
    assert_eq!(answer, Err(failure()));
}

async fn contexts_survive<W: Tested>(form: &Form<W>)
where
    W::Answer: PartialEq + Debug,
{
    let sender = Sender { cluster: ClusterId(1 << 100), node: NodeId(5), incarnation: Incarnation(6) };
    let full = RequestContext {
        sender: Some(sender),
        to: Some(NodeId(1 << 99)),
        epoch: Epoch(44),
        forwarded: true,
        ..context(behaviour::TELL)
    };
    let other =
        RequestContext { sender: Some(Sender { node: NodeId(9), ..sender }), to: None, ..full.clone() };
    let bare = context(behaviour::TELL);
    // Interleaved, because who sends is told only when it changes.
    for context in [&full, &bare, &full, &full, &other, &bare] {
        let error = form.peer.forward(context.clone(), W::request(4)).await.unwrap_err();
        let told = error.message().replace(&format!("{}", left(error.message())), "20000");
        assert_eq!(told, format!("{context:?}"), "{}", W::PORT);
    }
}

/// The deadline that a context was received with, which is a little less than what it was sent with.
fn left(told: &str) -> u64 {
    let (_, rest) = told.split_once("deadline_ms: ").unwrap();
    let left: u64 = rest.split_once(',').unwrap().0.parse().unwrap();
    assert!((10_000..=20_000).contains(&left), "{left} ms are left of 20 s");
    left
}

async fn thousands_at_once_are_all_answered<W: Tested>(form: &Form<W>)
where
    W::Request: Debug + Clone,
    W::Answer: DeserializeOwned + PartialEq + Debug,
{
    let mut calls = FuturesUnordered::new();
    for n in 0..4000 {
        let request = W::request(n % 50);
        let expected = digest(&request);
        let call = form.peer.forward(context(behaviour::ANSWER), request);
        calls.push(async move { (expected, call.await) });
    }
    let mut answered = 0;
    while let Some((expected, answer)) = calls.next().await {
        assert_eq!(answer, Ok(arbitrary(expected)));
        answered += 1;
    }
    assert_eq!(answered, 4000);
}

macro_rules! conformance {
    ($($name:ident $wire:ident)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn within_a_process() {
                conform(Form::<$wire>::in_process()).await;
            }

            #[tokio::test]
            async fn over_grpc() {
                conform(Form::<$wire>::grpc().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_grpc_on_two_threads() {
                conform(Form::<$wire>::grpc().await).await;
            }
        }
    )*};
}
conformance! { kv KvWire index IndexWire data DataWire group GroupWire raft RaftWire admin AdminWire }
