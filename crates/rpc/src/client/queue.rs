//! Where callers, the transport and the link's task meet: one lock around the state, and who wakes whom.

use std::task::{Context, Poll, Waker};

use lamina_env::time::{self, Duration, Instant};
use lamina_proto::stream::{ClientFrame, Origin, Wire, context_into_wire};
use lamina_proto::{PROTOCOL, types};
use lamina_types::limits::{DEADLINE_MS_MAX, MESSAGE_BYTES_MAX};
use lamina_types::{Error, Reason, RequestContext, Result};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::{Notify, oneshot};

use super::slots::Open;
use super::state::{Phase, State, stopping, unsent};

/// What an operation takes beside its own bytes: its id, which is set late, and its tag and length.
const OP_OVERHEAD_BYTES: usize = 16;

/// See the module.
pub struct Queue<W: Wire> {
    address: String,
    state: Mutex<State<W>>,
    /// Something was queued while no stream was open.
    demand: Notify,
    /// A deadline was set that is nearer than all others.
    nearer: Notify,
}

impl<W: Wire> Queue<W> {
    pub fn new(address: String) -> Queue<W> {
        Queue { address, state: Mutex::new(State::new()), demand: Notify::new(), nearer: Notify::new() }
    }

    /// Queues an operation: its id, and where its answer comes.
    pub fn enqueue(
        &self,
        context: RequestContext,
        request: W::Request,
    ) -> Result<(u64, oneshot::Receiver<Result<W::Answer>>)> {
        if context.deadline_ms == 0 {
            return Err(unsent(Error::new(Reason::DeadlineExceeded, "no time was left for the call")));
        }
        let now = time::now();
        let deadline = now + Duration::from_millis(context.deadline_ms.min(DEADLINE_MS_MAX));
        let origin = Origin::of(&context);
        let op = W::op(0, context_into_wire(context), request);
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
        let id = state.push(op, origin, Open { waiting: Some(waiting), deadline, bytes, sent: false });
        if state.nearest.is_none_or(|nearest| deadline < nearest) {
            state.nearest = Some(deadline);
            self.nearer.notify_one();
        }
        let idle = matches!(state.phase, Phase::Idle);
        let writer = state.writer();
        drop(state);

        if idle {
            self.demand.notify_one();
        }
        wake(writer);
        Ok((id, answer))
    }

    /// Nobody waits for a cancellable operation any more: the server is told, if it has heard of it.
    pub fn abandon(&self, id: u64) {
        let writer = {
            let mut state = self.state.lock();
            if !state.slots.get_mut(id).is_some_and(|open| open.sent) {
                return;
            }
            state.cancels.push(id);
            state.stream.writer.take()
        };
        wake(writer);
    }

    /// Waits until something is queued.
    pub async fn demanded(&self) {
        while self.state.lock().queue.is_empty() {
            self.demand.notified().await;
        }
    }

    /// A new stream begins; its number.
    pub fn begin_stream(&self) -> u64 {
        self.state.lock().begin_stream()
    }

    /// The server says how much it takes.
    pub fn grant(&self, credits: types::Credits) {
        self.state.lock().stream.grant(credits);
    }

    /// Hands out answers.
    pub fn answered(&self, replies: Vec<W::Reply>) {
        let replies: Vec<_> = replies.into_iter().map(W::reply_parts).collect();
        let mut ready = Vec::with_capacity(replies.len());
        let writer = {
            let mut state = self.state.lock();
            for (id, answer) in replies {
                ready.extend(state.close(id).map(|waiting| (waiting, answer)));
            }
            state.writer()
        };
        for (waiting, answer) in ready {
            // The caller may have gone; then nobody wants it.
            let _ = waiting.send(answer);
        }
        wake(writer);
    }

    /// The server stops: what was not sent fails, what was sent is still answered.
    pub fn drain(&self) {
        let (refused, writer) = {
            let mut state = self.state.lock();
            (state.drain(), state.stream.writer.take())
        };
        for waiting in refused {
            let _ = waiting.send(Err(stopping(&self.address)));
        }
        wake(writer);
    }

    /// Tells all who wait that the stream is over.
    pub fn fail_all(&self, why: &Error, phase: Phase) {
        let (open, writer) = {
            let mut state = self.state.lock();
            let writer = state.stream.writer.take();
            (state.end_stream(phase), writer)
        };
        for open in open {
            if let Some(waiting) = open.waiting {
                let _ = waiting.send(Err(if open.sent { why.clone() } else { unsent(why.clone()) }));
            }
        }
        // The old stream's half, if the transport still has it, learns that it is over.
        wake(writer);
    }

    /// The nearest deadline of those who wait.
    pub fn nearest(&self) -> Option<Instant> {
        self.state.lock().nearest
    }

    /// Waits until a nearer deadline is set than all others.
    pub async fn nearer(&self) {
        self.nearer.notified().await;
    }

    /// Tells those whose time is over.
    pub fn sweep(&self) {
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
}

fn wake(writer: Option<Waker>) {
    if let Some(writer) = writer {
        writer.wake();
    }
}
