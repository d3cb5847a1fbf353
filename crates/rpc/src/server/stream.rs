//! The server's half of one stream: reads operations, polls their handlers in place, and writes whatever is answered.
//!
//! All of it happens in one task per stream, the connection's, so an operation that can be answered at once costs no
//! wake-up at all. While a stream has as many operations at work as it granted, it reads no further: HTTP/2's flow
//! control holds the client back, whatever the client thinks of credits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::FuturesUnordered;
use futures::{Future, Stream, StreamExt};
use lamina_env::{random, watch};
use lamina_peers::Peer;
use lamina_proto::stream::{Origin, ServerFrame, Wire, context_from_wire};
use lamina_proto::{PROTOCOL, status, types};
use lamina_telemetry::calls::{CallsOf, OK};
use lamina_types::limits::MESSAGE_BYTES_MAX;
use lamina_types::{Error, Reason, RequestContext, Result};
use prost::Message;
use tonic::{Status, Streaming};

use super::handler::{Finished, Handler};
use super::{Shared, Stage};
use crate::settings::{BATCH_BYTES_MAX, BATCH_OPS_MAX, CREDIT_BYTES, CREDIT_OPS};

type StageChange = Pin<Box<dyn Future<Output = watch::Receiver<Stage>> + Send>>;

/// See the module.
pub struct Served<W: Wire> {
    peer: Peer<W::Request, W::Answer>,
    shared: Arc<Shared>,
    inbound: Streaming<W::ClientMessage>,
    /// The client will send nothing more; with what the stream then ends.
    inbound_end: Option<Result<(), Status>>,
    at_work: FuturesUnordered<Handler<W::Answer>>,
    bytes_at_work: usize,
    origin: Origin,
    greeted: bool,
    welcomed: bool,
    draining_told: bool,
    stage: Stage,
    stage_change: StageChange,
    replies: Vec<W::Reply>,
    replies_bytes: usize,
    /// The metrics of the operations that this stream has seen.
    calls: Vec<CallsOf>,
}

impl<W: Wire> Served<W> {
    pub fn new(
        peer: Peer<W::Request, W::Answer>,
        shared: Arc<Shared>,
        inbound: Streaming<W::ClientMessage>,
    ) -> Served<W> {
        let receiver = shared.stage.subscribe();
        let stage = *receiver.borrow();
        Served {
            peer,
            shared,
            inbound,
            inbound_end: None,
            at_work: FuturesUnordered::new(),
            bytes_at_work: 0,
            origin: Origin::default(),
            greeted: false,
            welcomed: false,
            draining_told: false,
            stage,
            stage_change: stage_change(receiver),
            replies: Vec::new(),
            replies_bytes: 0,
            calls: Vec::new(),
        }
    }

    /// Takes what the client sent.
    fn take(&mut self, message: W::ClientMessage, context: &mut Context<'_>) -> Result<(), Status> {
        let frame = W::client_frame(message).map_err(|error| status::to_status(&error))?;
        if let Some(hello) = frame.hello {
            greet(&hello)?;
            self.greeted = true;
        }
        if !self.greeted {
            let error = Error::new(Reason::OpMissing, "the first message of a stream has no hello");
            return Err(status::to_status(&error));
        }
        if let Some(origin) = frame.origin {
            self.origin = origin;
        }
        for op in frame.ops {
            let bytes = op.encoded_len();
            self.start(op, bytes, context);
        }
        for id in frame.cancel {
            if let Some(handler) = self.at_work.iter_mut().find(|handler| handler.id == id) {
                handler.cancel();
            }
        }
        Ok(())
    }

    /// Begins one operation. What can be answered at once is answered here.
    fn start(&mut self, op: W::Op, bytes: usize, context: &mut Context<'_>) {
        let (id, wire, request) = W::op_parts(op);
        let mut call = context_from_wire(wire, self.origin);
        if call.trace == 0 {
            call.trace = random::u128();
        }
        let request = match request {
            Ok(request) => request,
            Err(error) => return self.reply(id, Err(error)),
        };
        let operation = W::name(&request);
        if let Some(error) = self.refusal(&call) {
            return self.reply(id, Err(error));
        }
        let trace = call.trace;
        let cancellable = W::is_cancellable(&request);
        let peer = self.peer.clone();
        let work = Box::pin(async move { peer.forward(call, request).await });
        let mut handler = Handler::new(id, operation, trace, cancellable, work);
        handler.bytes = bytes;
        self.bytes_at_work += bytes;
        match Pin::new(&mut handler).poll(context) {
            Poll::Ready(finished) => self.finish(finished),
            Poll::Pending => self.at_work.push(handler),
        }
    }

    /// Why an operation does not even begin.
    fn refusal(&self, call: &RequestContext) -> Option<Error> {
        if call.deadline_ms == 0 {
            return Some(Error::new(Reason::DeadlineExceeded, "no time was left when the call arrived"));
        }
        // One message can bring more than was granted; it is the client's defect, and bounded here.
        if self.at_work.len() >= 2 * CREDIT_OPS as usize {
            let message = "more operations without an answer than this stream allows";
            return Some(
                Error::new(Reason::TooManyOpen, message).with("limit", CREDIT_OPS).retry_after_ms(10),
            );
        }
        None
    }

    fn finish(&mut self, finished: Finished<W::Answer>) {
        self.bytes_at_work = self.bytes_at_work.saturating_sub(finished.bytes);
        if let Some(calls) = &self.shared.calls {
            let known = self.calls.iter().position(|calls| calls.operation() == finished.operation);
            let at = known.unwrap_or_else(|| {
                self.calls.push(calls.of(W::PORT, finished.operation));
                self.calls.len() - 1
            });
            let result = finished.answer.as_ref().err().map_or(OK, |error| error.reason().as_str());
            if let Some(calls) = self.calls.get(at) {
                calls.record(result, finished.since.elapsed());
            }
        }
        self.reply(finished.id, finished.answer);
    }

