//! The form of the stream of each port: what a client's and a server's messages hold, whatever the port.
//!
//! A [`Wire`] names a port's messages once, so that `crates/rpc` is written once for all six ports.

use bytes::Bytes;
use lamina_peers::admin::{AdminAnswer, AdminRequest};
use lamina_peers::data::{DataAnswer, DataRequest};
use lamina_peers::group::{GroupAnswer, GroupRequest};
use lamina_peers::index::{IndexAnswer, IndexRequest};
use lamina_peers::kv::{KvAnswer, KvRequest};
use lamina_peers::raft::{RaftAnswer, RaftRequest};
use lamina_types::limits::DEADLINE_MS_MAX;
use lamina_types::{Epoch, NodeId, RequestContext, Result, Sender};
use prost::Message;

use crate::convert::Twin;
use crate::{admin, data, group, index, kv, raft, types, validate};

/// The client's messages, whatever the port.
#[derive(Clone, PartialEq, Debug)]
pub struct ClientFrame<O> {
    /// In the first message.
    pub hello: Option<types::Hello>,
    /// Who sends, from here on.
    pub origin: Option<Origin>,
    /// New operations.
    pub ops: Vec<O>,
    /// Operations whose answers nobody wants any more.
    pub cancel: Vec<u64>,
}

/// The server's messages, whatever the port.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerFrame<A> {
    /// In the first message.
    pub welcome: Option<types::Welcome>,
    /// Answers.
    pub answers: Vec<A>,
    /// The server stops.
    pub draining: bool,
}

/// Who sends operations and who is meant: the part of a context that rarely changes on a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// The sender, if it is a node.
    pub sender: Option<Sender>,
    /// The node that is meant.
    pub to: Option<NodeId>,
}

impl Origin {
    /// The origin of a call.
    pub fn of(context: &RequestContext) -> Origin {
        Origin { sender: context.sender, to: context.to }
    }
}

impl Twin<types::Origin> for Origin {
    fn into_wire(self) -> types::Origin {
        let to: Option<Bytes> = self.to.into_wire();
        types::Origin { sender: self.sender.into_wire(), to: to.unwrap_or_default() }
    }
    fn from_wire(wire: types::Origin) -> Result<Origin> {
        let to = Some(wire.to).filter(|to| !to.is_empty());
        Ok(Origin { sender: Twin::from_wire(wire.sender)?, to: Twin::from_wire(to)? })
    }
}

/// A context without its origin, on the wire.
pub fn context_into_wire(context: RequestContext) -> types::Context {
    types::Context {
        deadline_ms: Some(context.deadline_ms),
        trace_high: (context.trace >> 64) as u64,
        trace_low: context.trace as u64,
        principal: context.principal,
        epoch: context.epoch.into_wire(),
        forwarded: context.forwarded,
    }
}

/// A context as received, with the origin that holds on its stream. A deadline that is absent or too long is the
/// longest; a trace that is absent stays 0.
pub fn context_from_wire(wire: types::Context, origin: Origin) -> RequestContext {
    RequestContext {
        trace: (u128::from(wire.trace_high) << 64) | u128::from(wire.trace_low),
        deadline_ms: wire.deadline_ms.unwrap_or(DEADLINE_MS_MAX).min(DEADLINE_MS_MAX),
        principal: wire.principal,
        sender: origin.sender,
        to: origin.to,
        epoch: Epoch(wire.epoch),
        forwarded: wire.forwarded,
    }
}

