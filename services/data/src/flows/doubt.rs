//! Bytes that another node sent do not hold their checksum: that node is asked to read its copy through.
//!
//! It takes nobody's word for it. What its own disk shows it notes as any other damage, and so the leader that can
//! repair it hears of it at once, instead of when the scrubber comes by.

use lamina_peers::data::{CopySource, VerifyTable};
use lamina_types::TableId;

use crate::node::Node;

/// Asks `source` to read its copy of a table through. Nobody waits for it, and a copy that is being read through
/// already is not asked for again.
pub(crate) fn doubt(node: &Node, source: &CopySource, table: TableId) {
    let key = (source.node, table);
    if !node.doubted.lock().insert(key) {
        return;
    }
    let (peer, context) = (node.peers.data(&source.address), node.peers.context(source.node));
    let doubted = node.doubted.clone();
    node.spawn(async move {
        // A node that does not answer is asked by the next who reads there.
        if let Err(error) = peer.call(context, VerifyTable { table }).await {
            tracing::warn!(%table, node = %key.0, %error, "a copy that sent damaged bytes was read through");
        }
        doubted.lock().remove(&key);
    });
}
