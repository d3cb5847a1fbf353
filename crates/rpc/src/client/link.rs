//! One lane to one port of one address: a queue, credits, and a stream that is opened again when it broke.
//!
//! Three parties meet in a [`Link`]. Callers put operations into the queue and wait for their slot. The transport takes
//! whatever is queued ([`Link::poll_message`]). The link's own task opens the stream, hands out answers, and sweeps
//! slots whose deadline has passed: one timer for all of them.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use lamina_env::random;
use lamina_env::time::{self, Duration, Instant};
use lamina_proto::stream::{ClientFrame, Origin, Wire, context_into_wire};
use lamina_proto::{PROTOCOL, status, types};
use lamina_types::limits::{DEADLINE_MS_MAX, MESSAGE_BYTES_MAX};
use lamina_types::{Error, Kind, Reason, RequestContext, Result};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::{Notify, oneshot};
use tonic::Streaming;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use super::network::{Lane, Shared};
use super::outbound::Outbound;
use super::slots::{Open, Slots};
use crate::settings::{
    BACKOFF_FIRST, BACKOFF_MAX, BATCH_BYTES_MAX, BATCH_OPS_MAX, CONNECT_TIMEOUT, DECODE_BYTES_MAX,
    FIRST_CREDIT_BYTES, FIRST_CREDIT_OPS, QUEUE_BYTES_MAX, QUEUE_OPS_MAX,
};

/// A sweep comes this much after the deadline for which it was set, so that it finds its neighbours too.
const SWEEP_SLACK: Duration = Duration::from_millis(2);

/// What an operation takes beside its own bytes: its id, which is set late, and its tag and length.
const OP_OVERHEAD_BYTES: usize = 16;

/// See the module.
pub struct Link<W: Wire> {
    address: String,
    lane: Lane,
    shared: Arc<Shared>,
    state: Mutex<State<W>>,
    /// Something was queued while no stream was open.
    demand: Notify,
    /// A deadline was set that is nearer than all others.
    nearer: Notify,
}

struct State<W: Wire> {
    phase: Phase,
    /// The link's task lives.
    running: bool,
    slots: Slots<W::Answer>,
    queue: VecDeque<Queued<W::Op>>,
    queue_bytes: usize,
    cancels: Vec<u64>,
    /// No waiting slot has a nearer deadline.
    nearest: Option<Instant>,
    stream: StreamState,
}

/// What belongs to the present stream.
struct StreamState {
    number: u64,
    hello_sent: bool,
    /// What the server was told last.
    origin: Origin,
    credit_ops: usize,
    credit_bytes: usize,
    sent_ops: usize,
    sent_bytes: usize,
    /// The transport, when it has taken everything.
    writer: Option<Waker>,
}

enum Phase {
    /// No stream; the next operation opens one.
    Idle,
    /// A stream is open or being opened.
    Open,
    /// The server stops: answers still come, nothing new goes there.
    Draining,
    /// The last attempt failed: until then operations fail at once.
    Refusing { until: Instant, why: Error },
    /// The network is gone.
    Closed,
}

struct Queued<O> {
    id: u64,
    op: O,
    origin: Origin,
    bytes: usize,
}

impl<W: Wire> Link<W> {
    pub fn new(address: String, lane: Lane, shared: &Arc<Shared>) -> Arc<Link<W>> {
        let state = State {
            phase: Phase::Idle,
            running: false,
            slots: Slots::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            cancels: Vec::new(),
            nearest: None,
            stream: StreamState::new(0),
        };
        Arc::new(Link {
            address,
            lane,
            shared: shared.clone(),
            state: Mutex::new(state),
            demand: Notify::new(),
            nearer: Notify::new(),
        })
    }

    /// Sends one operation and waits for its answer.
    pub async fn call(self: &Arc<Self>, context: RequestContext, request: W::Request) -> Result<W::Answer> {
        let cancellable = W::is_cancellable(&request);
        let (id, answer) = self.enqueue(context, request)?;
        let mut abandoned = AbandonedOnDrop { link: self, id, armed: cancellable };
        let answer = answer.await;
        abandoned.armed = false;
        answer.unwrap_or_else(|_| Err(Error::new(Reason::Unreachable, format!("{} is gone", self.address))))
    }

