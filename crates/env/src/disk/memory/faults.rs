//! What goes wrong on a simulated disk.

use rand::{Rng, RngExt};

use crate::time::Duration;

/// What goes wrong on a [`super::MemDisk`] from now on. By default nothing does.
///
/// Chances are per mille of calls. The `next_…` counters are for tests that say by hand what fails; both kinds
/// apply to the files named by `only`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Faults {
    /// Only files whose path begins so have faults; `None`: all.
    pub only: Option<String>,
    /// Bytes that fit on the disk; more is `StorageFull`.
    pub capacity: u64,
    /// The next syncs of files that fail.
    pub next_syncs_fail: u32,
    /// The next reads that fail.
    pub next_reads_fail: u32,
    /// The next writes that land in another place of the same file, 4096 bytes further, without an error.
    pub next_writes_misdirected: u32,
    /// The chance that a sync fails.
    pub syncs_fail: u64,
    /// The chance that a read fails.
    pub reads_fail: u64,
    /// After so many further changes (writes, syncs, changes of names) the disk is gone: all calls fail without
    /// effect, until a crash brings the disk back. Serves to crash a story at each of its points.
    pub changes_left: Option<u64>,
    /// How long reads take, in milliseconds from least to most; `None`: no time, not even a switch of tasks.
    pub read_ms: Option<(u64, u64)>,
    /// How long writes and changes of names take.
    pub write_ms: Option<(u64, u64)>,
    /// How long syncs take.
    pub sync_ms: Option<(u64, u64)>,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            only: None,
            capacity: 1 << 40,
            next_syncs_fail: 0,
            next_reads_fail: 0,
            next_writes_misdirected: 0,
            syncs_fail: 0,
            reads_fail: 0,
            changes_left: None,
            read_ms: None,
            write_ms: None,
            sync_ms: None,
        }
    }
}

/// What a call does, as far as faults go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Doing {
    Reading,
    Writing,
    Syncing,
}

impl Faults {
    fn concern(&self, path: &str) -> bool {
        self.only.as_ref().is_none_or(|only| path.starts_with(only.as_str()))
    }

    /// Two stretches of time, before and after the effect of a call.
    pub(super) fn delays(&self, doing: Doing, rng: &mut dyn Rng) -> Option<(Duration, Duration)> {
        let (least, most) = match doing {
            Doing::Reading => self.read_ms?,
            Doing::Writing => self.write_ms?,
            Doing::Syncing => self.sync_ms?,
        };
        let all = if least < most { rng.random_range(least..=most) } else { least };
        let before = rng.random_range(0..=all);
        Some((Duration::from_millis(before), Duration::from_millis(all - before)))
    }

    pub(super) fn count_change(&mut self) {
        if let Some(left) = &mut self.changes_left {
            *left = left.saturating_sub(1);
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.changes_left == Some(0)
    }

    pub(super) fn read_fails(&mut self, path: &str, rng: &mut dyn Rng) -> bool {
        self.concern(path) && (take(&mut self.next_reads_fail) || chance(self.reads_fail, rng))
    }

    pub(super) fn sync_fails(&mut self, path: &str, rng: &mut dyn Rng) -> bool {
        self.concern(path) && (take(&mut self.next_syncs_fail) || chance(self.syncs_fail, rng))
    }

    pub(super) fn write_is_misdirected(&mut self, path: &str) -> bool {
        self.concern(path) && take(&mut self.next_writes_misdirected)
    }
}

fn take(counter: &mut u32) -> bool {
    let some = *counter > 0;
    *counter = counter.saturating_sub(1);
    some
}

fn chance(per_mille: u64, rng: &mut dyn Rng) -> bool {
    per_mille > 0 && rng.random_range(0..1000) < per_mille
}
