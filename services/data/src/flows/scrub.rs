//! Reads every block of every table from time to time and verifies its checksum, at a bounded rate. What it finds is
//! in the catalogue and in the figures, by which the leaders see within a second that there is something to repair.

use std::sync::{Arc, Weak};

use lamina_engine::corruption::Corruption;
use lamina_env::task;
use lamina_env::time::{self, Duration};
use lamina_peers::data::TableVerified;
use lamina_types::{Error, Reason, Result, TableId};

use crate::hands::verify;
use crate::heart::catalogue::Condition;
use crate::node::Node;

/// The first round begins so long after the start: a node that has just started has better things to do.
const FIRST_AFTER: Duration = Duration::from_secs(60);
/// While it pauses, it looks so often whether the node is going down.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Rounds and pauses, as long as the node lives.
pub(crate) async fn run(node: Weak<Node>) {
    let mut pause = FIRST_AFTER;
    loop {
        let until = time::now() + pause;
        while time::now() < until {
            time::sleep(LOOK_EVERY.min(until - time::now())).await;
            if node.upgrade().is_none_or(|node| *node.stopping.borrow()) {
                return;
            }
        }
        let Some(node) = node.upgrade() else { return };
        round(&node).await;
        pause = node.options.scrub_pause;
    }
}

/// One round over all tables that are there when it comes to them.
pub(crate) async fn round(node: &Arc<Node>) {
    let mut last: Option<TableId> = None;
    while let Some((table, _)) = node.catalogue.next(last) {
        if *node.stopping.borrow() {
            return;
        }
        scrub_table(node, table).await;
        last = Some(table);
    }
    node.metrics.scrub_rounds.inc();
}

/// Reads one table through because somebody depends on it: at once, not at the pace of the rounds.
///
/// # Errors
/// `TABLE_NOT_FOUND`; `DATA_LOSS` if a byte of it is damaged or cannot be read, which is noted.
pub(crate) async fn verify_table(node: &Arc<Node>, table: TableId) -> Result<TableVerified> {
    let open = node.open_table(table).await.map_err(|error| error.into_error(table))?;
    let damaged = |what: String| {
        Error::new(Reason::DataLoss, format!("this copy of table {table} is damaged, try another: {what}"))
    };
    let tail = node.read_tail(&open).await.map_err(|error| damaged(error.to_string()))?;
    for span in verify::spans(&tail.part) {
        let bad = verify::verify_span(open.file.as_ref(), tail.part.origin(), &span).await;
        node.metrics.scrubbed_blocks.inc_by(span.len() as u64);
        if let Some(handle) = bad.first() {
            let what = "a checksum does not match";
            let corruption = Corruption::in_block(what, tail.part.origin(), handle.block);
            node.note_damage(table, open.sealed.generation, &corruption);
            return Err(damaged(corruption.to_string()));
        }
        // Whoever wants blocks goes first.
        task::yield_now().await;
    }
    node.catalogue.set_condition(table, open.sealed.generation, Condition::Verified);
    Ok(TableVerified {})
}

/// Reads one table through.
pub(crate) async fn scrub_table(node: &Arc<Node>, table: TableId) {
    // A table that is gone by now, or a tail that is damaged (which is noted), is no business of this round.
    let Ok(open) = node.open_table(table).await else { return };
    let Ok(tail) = node.read_tail(&open).await else { return };
    let mut sound = true;
    for span in verify::spans(&tail.part) {
        let bytes: u64 = span.iter().map(|handle| u64::from(handle.length)).sum();
        node.scrub_pace.pay(bytes).await;
        if *node.stopping.borrow() {
            return;
        }
        let damaged = verify::verify_span(open.file.as_ref(), tail.part.origin(), &span).await;
        node.metrics.scrubbed_blocks.inc_by(span.len() as u64);
        for handle in damaged {
            sound = false;
            node.metrics.scrub_damaged.inc();
            let what = "the scrubber found a checksum that does not match";
            node.note_damage(
                table,
                open.sealed.generation,
                &Corruption::in_block(what, tail.part.origin(), handle.block),
            );
        }
    }
    if sound {
        node.catalogue.set_condition(table, open.sealed.generation, Condition::Verified);
    }
}
