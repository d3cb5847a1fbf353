//! The limits of the door for keys and values. Pure, over the peers' messages, so that the gRPC door and embedded calls
//! refuse the same things in the same words. Nothing is ever clamped.

use std::collections::BTreeSet;

use bytes::Bytes;
use lamina_peers::kv::{KvRequest, Scan, Write, WriteAction};
use lamina_types::limits::{
    BATCH_BYTES_MAX, BATCH_GET_KEYS_MAX, BATCH_OPS_MAX, KEY_BYTES_MAX, SCAN_ROWS_MAX, SNAPSHOT_TTL_MS_MAX,
    TTL_MS_MAX, VALUE_BYTES_MAX,
};
use lamina_types::{Error, Reason, Result};

/// Bytes of a resume token: a key and what the store puts beside it.
const TOKEN_BYTES_MAX: usize = 2 * KEY_BYTES_MAX;

/// Whether a request may come in at all, whatever the state.
///
/// # Errors
/// `KEY_EMPTY`, `KEY_TOO_LARGE`, `VALUE_TOO_LARGE`, `BATCH_EMPTY`, `BATCH_TOO_LARGE`, `DUPLICATE_KEY`, `TTL_OUT_OF_RANGE`,
/// `RANGE_INVERTED`, `LIMIT_OUT_OF_RANGE`, `TOKEN_INVALID`, `FIELD_INVALID`; where there is a limit, with the detail `limit`.
pub fn kv(request: &KvRequest) -> Result<()> {
    match request {
        KvRequest::Get(get) => key(&get.key),
        KvRequest::BatchGet(batch) => {
            count(batch.keys.len(), BATCH_GET_KEYS_MAX, "keys")?;
            batch.keys.iter().try_for_each(|it| key(it))
        }
        KvRequest::Write(it) => write(it),
        KvRequest::Scan(it) => scan(it),
        KvRequest::TakeSnapshot(it) => ttl(it.ttl_ms, SNAPSHOT_TTL_MS_MAX, "a snapshot"),
        KvRequest::ReleaseSnapshot(_) | KvRequest::Hello(_) => Ok(()),
    }
}

/// Whether `key` may be a key: 1 to 4096 bytes.
///
/// # Errors
/// `KEY_EMPTY`, `KEY_TOO_LARGE`.
pub fn key(key: &[u8]) -> Result<()> {
    if key.is_empty() {
        return Err(limited(Reason::KeyEmpty, KEY_BYTES_MAX, "the key is empty"));
    }
    not_longer(key, KEY_BYTES_MAX)
}

fn not_longer(key: &[u8], limit: usize) -> Result<()> {
    if key.len() > limit {
        let message = format!("a key has {} bytes, {KEY_BYTES_MAX} are the most", key.len());
        return Err(limited(Reason::KeyTooLarge, KEY_BYTES_MAX, message));
    }
    Ok(())
}

fn write(write: &Write) -> Result<()> {
    count(write.operations.len(), BATCH_OPS_MAX, "operations")?;
    if write.conditions.len() > BATCH_OPS_MAX {
        return count(write.conditions.len(), BATCH_OPS_MAX, "conditions");
    }
    let mut bytes = 0;
    for operation in &write.operations {
        key(&operation.key)?;
        bytes += operation.key.len();
        if let WriteAction::Put { value, ttl_ms } = &operation.action {
            if value.len() > VALUE_BYTES_MAX {
                let message = format!("a value has {} bytes, {VALUE_BYTES_MAX} are the most", value.len());
                return Err(limited(Reason::ValueTooLarge, VALUE_BYTES_MAX, message));
            }
            if let Some(ms) = ttl_ms {
                ttl(*ms, TTL_MS_MAX, "an entry")?;
            }
            bytes += value.len();
        }
    }
    for condition in &write.conditions {
        key(&condition.key)?;
        bytes += condition.key.len();
    }
    if bytes > BATCH_BYTES_MAX {
        let message =
            format!("the batch has {bytes} bytes of keys and values, {BATCH_BYTES_MAX} are the most");
        return Err(limited(Reason::BatchTooLarge, BATCH_BYTES_MAX, message));
    }
    if write.request_id.is_some_and(|id| id.seq == 0) {
        let message = "the number of a request id is 0; they are counted from 1";
        return Err(Error::new(Reason::FieldInvalid, message).with("field", "request_id.seq"));
    }
    different_keys(write)
}

fn different_keys(write: &Write) -> Result<()> {
    if write.operations.len() < 2 {
        return Ok(());
    }
    let keys: BTreeSet<&Bytes> = write.operations.iter().map(|operation| &operation.key).collect();
    if keys.len() < write.operations.len() {
        let message = "one key stands twice in the batch; send the last operation on it only";
        return Err(Error::new(Reason::DuplicateKey, message));
    }
    Ok(())
}

fn scan(scan: &Scan) -> Result<()> {
    // The first key after the longest key is one byte longer, so an end may be.
    not_longer(&scan.range.start, KEY_BYTES_MAX + 1)?;
    if let Some(end) = &scan.range.end {
        not_longer(end, KEY_BYTES_MAX + 1)?;
        if *end < scan.range.start {
            return Err(Error::new(
                Reason::RangeInverted,
                "the range ends before it starts; swap the two keys",
            ));
        }
    }
    if scan.limit > SCAN_ROWS_MAX {
        let message = format!("a limit of {} rows; {SCAN_ROWS_MAX} are the most, read in pages", scan.limit);
        return Err(Error::new(Reason::LimitOutOfRange, message).with("limit", SCAN_ROWS_MAX));
    }
    if scan.resume.as_ref().is_some_and(|token| token.is_empty() || token.len() > TOKEN_BYTES_MAX) {
        return Err(Error::new(Reason::TokenInvalid, "the resume token has a length that no token has"));
    }
    Ok(())
}

fn count(count: usize, limit: usize, what: &str) -> Result<()> {
    if count == 0 {
        return Err(limited(Reason::BatchEmpty, limit, format!("the batch has no {what}")));
    }
    if count > limit {
        let message = format!("the batch has {count} {what}, {limit} are the most");
        return Err(limited(Reason::BatchTooLarge, limit, message));
    }
    Ok(())
}

fn ttl(ms: u64, limit: u64, of: &str) -> Result<()> {
    if ms == 0 || ms > limit {
        let message = format!("the time to live of {of} is {ms} ms; it is 1 to {limit}");
        return Err(Error::new(Reason::TtlOutOfRange, message).with("limit", limit));
    }
    Ok(())
}

fn limited(reason: Reason, limit: usize, message: impl Into<String>) -> Error {
    Error::new(reason, message).with("limit", limit)
}

#[cfg(test)]
mod tests;
