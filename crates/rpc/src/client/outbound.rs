//! What the transport takes from a link's queue: everything that is there, each time it asks.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use lamina_proto::stream::Wire;

use super::queue::Queue;

/// The client's half of one stream. Polled by the connection's own task.
pub struct Outbound<W: Wire> {
    pub(super) queue: Arc<Queue<W>>,
    /// The stream's number: of an older stream nothing more is sent.
    pub(super) stream: u64,
}

impl<W: Wire> Stream for Outbound<W> {
    type Item = W::ClientMessage;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<W::ClientMessage>> {
        self.queue.poll_message(self.stream, context)
    }
}