    fn enqueue(
        self: &Arc<Self>,
        context: RequestContext,
        request: W::Request,
    ) -> Result<(u64, oneshot::Receiver<Result<W::Answer>>)> {
        if context.deadline_ms == 0 {
            return Err(unsent(Error::new(Reason::DeadlineExceeded, "no time was left for the call")));
        }
        let now = time::now();
        let deadline = now + Duration::from_millis(context.deadline_ms.min(DEADLINE_MS_MAX));
        let origin = Origin::of(&context);
        let mut op = W::op(0, context_into_wire(context), request);
        let bytes = op.encoded_len() + OP_OVERHEAD_BYTES;
        if bytes > MESSAGE_BYTES_MAX {
            let message = format!("a request of {bytes} bytes; {MESSAGE_BYTES_MAX} are the most");
            return Err(unsent(
                Error::new(Reason::MessageTooLarge, message).with("limit", MESSAGE_BYTES_MAX),
            ));
        }
        let (waiting, answer) = oneshot::channel();

        let mut state = self.state.lock();
        state.admit(&self.address, now, bytes)?;
        let id = state.slots.open(Open { waiting: Some(waiting), deadline, bytes, sent: false });
        W::set_id(&mut op, id);
        state.queue.push_back(Queued { id, op, origin, bytes });
        state.queue_bytes += bytes;
        if state.nearest.is_none_or(|nearest| deadline < nearest) {
            state.nearest = Some(deadline);
            self.nearer.notify_one();
        }
        let start = !std::mem::replace(&mut state.running, true);
        let idle = matches!(state.phase, Phase::Idle);
        let writer = if state.has_something_to_send() { state.stream.writer.take() } else { None };
        drop(state);

        if start {
            self.start();
        }
        if idle {
            self.demand.notify_one();
        }
        if let Some(writer) = writer {
            writer.wake();
        }
        Ok((id, answer))
    }

    fn start(self: &Arc<Self>) {
        // Made here and not in the task, which may be dropped before its first step.
        let closed = ClosedOnDrop(self.clone());
        self.shared.tasks.spawn(async move {
            let closed = closed;
            closed.0.run().await;
        });
    }

    /// The link's task.
    async fn run(self: &Arc<Self>) {
        let mut failures = 0;
        loop {
            self.with_sweeps(self.demanded()).await;
            let number = {
                let mut state = self.state.lock();
                state.phase = Phase::Open;
                state.stream = StreamState::new(state.stream.number + 1);
                state.stream.number
            };
            let why = match self.with_sweeps(self.open_stream(number)).await {
                Ok(inbound) => self.with_sweeps(self.receive(inbound)).await,
                Err(error) => End { error, lived: false },
            };
            failures = if why.lived { 0 } else { failures + 1 };
            self.end_stream(why.error, failures);
        }
    }

    /// Waits until something is queued.
    async fn demanded(&self) {
        while self.state.lock().queue.is_empty() {
            self.demand.notified().await;
        }
    }