/// A port on the wire. A type without values, used as a name only.
pub trait Wire: Send + Sync + 'static {
    /// What is asked.
    type Request: Send + 'static;
    /// What is answered.
    type Answer: Send + 'static;
    /// One operation on the wire.
    type Op: Message + Default + 'static;
    /// One answer on the wire.
    type Reply: Message + Default + 'static;
    /// The client's messages on the wire.
    type ClientMessage: Message + Default + 'static;
    /// The server's messages on the wire.
    type ServerMessage: Message + Default + 'static;

    /// The port, for logs and metrics: `kv`.
    const PORT: &'static str;
    /// The service: `lamina.kv.v1.Kv`.
    const SERVICE: &'static str;
    /// The method of the stream: `/lamina.kv.v1.Kv/Session`.
    const METHOD: &'static str;

    /// The name of a request: `Get`.
    fn name(request: &Self::Request) -> &'static str;
    /// Whether the request carries bulk bytes, and so goes on the connection for them.
    fn is_bulk(request: &Self::Request) -> bool;
    /// Whether the other side should be told when nobody waits for the answer any more.
    fn is_cancellable(request: &Self::Request) -> bool;

    /// An operation.
    fn op(id: u64, context: types::Context, request: Self::Request) -> Self::Op;
    /// Gives an operation its id, which is known late.
    fn set_id(op: &mut Self::Op, id: u64);
    /// Sets what is left of an operation's time.
    fn set_deadline_ms(op: &mut Self::Op, deadline_ms: u64);
    /// The parts of an operation that was received; the request is checked.
    fn op_parts(op: Self::Op) -> (u64, types::Context, Result<Self::Request>);
    /// An answer.
    fn reply(id: u64, answer: Result<Self::Answer>) -> Self::Reply;
    /// The parts of an answer that was received.
    fn reply_parts(reply: Self::Reply) -> (u64, Result<Self::Answer>);
    /// A client's message.
    fn client_message(frame: ClientFrame<Self::Op>) -> Self::ClientMessage;
    /// The parts of a client's message.
    ///
    /// # Errors
    /// The origin is not well formed.
    fn client_frame(message: Self::ClientMessage) -> Result<ClientFrame<Self::Op>>;
    /// A server's message.
    fn server_message(frame: ServerFrame<Self::Reply>) -> Self::ServerMessage;
    /// The parts of a server's message.
    fn server_frame(message: Self::ServerMessage) -> ServerFrame<Self::Reply>;
}

macro_rules! wire {
    (
        $(#[$doc:meta])* $name:ident: $package:ident, $service:literal, $method:literal,
        $request:ident => $answer:ident,
        bulk: $bulk:expr, cancellable: $cancellable:expr, check: $check:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        impl Wire for $name {
            type Request = $request;
            type Answer = $answer;
            type Op = $package::Op;
            type Reply = $package::Answer;
            type ClientMessage = $package::ClientMessage;
            type ServerMessage = $package::ServerMessage;

            const PORT: &'static str = stringify!($package);
            const SERVICE: &'static str = $service;
            const METHOD: &'static str = concat!("/", $service, "/", $method);

            fn name(request: &$request) -> &'static str {
                request.name()
            }
            fn is_bulk(request: &$request) -> bool {
                let decide: fn(&$request) -> bool = $bulk;
                decide(request)
            }
            fn is_cancellable(request: &$request) -> bool {
                let decide: fn(&$request) -> bool = $cancellable;
                decide(request)
            }
            fn op(id: u64, context: types::Context, request: $request) -> $package::Op {
                $package::Op { id, context: Some(context), request: request.into_wire() }
            }
            fn set_id(op: &mut $package::Op, id: u64) {
                op.id = id;
            }
            fn set_deadline_ms(op: &mut $package::Op, deadline_ms: u64) {
                if let Some(context) = &mut op.context {
                    context.deadline_ms = Some(deadline_ms);
                }
            }
            fn op_parts(op: $package::Op) -> (u64, types::Context, Result<$request>) {
                let check: fn(&$request) -> Result<()> = $check;
                let request = $request::from_wire(op.request).and_then(|request| {
                    check(&request)?;
                    Ok(request)
                });
                (op.id, op.context.unwrap_or_default(), request)
            }
            fn reply(id: u64, answer: Result<$answer>) -> $package::Answer {
                $package::Answer { id, answer: answer.into_wire() }
            }
            fn reply_parts(reply: $package::Answer) -> (u64, Result<$answer>) {
                let answer = <Result<$answer> as Twin<_>>::from_wire(reply.answer);
                (reply.id, answer.and_then(|answer| answer))
            }
            fn client_message(frame: ClientFrame<$package::Op>) -> $package::ClientMessage {
                $package::ClientMessage {
                    hello: frame.hello,
                    origin: frame.origin.into_wire(),
                    ops: frame.ops,
                    cancel: frame.cancel,
                }
            }
            fn client_frame(message: $package::ClientMessage) -> Result<ClientFrame<$package::Op>> {
                Ok(ClientFrame {
                    hello: message.hello,
                    origin: Twin::from_wire(message.origin)?,
                    ops: message.ops,
                    cancel: message.cancel,
                })
            }
            fn server_message(frame: ServerFrame<$package::Answer>) -> $package::ServerMessage {
                $package::ServerMessage {
                    welcome: frame.welcome,
                    answers: frame.answers,
                    draining: frame.draining,
                }
            }
            fn server_frame(message: $package::ServerMessage) -> ServerFrame<$package::Answer> {
                ServerFrame { welcome: message.welcome, answers: message.answers, draining: message.draining }
            }
        }
    };
}

