//! gRPC adapters of the ports: the same [`Peer`](lamina_peers::Peer)s, with a network between.
//!
//! ```text
//!  caller ─ Peer::call ─► Lanes ─► Link ─ queue ─► Outbound ══ HTTP/2 ══► Served ─► Peer of the service
//!                                   ▲                                       │
//!                                   └───────────── answers by id ◄══════════┘
//! ```
//!
//! Per address, port and lane (operations, or bulk bytes) there is one connection and on it one long-lived stream.
//! Whoever writes takes everything that is queued each time the transport asks (natural batching): nothing is delayed,
//! and no task is started per operation. Answers come in any order. The measurements behind it: one operation on a busy
//! stream costs about a tenth of a unary call.
//!
//! | module | holds |
//! |---|---|
//! | [`client`] | [`GrpcNetwork`]: finds the peer behind an address |
//! | [`server`] | [`serve`]: offers a process's peers on a port |
//! | [`guard`] | [`Guard`]: refuses other stores' and outdated nodes' messages (rule G5), with or without a network |
//! | [`settings`] | windows, sizes, times, credits |

pub mod client;
pub mod guard;
pub mod server;
pub mod settings;

pub use client::GrpcNetwork;
pub use guard::{Guard, Identity};
pub use server::{Server, ServerOptions, Services, serve};
