//! One lane to one port of one address: a stream that is opened again when it broke.
//!
//! Three parties meet in a [`Queue`]. Callers put operations in and wait for their slot. The transport takes whatever is
//! queued. The link's own task opens the stream, hands out answers, and sweeps slots whose deadline has passed: one
//! timer for all of them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lamina_env::random;
use lamina_env::time::{self, Duration};
use lamina_proto::status;
use lamina_proto::stream::Wire;
use lamina_types::{Error, Kind, Reason, RequestContext, Result};
use tonic::Streaming;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use super::connections::{Connections, Lane};
use super::outbound::Outbound;
use super::queue::Queue;
use super::state::{Phase, unsent};
use crate::settings::{BACKOFF_FIRST, BACKOFF_MAX, CONNECT_TIMEOUT, DECODE_BYTES_MAX};

/// A sweep comes this much after the deadline for which it was set, so that it finds its neighbours too.
const SWEEP_SLACK: Duration = Duration::from_millis(2);

/// See the module.
pub struct Link<W: Wire> {
    address: String,
    lane: Lane,
    connections: Arc<Connections>,
    queue: Arc<Queue<W>>,
    /// The link's task was started.
    started: AtomicBool,
}

impl<W: Wire> Link<W> {
    pub fn new(address: String, lane: Lane, connections: &Arc<Connections>) -> Arc<Link<W>> {
        let queue = Arc::new(Queue::new(address.clone()));
        Arc::new(Link {
            address,
            lane,
            connections: connections.clone(),
            queue,
            started: AtomicBool::new(false),
        })
    }

    /// Sends one operation and waits for its answer.
    pub async fn call(self: &Arc<Self>, context: RequestContext, request: W::Request) -> Result<W::Answer> {
        let cancellable = W::is_cancellable(&request);
        let (id, answer) = self.queue.enqueue(context, request)?;
        self.start_once();
        let mut abandoned = AbandonedOnDrop { queue: &self.queue, id, armed: cancellable };
        let answer = answer.await;
        abandoned.armed = false;
        answer.unwrap_or_else(|_| Err(Error::new(Reason::Unreachable, format!("{} is gone", self.address))))
    }

    fn start_once(self: &Arc<Self>) {
        if self.started.swap(true, Ordering::AcqRel) {
            return;
        }
        // Made here and not in the task, which may be dropped before its first step.
        let closed = ClosedOnDrop(self.clone());
        self.connections.tasks.spawn(async move {
            let closed = closed;
            closed.0.run().await;
        });
    }

    /// The link's task.
    async fn run(&self) {
        let mut failures = 0;
        loop {
            self.with_sweeps(self.queue.demanded()).await;
            let number = self.queue.begin_stream();
            let why = match self.with_sweeps(self.open_stream(number)).await {
                Ok(inbound) => self.with_sweeps(self.receive(inbound)).await,
                Err(error) => End { error, lived: false },
            };
            failures = if why.lived { 0 } else { failures + 1 };
            self.end_stream(&why.error, failures);
        }
    }

    async fn open_stream(&self, number: u64) -> Result<Streaming<W::ServerMessage>> {
        let opening = async {
            let channel = self.connections.channel(&self.address, self.lane)?;
            let mut grpc = Grpc::new(channel).max_decoding_message_size(DECODE_BYTES_MAX);
            grpc.ready().await.map_err(|error| self.unreachable(&root(&error)))?;
            let outbound = Outbound { queue: self.queue.clone(), stream: number };
            let path = http::uri::PathAndQuery::from_static(W::METHOD);
            let codec = ProstCodec::<W::ClientMessage, W::ServerMessage>::default();
            let opened = grpc.streaming(tonic::Request::new(outbound), path, codec).await;
            opened.map(tonic::Response::into_inner).map_err(|status| self.ended_by(&status))
        };
        match time::timeout(CONNECT_TIMEOUT, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(self.unreachable("no connection within 3 seconds")),
        }
    }