    async fn open_stream(self: &Arc<Self>, number: u64) -> Result<Streaming<W::ServerMessage>> {
        let opening = async {
            let channel = self.shared.channel(&self.address, self.lane)?;
            let mut grpc = Grpc::new(channel).max_decoding_message_size(DECODE_BYTES_MAX);
            grpc.ready().await.map_err(|error| self.unreachable(&root(&error)))?;
            let outbound = Outbound { link: self.clone(), stream: number };
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
                        self.state.lock().stream.grant(credits);
                    }
                    self.answered(frame.answers);
                    if frame.draining {
                        self.drain();
                    }
                }
                Ok(None) => return End { error: self.unreachable("the server has ended the stream"), lived },
                Err(status) => return End { error: self.ended_by(&status), lived },
            }
        }
    }

    fn answered(&self, replies: Vec<W::Reply>) {
        let replies: Vec<_> = replies.into_iter().map(W::reply_parts).collect();
        let mut ready = Vec::with_capacity(replies.len());
        let writer = {
            let mut state = self.state.lock();
            for (id, answer) in replies {
                let Some(open) = state.slots.close(id) else { continue };
                if open.sent {
                    state.stream.sent_ops = state.stream.sent_ops.saturating_sub(1);
                    state.stream.sent_bytes = state.stream.sent_bytes.saturating_sub(open.bytes);
                }
                if let Some(waiting) = open.waiting {
                    ready.push((waiting, answer));
                }
            }
            if state.has_something_to_send() { state.stream.writer.take() } else { None }
        };
        for (waiting, answer) in ready {
            // The caller may have gone; then nobody wants it.
            let _ = waiting.send(answer);
        }
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// The server stops: what was not sent fails, what was sent is still answered.
    fn drain(&self) {
        let mut refused = Vec::new();
        let writer = {
            let mut state = self.state.lock();
            state.phase = Phase::Draining;
            state.queue_bytes = 0;
            for queued in std::mem::take(&mut state.queue) {
                refused.extend(state.slots.close(queued.id).and_then(|open| open.waiting));
            }
            state.stream.writer.take()
        };
        for waiting in refused {
            let _ = waiting.send(Err(stopping(&self.address)));
        }
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// The stream has ended: all who wait are told, and for a while nobody is let in if it could not even be opened.
    fn end_stream(&self, why: Error, failures: u32) {
        let phase = match failures {
            0 => Phase::Idle,
            _ => Phase::Refusing { until: time::now() + backoff(failures), why: why.clone() },
        };
        self.fail_all(&why, phase);
    }

    fn fail_all(&self, why: &Error, phase: Phase) {
        let (open, writer) = {
            let mut state = self.state.lock();
            state.phase = phase;
            state.queue.clear();
            state.queue_bytes = 0;
            state.cancels.clear();
            state.nearest = None;
            let writer = state.stream.writer.take();
            state.stream = StreamState::new(state.stream.number + 1);
            (state.slots.close_all(), writer)
        };
        for open in open {
            if let Some(waiting) = open.waiting {
                let _ = waiting.send(Err(if open.sent { why.clone() } else { unsent(why.clone()) }));
            }
        }
        // The old stream's half, if the transport still has it, learns that it is over.
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// Drives `future`, and tells those whose time is over meanwhile.
    async fn with_sweeps<F: Future>(&self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        loop {
            let nearest = self.state.lock().nearest;
            let too_late = async {
                match nearest {
                    Some(nearest) => time::sleep_until(nearest + SWEEP_SLACK).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                output = &mut future => return output,
                () = self.nearer.notified() => {}
                () = too_late => self.sweep(),
            }
        }
    }

    fn sweep(&self) {
        let expired = {
            let mut state = self.state.lock();
            let (expired, nearest) = state.slots.expire(time::now());
            state.nearest = nearest;
            expired
        };
        for (waiting, sent) in expired {
            let message = format!("{} has not answered in time", self.address);
            let error = Error::new(Reason::DeadlineExceeded, message);
            let _ = waiting.send(Err(if sent { error } else { unsent(error) }));
        }
    }

    /// What the transport of stream `number` can take now: everything that is queued and within the credits.
    pub fn poll_message(&self, number: u64, context: &mut Context<'_>) -> Poll<Option<W::ClientMessage>> {
        let mut state = self.state.lock();
        if state.stream.number != number {
            return Poll::Ready(None);
        }
        let hello = !std::mem::replace(&mut state.stream.hello_sent, true);
        let (ops, origin) = state.take_ops(time::now());
        let cancel = std::mem::take(&mut state.cancels);
        if !hello && ops.is_empty() && cancel.is_empty() {
            if matches!(state.phase, Phase::Draining) && state.stream.sent_ops == 0 {
                return Poll::Ready(None);
            }
            state.stream.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        let hello = hello.then(|| types::Hello { protocol: PROTOCOL, required_features: Vec::new() });
        Poll::Ready(Some(W::client_message(ClientFrame { hello, origin, ops, cancel })))
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

impl<W: Wire> State<W> {
    /// Whether one more operation may be queued.
    fn admit(&mut self, address: &str, now: Instant, bytes: usize) -> Result<()> {
        match &self.phase {
            Phase::Idle | Phase::Open => {}
            Phase::Draining => return Err(stopping(address)),
            Phase::Refusing { until, why } => {
                if now < *until {
                    return Err(unsent(why.clone()));
                }
                self.phase = Phase::Idle;
            }
            Phase::Closed => {
                return Err(unsent(Error::new(Reason::Unreachable, "this process has closed its network")));
            }
        }
        if self.queue.len() >= QUEUE_OPS_MAX || self.queue_bytes + bytes > QUEUE_BYTES_MAX {
            let message = format!("{} operations wait for {address} already", self.queue.len());
            return Err(unsent(Error::new(Reason::Overloaded, message).retry_after_ms(50)));
        }
        Ok(())
    }

    fn has_something_to_send(&self) -> bool {
        match self.queue.front() {
            Some(front) => self.stream.may_send(front.bytes),
            None => !self.cancels.is_empty() || matches!(self.phase, Phase::Draining),
        }
    }

    /// Takes operations of one origin from the queue; the origin, if the server was told another.
    fn take_ops(&mut self, now: Instant) -> (Vec<W::Op>, Option<Origin>) {
        let mut ops = Vec::new();
        let mut origin = None;
        let mut bytes = 0;
        while ops.len() < BATCH_OPS_MAX {
            let Some(front) = self.queue.front() else { break };
            let Some(open) = self.slots.get_mut(front.id) else {
                self.forget_front();
                continue;
            };
            if open.waiting.as_ref().is_none_or(oneshot::Sender::is_closed) {
                // Nobody waits any more, and the other side has not heard of it.
                self.forget_front();
                continue;
            }
            let full = !ops.is_empty()
                && (bytes + front.bytes > BATCH_BYTES_MAX || front.origin != self.stream.origin);
            if full || !self.stream.may_send(front.bytes) {
                break;
            }
            open.sent = true;
            let left = open.deadline.saturating_duration_since(now);
            let Some(mut queued) = self.queue.pop_front() else { break };
            W::set_deadline_ms(&mut queued.op, u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1));
            if queued.origin != self.stream.origin {
                self.stream.origin = queued.origin;
                origin = Some(queued.origin);
            }
            bytes += queued.bytes;
            self.queue_bytes = self.queue_bytes.saturating_sub(queued.bytes);
            self.stream.sent_ops += 1;
            self.stream.sent_bytes += queued.bytes;
            ops.push(queued.op);
        }
        (ops, origin)
    }

    fn forget_front(&mut self) {
        if let Some(queued) = self.queue.pop_front() {
            self.queue_bytes = self.queue_bytes.saturating_sub(queued.bytes);
            self.slots.close(queued.id);
        }
    }
}

impl StreamState {
    fn new(number: u64) -> StreamState {
        StreamState {
            number,
            hello_sent: false,
            origin: Origin::default(),
            credit_ops: FIRST_CREDIT_OPS as usize,
            credit_bytes: FIRST_CREDIT_BYTES as usize,
            sent_ops: 0,
            sent_bytes: 0,
            writer: None,
        }
    }

    fn grant(&mut self, credits: types::Credits) {
        self.credit_ops = (credits.operations as usize).max(1);
        self.credit_bytes = usize::try_from(credits.bytes).unwrap_or(usize::MAX);
    }

    fn may_send(&self, bytes: usize) -> bool {
        self.sent_ops < self.credit_ops
            && (self.sent_ops == 0 || self.sent_bytes + bytes <= self.credit_bytes)
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
    link: &'a Link<W>,
    id: u64,
    armed: bool,
}

impl<W: Wire> Drop for AbandonedOnDrop<'_, W> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let writer = {
            let mut state = self.link.state.lock();
            if !state.slots.get_mut(self.id).is_some_and(|open| open.sent) {
                return;
            }
            state.cancels.push(self.id);
            state.stream.writer.take()
        };
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

/// Tells all who wait when the link's task ends.
struct ClosedOnDrop<W: Wire>(Arc<Link<W>>);

impl<W: Wire> Drop for ClosedOnDrop<W> {
    fn drop(&mut self) {
        let why = Error::new(Reason::Unreachable, "this process has closed its network");
        self.0.fail_all(&why, Phase::Closed);
    }
}

/// The same error, of an operation that never left this process.
fn unsent(error: Error) -> Error {
    error.with("sent", "no")
}

fn stopping(address: &str) -> Error {
    unsent(Error::new(Reason::NotReady, format!("{address} is about to stop")).retry_after_ms(100))
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
