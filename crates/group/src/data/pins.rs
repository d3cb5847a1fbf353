//! Snapshots pin versions, in the log, so that they survive a change of leaders (§6.2).

use std::sync::Arc;

use lamina_types::{LogIndex, Version};

use super::entry::{PinSnapshot, RaiseFloor, UnpinBy, UnpinSnapshots};
use super::outcome::{Outcome, Refusal};
use super::state::DataGroup;
use super::stop::StopReason;
use super::view::Pin;

impl DataGroup {
    pub(super) fn pin(
        &mut self,
        index: LogIndex,
        entry: PinSnapshot,
    ) -> Result<Result<Outcome, Refusal>, StopReason> {
        // First of all: a retry must not fail because its own first attempt was the last pin allowed.
        if let Some(known) = self.pins.get(&entry.snapshot) {
            return Ok(Ok(pinned(*known)));
        }
        if let Err(refusal) = self.check_pin(&entry) {
            return Ok(Err(refusal));
        }
        // Every write after the pin gets a higher version than the pin reads.
        self.move_clock(index, entry.at.max(entry.hint))?;
        let pin = Pin { at: entry.at, expires_ms: self.last_version.ms().saturating_add(entry.ttl_ms) };
        Arc::make_mut(&mut self.pins).insert(entry.snapshot, pin);
        Ok(Ok(pinned(pin)))
    }

    fn check_pin(&self, entry: &PinSnapshot) -> Result<(), Refusal> {
        if entry.at < self.read_floor {
            return Err(Refusal::BelowFloor { floor: self.read_floor });
        }
        if entry.at > entry.hint.plus_ms(self.config.pin_ahead_ms) {
            return Err(Refusal::PinAhead);
        }
        if self.pins.len() >= self.config.pins_max as usize {
            return Err(Refusal::TooManyPins { limit: self.config.pins_max });
        }
        Ok(())
    }

    pub(super) fn unpin(&mut self, entry: &UnpinSnapshots) -> Outcome {
        let now = self.last_version.ms();
        let mut removed = Vec::new();
        for snapshot in &entry.snapshots {
            let gone = self.pins.get(snapshot).is_some_and(|pin| match entry.by {
                UnpinBy::Client => true,
                UnpinBy::Expiry => now >= pin.expires_ms,
            });
            if gone {
                Arc::make_mut(&mut self.pins).remove(snapshot);
                removed.push(*snapshot);
            }
        }
        Outcome::Unpinned { removed }
    }

    pub(super) fn raise_floor(&mut self, entry: RaiseFloor) -> Result<Outcome, Refusal> {
        self.check_reign(entry.reign)?;
        let lowest_pin = self.pins.values().map(|pin| pin.at).min().unwrap_or(Version::MAX);
        let to = entry.to.min(self.last_version).min(lowest_pin);
        self.read_floor = self.read_floor.max(to);
        Ok(Outcome::FloorRaised { floor: self.read_floor })
    }
}

fn pinned(pin: Pin) -> Outcome {
    Outcome::Pinned { at: pin.at, expires_ms: pin.expires_ms }
}
