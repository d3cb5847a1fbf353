//! Calling others: addresses, connections, links.
//!
//! | module | holds |
//! |---|---|
//! | [`network`] | [`GrpcNetwork`]: a cache of links by address |
//! | [`connections`] | connections by address |
//! | [`link`] | one lane to one port of one address: opens its stream, again and again |
//! | [`queue`] | where callers, transport and link meet |
//! | [`state`] | what a link knows: queue, credits, phase |
//! | [`slots`] | operations that wait for their answers |
//! | [`outbound`] | what the transport takes from the queue |

mod connections;
mod link;
pub mod network;
mod outbound;
mod queue;
mod slots;
mod state;

pub use network::GrpcNetwork;