    /// Hands out answers until the stream ends.
    async fn receive(&self, mut inbound: Streaming<W::ServerMessage>) -> End {
        let mut lived = false;
        loop {
            match inbound.message().await {
                Ok(Some(message)) => {
                    let frame = W::server_frame(message);
                    lived |= frame.welcome.is_some();
                    if let Some(credits) = frame.welcome.and_then(|welcome| welcome.credits) {
                        self.queue.grant(credits);
                    }
                    self.queue.answered(frame.answers);
                    if frame.draining {
                        self.queue.drain();
                    }
                }
                Ok(None) => return End { error: self.unreachable("the server has ended the stream"), lived },
                Err(status) => return End { error: self.ended_by(&status), lived },
            }
        }
    }

    /// The stream has ended: all who wait are told, and for a while nobody is let in if it could not even be opened.
    fn end_stream(&self, why: &Error, failures: u32) {
        let phase = match failures {
            0 => Phase::Idle,
            _ => Phase::Refusing { until: time::now() + backoff(failures), why: why.clone() },
        };
        self.queue.fail_all(why, phase);
    }

    /// Drives `future`, and tells those whose time is over meanwhile.
    async fn with_sweeps<F: Future>(&self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        loop {
            let nearest = self.queue.nearest();
            let too_late = async {
                match nearest {
                    Some(nearest) => time::sleep_until(nearest + SWEEP_SLACK).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                output = &mut future => return output,
                () = self.queue.nearer() => {}
                () = too_late => self.queue.sweep(),
            }
        }
    }

    fn unreachable(&self, why: &str) -> Error {
        Error::new(Reason::Unreachable, format!("{} cannot be reached: {why}", self.address))
    }

    /// What the status with which a stream ended means for all of its operations.
    fn ended_by(&self, status: &tonic::Status) -> Error {
        let error = status::from_status(status);
        if error.kind() == Kind::Unimplemented {
            let message = format!("{} does not offer {}: {}", self.address, W::SERVICE, error.message());
            return unsent(Error::new(Reason::NotBuilt, message));
        }
        match std::error::Error::source(status) {
            // Nobody at the other end said anything: what is known is why nobody did.
            Some(cause) => self.unreachable(&root(cause)),
            None => self.unreachable(error.message()),
        }
    }
}

/// How a stream ended.
struct End {
    error: Error,
    /// The server had welcomed us: the next attempt may come at once.
    lived: bool,
}

/// Tells the server when nobody waits for a cancellable operation any more.
struct AbandonedOnDrop<'a, W: Wire> {
    queue: &'a Queue<W>,
    id: u64,
    armed: bool,
}

impl<W: Wire> Drop for AbandonedOnDrop<'_, W> {
    fn drop(&mut self) {
        if self.armed {
            self.queue.abandon(self.id);
        }
    }
}

/// Tells all who wait when the link's task ends.
struct ClosedOnDrop<W: Wire>(Arc<Link<W>>);

impl<W: Wire> Drop for ClosedOnDrop<W> {
    fn drop(&mut self) {
        let why = Error::new(Reason::Unreachable, "this process has closed its network");
        self.0.queue.fail_all(&why, Phase::Closed);
    }
}

/// How long to refuse after so many failures: doubled each time, and up to half longer or shorter, so that many nodes
/// do not come back at once.
fn backoff(failures: u32) -> Duration {
    let factor = 1u32 << failures.saturating_sub(1).min(10);
    let base = BACKOFF_FIRST.saturating_mul(factor).min(BACKOFF_MAX);
    let ms = u64::try_from(base.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random::between(ms / 2, ms + ms / 2 + 1))
}

/// The first cause of an error, which is what helps: the words around it ("transport error", "tcp connect error") say
/// nothing that the reason does not.
fn root(error: &dyn std::error::Error) -> String {
    let mut first = error;
    while let Some(cause) = first.source() {
        first = cause;
    }
    let text = first.to_string();
    text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words).to_owned()
}
