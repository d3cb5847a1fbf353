//! Calling others: addresses, connections, links.
//!
//! | module | holds |
//! |---|---|
//! | [`network`] | [`GrpcNetwork`]: a cache of links by address |
//! | [`link`] | one lane to one port of one address: its queue, its credits, its life |
//! | [`slots`] | operations that wait for their answers |
//! | [`outbound`] | what the transport takes from the queue |

mod link;
pub mod network;
mod outbound;
mod slots;

pub use network::GrpcNetwork;
