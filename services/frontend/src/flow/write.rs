//! An atomic write: conditions are looked at, the write goes through the log, apply decides.

use std::sync::Arc;

use bytes::Bytes;
use lamina_group::data::WriteOutcome;
use lamina_group::data::entry::{Action, ClientWrite, Condition, Expected, Operation, Seen};
use lamina_peers::kv::{Expected as Asked, Write, WriteAction, Written};
use lamina_types::{Error, LogIndex, Reason, RequestContext, Result};

use crate::flow::read::again;
use crate::flow::route::inside;
use crate::flow::search::Searcher;
use crate::host::DataHost;

/// How often conditions are looked at anew because the state moved on between look and apply.
const LOOKS_MAX: usize = 8;

/// Carries out a write that was validated, at the leader of the group of its first key.
///
/// # Errors
/// Everything but `OUTCOME_UNKNOWN` and `DEADLINE_EXCEEDED` means: not done.
pub async fn write(
    searcher: &Searcher,
    context: &RequestContext,
    host: &Arc<DataHost>,
    request: &Write,
) -> Result<Written> {
    let operations: Vec<Operation> = request
        .operations
        .iter()
        .map(|operation| Operation { key: inside(&operation.key), action: action(&operation.action) })
        .collect();
    let mut client = ClientWrite::new(operations);
    client.request_id = request.request_id;
    host.throttle.admit(client.encoded_len()).await?;
    for _ in 0..LOOKS_MAX {
        if !request.conditions.is_empty() {
            (client.read_at, client.conditions) = Box::pin(look_at(searcher, context, host, request)).await?;
        }
        match host.inbox().write(client.clone()).await? {
            WriteOutcome::Retry => {}
            outcome => return outcome.into_result().map(|version| Written { version }),
        }
    }
    Err(Error::new(
        Reason::StateMoved,
        "the state moved on each time the conditions were looked at; nothing was done, repeat the write",
    ))
}

/// What the conditions' keys have in one view, and the applied index of that view.
async fn look_at(
    searcher: &Searcher,
    context: &RequestContext,
    host: &DataHost,
    request: &Write,
) -> Result<(LogIndex, Vec<Condition>)> {
    let mut fault = None;
    for _ in 0..LOOKS_MAX {
        // Any view does: apply compares its index with what was flushed since (protocols §5.2). But where a table is
        // gone only a leader can say that it is lost (rule G6).
        let view = if fault.is_none() { host.published.view() } else { host.newest_view().await? };
        let mut conditions = Vec::with_capacity(request.conditions.len());
        for asked in &request.conditions {
            let key = inside(&asked.key);
            let tablet = match (view.tablet_of(&key), request.operations.first()) {
                (Some(tablet), _) => tablet,
                // As apply says it, which is not asked: another leader would say the same of its half.
                (None, Some(first)) if view.tablet_of(&inside(&first.key)).is_some() => {
                    return Err(Error::new(
                        Reason::BatchSpansGroups,
                        "the keys of the batch lie in more than one group; split the batch",
                    ));
                }
                (None, _) => return Err(host.not_owner()),
            };
            match searcher.find(context, &view, tablet, &key, view.last_version).await {
                Ok(found) => conditions.push(Condition {
                    key,
                    expected: expected(asked.expected),
                    seen: found.and_then(|(version, value)| seen(version, &value)),
                }),
                Err(error) => {
                    fault = Some(again(error)?);
                    break;
                }
            }
        }
        if conditions.len() == request.conditions.len() {
            return Ok((view.applied, conditions));
        }
    }
    Err(fault
        .unwrap_or_else(|| Error::new(Reason::StateMoved, "the state moved on too often; repeat the write")))
}

fn seen(version: lamina_types::Version, value: &lamina_engine::Value) -> Option<Seen> {
    match value {
        lamina_engine::Value::Put { expires_ms, .. } => Some(Seen { version, expires_ms: *expires_ms }),
        lamina_engine::Value::Tombstone => None,
    }
}

fn expected(asked: Asked) -> Expected {
    match asked {
        Asked::Absent => Expected::Absent,
        Asked::Present => Expected::Present,
        Asked::Version(version) => Expected::Version(version),
    }
}

fn action(asked: &WriteAction) -> Action {
    match asked {
        WriteAction::Put { value, ttl_ms } => Action::Put { value: Bytes::clone(value), ttl_ms: *ttl_ms },
        WriteAction::Delete => Action::Delete,
    }
}
