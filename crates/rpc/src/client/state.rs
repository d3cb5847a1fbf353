//! What a link knows: who waits, what is queued, what the server still takes. Without tasks, locks and time.

use std::collections::VecDeque;
use std::task::Waker;

use lamina_env::time::Instant;
use lamina_proto::stream::{Origin, Wire};
use lamina_proto::types;
use lamina_types::{Error, Reason, Result};
use tokio::sync::oneshot;

use super::slots::{Open, Slots, Waiting};
use crate::settings::{
    BATCH_BYTES_MAX, BATCH_OPS_MAX, FIRST_CREDIT_BYTES, FIRST_CREDIT_OPS, QUEUE_BYTES_MAX, QUEUE_OPS_MAX,
};

/// Everything that a link knows.
pub struct State<W: Wire> {
    pub phase: Phase,
    pub slots: Slots<W::Answer>,
    pub queue: VecDeque<Queued<W::Op>>,
    pub queue_bytes: usize,
    pub cancels: Vec<u64>,
    /// No waiting slot has a nearer deadline.
    pub nearest: Option<Instant>,
    pub stream: StreamState,
}

/// What belongs to the present stream.
pub struct StreamState {
    pub number: u64,
    pub hello_sent: bool,
    /// What the server was told last.
    origin: Origin,
    credit_ops: usize,
    credit_bytes: usize,
    pub sent_ops: usize,
    pub sent_bytes: usize,
    /// The transport, when it has taken everything.
    pub writer: Option<Waker>,
}

/// Whether operations may come, and go.
pub enum Phase {
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

/// An operation that was not sent yet.
pub struct Queued<O> {
    pub id: u64,
    pub op: O,
    pub origin: Origin,
    pub bytes: usize,
}

impl<W: Wire> State<W> {
    /// A link without a stream.
    pub fn new() -> State<W> {
        State {
            phase: Phase::Idle,
            slots: Slots::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            cancels: Vec::new(),
            nearest: None,
            stream: StreamState::new(0),
        }
    }

    /// Queues an operation that was admitted; its id.
    pub fn push(&mut self, mut op: W::Op, origin: Origin, open: Open<W::Answer>) -> u64 {
        let bytes = open.bytes;
        let id = self.slots.open(open);
        W::set_id(&mut op, id);
        self.queue.push_back(Queued { id, op, origin, bytes });
        self.queue_bytes += bytes;
        id
    }

    /// Closes an operation that was answered, and gives back its credits.
    pub fn close(&mut self, id: u64) -> Option<Waiting<W::Answer>> {
        let open = self.slots.close(id)?;
        if open.sent {
            self.stream.sent_ops = self.stream.sent_ops.saturating_sub(1);
            self.stream.sent_bytes = self.stream.sent_bytes.saturating_sub(open.bytes);
        }
        open.waiting
    }

    /// Nothing new goes to this server; those whose operations were not sent.
    pub fn drain(&mut self) -> Vec<Waiting<W::Answer>> {
        self.phase = Phase::Draining;
        self.queue_bytes = 0;
        let queue = std::mem::take(&mut self.queue);
        queue.into_iter().filter_map(|queued| self.slots.close(queued.id)?.waiting).collect()
    }

    /// The stream is over: everything that was open.
    pub fn end_stream(&mut self, phase: Phase) -> Vec<Open<W::Answer>> {
        self.phase = phase;
        self.queue.clear();
        self.queue_bytes = 0;
        self.cancels.clear();
        self.nearest = None;
        self.stream = StreamState::new(self.stream.number + 1);
        self.slots.close_all()
    }

    /// A new stream; its number.
    pub fn begin_stream(&mut self) -> u64 {
        self.phase = Phase::Open;
        self.stream = StreamState::new(self.stream.number + 1);
        self.stream.number
    }

    /// The transport to wake, if there is something for it.
    pub fn writer(&mut self) -> Option<Waker> {
        if self.has_something_to_send() { self.stream.writer.take() } else { None }
    }

    /// Whether one more operation may be queued.
    pub fn admit(&mut self, address: &str, now: Instant, bytes: usize) -> Result<()> {
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
    pub fn take_ops(&mut self, now: Instant) -> (Vec<W::Op>, Option<Origin>) {
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

    /// The server says how much it takes.
    pub fn grant(&mut self, credits: types::Credits) {
        self.credit_ops = (credits.operations as usize).max(1);
        self.credit_bytes = usize::try_from(credits.bytes).unwrap_or(usize::MAX);
    }

    fn may_send(&self, bytes: usize) -> bool {
        self.sent_ops < self.credit_ops
            && (self.sent_ops == 0 || self.sent_bytes + bytes <= self.credit_bytes)
    }
}

/// The same error, of an operation that never left this process.
pub fn unsent(error: Error) -> Error {
    error.with("sent", "no")
}

/// What is told to those who come when the server stops.
pub fn stopping(address: &str) -> Error {
    unsent(Error::new(Reason::NotReady, format!("{address} is about to stop")).retry_after_ms(100))
}
