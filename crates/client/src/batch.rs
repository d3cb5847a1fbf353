//! Atomic writes: all operations or none, iff all conditions hold.

use bytes::Bytes;
use lamina_env::time::Duration;
use lamina_peers::kv::{Condition, Expected, WriteAction, WriteOperation};

/// Operations on different keys, and conditions.
#[derive(Clone, Default, Debug)]
pub struct Batch {
    pub(crate) operations: Vec<WriteOperation>,
    pub(crate) conditions: Vec<Condition>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// The key gets this value.
    #[must_use]
    pub fn put(self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Batch {
        self.with(key.into(), WriteAction::Put { value: value.into(), ttl_ms: None })
    }

    /// The key gets this value, and is absent again after `ttl` (in whole milliseconds).
    #[must_use]
    pub fn put_for(self, key: impl Into<Bytes>, value: impl Into<Bytes>, ttl: Duration) -> Batch {
        let ttl_ms = Some(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        self.with(key.into(), WriteAction::Put { value: value.into(), ttl_ms })
    }

    /// The key becomes absent.
    #[must_use]
    pub fn delete(self, key: impl Into<Bytes>) -> Batch {
        self.with(key.into(), WriteAction::Delete)
    }

    /// The batch is done only if this holds. The key need not be written.
    #[must_use]
    pub fn only_if(mut self, key: impl Into<Bytes>, expected: Expected) -> Batch {
        self.conditions.push(Condition { key: key.into(), expected });
        self
    }

    /// A condition, counted from 0 as the detail `condition` of `CONDITION_FAILED` counts.
    pub fn condition(&self, nth: usize) -> Option<(&Bytes, Expected)> {
        self.conditions.get(nth).map(|condition| (&condition.key, condition.expected))
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    fn with(mut self, key: Bytes, action: WriteAction) -> Batch {
        self.operations.push(WriteOperation { key, action });
        self
    }
}
