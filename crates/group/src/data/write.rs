//! Acceptance of client writes (§5): whose tablet, done before, all keys here, conditions, effect.
//!
//! Apply routes by key, so a split between proposal and apply does no harm. It cannot read tables; conditions are
//! decided from the memtables, else from what the leader saw, else not at all (§5.2, invariant W1).

use std::sync::Arc;

use lamina_engine::Value;
use lamina_types::{LogIndex, Version};

use super::entry::{Action, ClientWrite, Condition, Expected, Seen, Writes};
use super::outcome::WriteOutcome;
use super::state::DataGroup;
use super::stop::StopReason;
use super::view::{TabletView, tablet_of};
use super::window::{FailedCondition, Remembered};

/// The current value of a key, as far as apply can know it.
enum Current {
    /// The version of the value that the key has; `None`: it has none.
    Known(Option<Version>),
    /// Something was flushed since the leader looked.
    Undecided,
}

impl DataGroup {
    pub(super) fn apply_writes(
        &mut self,
        index: LogIndex,
        writes: Writes,
    ) -> Result<Vec<WriteOutcome>, StopReason> {
        let mut outcomes = Vec::with_capacity(writes.writes.len());
        for write in writes.writes {
            outcomes.push(self.client_write(index, writes.hint, write)?);
        }
        Ok(outcomes)
    }

    fn client_write(
        &mut self,
        index: LogIndex,
        hint: Version,
        write: ClientWrite,
    ) -> Result<WriteOutcome, StopReason> {
        let version = self.last_version.next().max(hint);
        if version == Version::MAX {
            return Err(StopReason::Versions { index });
        }
        let Some(first) = write.operations.first() else { return Ok(WriteOutcome::Empty) };
        let Some(home) = tablet_of(&self.tablets, &first.key) else { return Ok(WriteOutcome::NotOwner) };
        let window = self
            .windows
            .get_mut(&home.id)
            .ok_or_else(|| StopReason::Contradiction(format!("tablet {} has no dedupe window", home.id)))?;
        let last = self.last_version;
        let check = |id| window.check(id, version, last, &self.config);
        if let Some(answer) = write.request_id.as_ref().and_then(check) {
            return Ok(answer);
        }
        let keys = write.operations.iter().map(|operation| &operation.key);
        let mut keys = keys.chain(write.conditions.iter().map(|condition| &condition.key)).skip(1);
        if keys.any(|key| !home.range.contains(key) && tablet_of(&self.tablets, key).is_none()) {
            return Ok(WriteOutcome::BatchSpansGroups);
        }
        if let Some(answer) = check_conditions(&self.tablets, &write, version) {
            if let (WriteOutcome::ConditionFailed { condition, current }, Some(id)) =
                (answer, &write.request_id)
            {
                let refused = Remembered::Refused(FailedCondition { condition, current });
                Arc::make_mut(window).remember(id, refused, last, &self.config);
            }
            return Ok(answer);
        }
        self.last_version = version;
        if let Some(id) = &write.request_id {
            Arc::make_mut(window).remember(id, Remembered::Written(version), version, &self.config);
        }
        insert(&self.tablets, home, write, version);
        Ok(WriteOutcome::Written { version })
    }
}

/// All operations share one version; of two on one key the later one takes the place of the earlier one.
fn insert(tablets: &[Arc<TabletView>], home: &TabletView, write: ClientWrite, version: Version) {
    for operation in write.operations {
        let value = match operation.action {
            Action::Delete => Value::Tombstone,
            Action::Put { value, ttl_ms } => {
                Value::Put { bytes: value, expires_ms: ttl_ms.map(|ttl| version.ms().saturating_add(ttl)) }
            }
        };
        let key = operation.key.as_ref();
        if home.range.contains(key) {
            home.active.insert(key, version, value);
        } else if let Some(tablet) = tablet_of(tablets, key) {
            tablet.active.insert(key, version, value);
        }
    }
}

/// The answer if a condition does not hold at `version`, or cannot be decided; the first one counts.
fn check_conditions(
    tablets: &[Arc<TabletView>],
    write: &ClientWrite,
    version: Version,
) -> Option<WriteOutcome> {
    for (nth, condition) in (0..).zip(&write.conditions) {
        let Some(tablet) = tablet_of(tablets, &condition.key) else {
            return Some(WriteOutcome::BatchSpansGroups);
        };
        let current = match current(tablet, condition, write.read_at, version) {
            Current::Known(current) => current,
            Current::Undecided => return Some(WriteOutcome::Retry),
        };
        let holds = match condition.expected {
            Expected::Absent => current.is_none(),
            Expected::Present => current.is_some(),
            Expected::Version(expected) => current == Some(expected),
        };
        if !holds {
            return Some(WriteOutcome::ConditionFailed { condition: nth, current });
        }
    }
    None
}

fn current(tablet: &TabletView, condition: &Condition, read_at: LogIndex, at: Version) -> Current {
    // (a) What is in memory is newer than what is in tables.
    if let Some(entry) = tablet.memory_newest(&condition.key) {
        return Current::Known(entry.value.visible_at(at).map(|_| entry.version));
    }
    // (c) It may have been in memory, unseen by the leader, and be in a table by now.
    if tablet.last_flush > read_at {
        return Current::Undecided;
    }
    // (b) Nothing has left memory since the leader looked, and nothing is in memory: what it saw is still true.
    let alive = |seen: &Seen| seen.expires_ms.is_none_or(|ms| ms > at.ms());
    Current::Known(condition.seen.filter(alive).map(|seen| seen.version))
}