    fn reply(&mut self, id: u64, answer: Result<W::Answer>) {
        let mut reply = W::reply(id, answer);
        let mut bytes = reply.encoded_len();
        if bytes > MESSAGE_BYTES_MAX {
            let message =
                format!("the answer has {bytes} bytes, {MESSAGE_BYTES_MAX} are the most; ask for less");
            let error = Error::new(Reason::MessageTooLarge, message).with("limit", MESSAGE_BYTES_MAX);
            reply = W::reply(id, Err(error));
            bytes = reply.encoded_len();
        }
        self.replies_bytes += bytes;
        self.replies.push(reply);
    }

    fn may_read(&self) -> bool {
        self.inbound_end.is_none()
            && self.at_work.len() < CREDIT_OPS as usize
            && (self.at_work.is_empty() || (self.bytes_at_work as u64) < CREDIT_BYTES)
    }

    fn is_full(&self) -> bool {
        self.replies.len() >= BATCH_OPS_MAX || self.replies_bytes >= BATCH_BYTES_MAX
    }

    /// Everything that has been answered, as one message; `None`: nothing.
    fn flush(&mut self) -> Option<W::ServerMessage> {
        let welcome = (!std::mem::replace(&mut self.welcomed, true)).then(|| types::Welcome {
            protocol: PROTOCOL,
            credits: Some(types::Credits { operations: CREDIT_OPS, bytes: CREDIT_BYTES }),
        });
        let draining = self.stage != Stage::Serving && !std::mem::replace(&mut self.draining_told, true);
        if self.replies.is_empty() && welcome.is_none() && !draining {
            return None;
        }
        let mut answers = std::mem::take(&mut self.replies);
        self.replies_bytes = 0;
        // One message may have brought more replies than fit: the rest, and then nothing new, comes next.
        if self.replies_overflow(&answers) {
            let rest = answers.split_off(fitting::<W>(&answers));
            self.replies_bytes = rest.iter().map(Message::encoded_len).sum();
            self.replies = rest;
        }
        Some(W::server_message(ServerFrame { welcome, answers, draining }))
    }

    fn replies_overflow(&self, answers: &[W::Reply]) -> bool {
        answers.len() > BATCH_OPS_MAX || (answers.len() > 1 && fitting::<W>(answers) < answers.len())
    }

    fn watch_stage(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(mut receiver) = self.stage_change.as_mut().poll(context) {
            self.stage = *receiver.borrow_and_update();
            if self.stage == Stage::Ended {
                self.stage_change = Box::pin(std::future::pending());
                return;
            }
            self.stage_change = stage_change(receiver);
        }
    }

    /// Polls handlers and the client until there is enough for a message, or nothing more to do at present.
    fn work(&mut self, context: &mut Context<'_>) {
        while !self.is_full() {
            match self.at_work.poll_next_unpin(context) {
                Poll::Ready(Some(finished)) => {
                    self.finish(finished);
                    continue;
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
            // What one message brought is answered before the next is read, as far as it can be at once.
            if !self.may_read() || !self.replies.is_empty() {
                return;
            }
            match self.inbound.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(message))) => {
                    if let Err(status) = self.take(message, context) {
                        self.inbound_end = Some(Err(status));
                    }
                }
                Poll::Ready(Some(Err(status))) => self.inbound_end = Some(Err(status::remapped(status))),
                Poll::Ready(None) => self.inbound_end = Some(Ok(())),
                Poll::Pending => return,
            }
        }
    }
}

/// Nothing in it is ever pinned in place.
impl<W: Wire> Unpin for Served<W> {}

impl<W: Wire> Stream for Served<W> {
    type Item = Result<W::ServerMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.watch_stage(context);
        if this.stage == Stage::Ended {
            return Poll::Ready(None);
        }
        this.work(context);
        if let Some(message) = this.flush() {
            return Poll::Ready(Some(Ok(message)));
        }
        match &mut this.inbound_end {
            Some(Ok(())) if this.at_work.is_empty() => Poll::Ready(None),
            Some(end @ Err(_)) => {
                let end = std::mem::replace(end, Ok(()));
                this.at_work.clear();
                Poll::Ready(end.err().map(Err))
            }
            _ => Poll::Pending,
        }
    }
}

/// How many answers from the front fit into one message; at least one.
fn fitting<W: Wire>(answers: &[W::Reply]) -> usize {
    let mut bytes = 0;
    let fits = answers.iter().take(BATCH_OPS_MAX).take_while(|answer| {
        bytes += answer.encoded_len();
        bytes <= BATCH_BYTES_MAX
    });
    fits.count().max(1)
}

fn greet(hello: &types::Hello) -> Result<(), Status> {
    if hello.protocol != PROTOCOL {
        let message = format!("protocol {} is not spoken here, but {PROTOCOL}", hello.protocol);
        return Err(status::to_status(&Error::new(Reason::NotBuilt, message)));
    }
    if let Some(feature) = hello.required_features.first() {
        let message = format!("the feature {feature:?} is not known here");
        return Err(status::to_status(&Error::new(Reason::NotBuilt, message)));
    }
    Ok(())
}

/// Waits for the next stage. When the server is gone without a word, it stays pending: the stream then ends with its
/// connection.
fn stage_change(mut receiver: watch::Receiver<Stage>) -> StageChange {
    Box::pin(async move {
        if receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        receiver
    })
}