wire! {
    /// Keys and values. The limits of the door are checked on receipt.
    KvWire: kv, "lamina.kv.v1.Kv", "Session", KvRequest => KvAnswer,
    bulk: |_| false, cancellable: |request| matches!(request, KvRequest::Scan(_)), check: validate::kv
}
wire! {
    /// Index nodes.
    IndexWire: index, "lamina.index.v1.Index", "Stream", IndexRequest => IndexAnswer,
    bulk: |request| matches!(
        request,
        IndexRequest::Install(_) | IndexRequest::InstallPiece(_) | IndexRequest::FetchParts(_) | IndexRequest::FetchPiece(_)
    ),
    cancellable: |_| false, check: |_| Ok(())
}
wire! {
    /// Data nodes.
    DataWire: data, "lamina.data.v1.Data", "Stream", DataRequest => DataAnswer,
    bulk: |request| matches!(
        request,
        DataRequest::WriteTable(_) | DataRequest::ReadFile(_) | DataRequest::CopyTable(_) | DataRequest::ReadTail(_)
    ),
    cancellable: |_| false, check: |_| Ok(())
}
wire! {
    /// Leaders of groups.
    GroupWire: group, "lamina.group.v1.Group", "Stream", GroupRequest => GroupAnswer,
    bulk: |_| false, cancellable: |_| false, check: |_| Ok(())
}
wire! {
    /// Replicas.
    RaftWire: raft, "lamina.raft.v1.Raft", "Stream", RaftRequest => RaftAnswer,
    bulk: |RaftRequest::RaftCall(call)| call.bulk, cancellable: |_| false, check: |_| Ok(())
}
wire! {
    /// Administration.
    AdminWire: admin, "lamina.admin.v1.Admin", "Stream", AdminRequest => AdminAnswer,
    bulk: |_| false, cancellable: |request| matches!(request, AdminRequest::Watch(_)), check: |_| Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamina_types::{ClusterId, Incarnation, Reason};

    #[test]
    fn a_context_survives_the_wire_and_its_deadline_is_bounded() {
        let sender = Sender { cluster: ClusterId(1 << 90), node: NodeId(7), incarnation: Incarnation(3) };
        let context = RequestContext {
            sender: Some(sender),
            to: Some(NodeId(9)),
            epoch: Epoch(5),
            forwarded: true,
            principal: "somebody".into(),
            ..RequestContext::new(0x0123_4567_89ab_cdef_0011_2233_4455_6677, 250)
        };
        let origin = Origin::from_wire(Origin::of(&context).into_wire()).unwrap();
        assert_eq!(context_from_wire(context_into_wire(context.clone()), origin), context);
        let unbounded = types::Context { deadline_ms: None, ..Default::default() };
        assert_eq!(context_from_wire(unbounded, origin).deadline_ms, DEADLINE_MS_MAX);
        let for_ever = types::Context { deadline_ms: Some(u64::MAX), ..Default::default() };
        assert_eq!(context_from_wire(for_ever, origin).deadline_ms, DEADLINE_MS_MAX);
    }

    #[test]
    fn an_answer_without_a_form_is_a_defect_and_an_operation_without_one_is_refused() {
        let (id, answer) = KvWire::reply_parts(kv::Answer { id: 4, answer: None });
        assert_eq!((id, answer.unwrap_err().reason()), (4, Reason::Bug));
        let (id, _, request) = KvWire::op_parts(kv::Op { id: 5, context: None, request: None });
        assert_eq!((id, request.unwrap_err().reason()), (5, Reason::OpMissing));
    }

    #[test]
    fn the_door_for_keys_and_values_checks_its_limits() {
        let request = kv::op::Request::Get(kv::GetRequest::default());
        let op = kv::Op { id: 1, context: None, request: Some(request) };
        assert_eq!(KvWire::op_parts(op).2.unwrap_err().reason(), Reason::KeyEmpty);
    }
}
