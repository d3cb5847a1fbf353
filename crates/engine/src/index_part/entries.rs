//! The entries of an index part, one per data block: reading and searching.

use std::cmp::Ordering;

use bytes::Bytes;
use lamina_types::Version;

use crate::entry::cmp_entries;
use crate::properties::Properties;
use crate::varint::{self, common_prefix, u32_at};

/// Every so many entries a key and an offset are written whole. Part of the format: it ties entries to numbers.
pub(crate) const RESTART_INTERVAL: u32 = 16;
/// Number of entries, number of restart points.
const TRAILER_BYTES: usize = 4 + 4;

/// The section of entries, checked.
#[derive(Clone, Debug)]
pub(super) struct Entries {
    section: Bytes,
    entries_end: usize,
    restarts: usize,
    count: u32,
}

/// One entry without its key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located {
    pub block: u32,
    pub offset: u64,
    pub length: u32,
    pub entries: u32,
    pub tombstones: u32,
    pub newest_ms: u64,
    pub spilled: bool,
}

/// One entry as it lies in the section.
struct Head<'a> {
    shared: usize,
    suffix: &'a [u8],
    version: Version,
    located: Located,
    /// The first byte behind the entry.
    end: usize,
}

impl Entries {
    pub(super) fn parse(section: Bytes, properties: &Properties) -> Result<Entries, &'static str> {
        let bad = "the counts of the index part are impossible";
        let body = section.len().checked_sub(TRAILER_BYTES).ok_or(bad)?;
        let trailer = section.get(body..).ok_or(bad)?;
        let count = u32_at(trailer, 0).ok_or(bad)?;
        let restarts = u32_at(trailer, 1).ok_or(bad)? as usize;
        let entries_end = restarts.checked_mul(4).and_then(|array| body.checked_sub(array)).ok_or(bad)?;
        if count == 0 || count != properties.blocks || count.div_ceil(RESTART_INTERVAL) as usize != restarts {
            return Err(bad);
        }
        let entries = Entries { section, entries_end, restarts, count };
        entries.check(properties)?;
        Ok(entries)
    }

    /// Walks through all entries: whatever is read later was seen here.
    fn check(&self, properties: &Properties) -> Result<(), &'static str> {
        let mut key: Vec<u8> = Vec::new();
        let mut version = Version::MAX;
        let (mut at, mut before) = (0, None::<Located>);
        for block in 0..self.count {
            let first_of_run = block.is_multiple_of(RESTART_INTERVAL);
            if first_of_run && self.restart((block / RESTART_INTERVAL) as usize) != Some(at) {
                return Err("a restart point of the index part is wrong");
            }
            let head =
                self.head(at, block, before.as_ref()).ok_or("an entry of the index part is malformed")?;
            let tail = key.get(head.shared..).ok_or("an index entry shares more than there is")?;
            let maximal = head.suffix.first().is_none_or(|first| tail.first() != Some(first));
            if if first_of_run { head.shared != 0 } else { !maximal } {
                return Err("an index entry shares a wrong number of bytes");
            }
            let order = tail.cmp(head.suffix).then_with(|| head.version.cmp(&version));
            if block > 0 && order != Ordering::Less {
                return Err("the entries of the index part are out of order");
            }
            let expected = before.map_or(Some(0), |before| before.offset.checked_add(before.length.into()));
            if expected != Some(head.located.offset) || head.located.length == 0 {
                return Err("the blocks of the index part do not follow each other");
            }
            key.truncate(head.shared);
            key.extend_from_slice(head.suffix);
            version = head.version;
            at = head.end;
            before = Some(head.located);
        }
        let data_bytes = before.map(|last| last.offset.saturating_add(last.length.into()));
        if at != self.entries_end || data_bytes != Some(properties.data_bytes) {
            return Err("the counts of the index part do not match");
        }
        Ok(())
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The last entry whose bound lies at or before (`key`, `at`).
    pub(super) fn last_at_or_before(&self, key: &[u8], at: Version) -> Option<Located> {
        self.search(key, at, Ordering::is_le)
    }

    /// The last entry whose bound lies before (`key`, `at`).
    pub(super) fn last_before(&self, key: &[u8], at: Version) -> Option<Located> {
        self.search(key, at, Ordering::is_lt)
    }

    /// All entries from that of `block` on.
    pub(super) fn starting_at(&self, block: u32) -> impl Iterator<Item = Located> {
        let run = block / RESTART_INTERVAL;
        let mut walk = self.walk_run(run as usize);
        for _ in 0..block % RESTART_INTERVAL {
            walk.step();
        }
        std::iter::from_fn(move || walk.step().map(|head| head.located))
    }

    /// The key of the bound of `block`.
    pub(super) fn key(&self, block: u32) -> Option<Bytes> {
        let mut walk = self.walk_run((block / RESTART_INTERVAL) as usize);
        let mut key: Vec<u8> = Vec::new();
        for _ in 0..=block % RESTART_INTERVAL {
            let head = walk.step()?;
            key.truncate(head.shared);
            key.extend_from_slice(head.suffix);
        }
        Some(Bytes::from(key))
    }

    /// The last entry whose bound stands to the target as `accept` says, which holds for a first part of all
    /// entries. Puts no key together: `matched` is the number of bytes that the target shares with the bound before.
    fn search(&self, key: &[u8], at: Version, accept: fn(Ordering) -> bool) -> Option<Located> {
        let run = self.runs_accepted(key, at, accept).checked_sub(1)?;
        let mut walk = self.walk_run(run);
        let mut found = None;
        let mut matched = 0;
        for _ in 0..RESTART_INTERVAL {
            let Some(head) = walk.step() else { break };
            match head.shared.cmp(&matched) {
                // It differs from the target where the bound before did, which was smaller.
                Ordering::Greater => {}
                Ordering::Less => break,
                Ordering::Equal => {
                    let rest = key.get(matched..)?;
                    let common = common_prefix(head.suffix, rest);
                    let order = head.suffix.get(common..)?.cmp(rest.get(common..)?);
                    if !accept(order.then_with(|| at.cmp(&head.version))) {
                        break;
                    }
                    matched += common;
                }
            }
            found = Some(head.located);
        }
        found
    }

    /// How many runs begin with a bound that `accept` takes.
    fn runs_accepted(&self, key: &[u8], at: Version, accept: fn(Ordering) -> bool) -> usize {
        let (mut low, mut high) = (0, self.restarts);
        while low < high {
            let middle = low + (high - low) / 2;
            let accepted = self
                .restart(middle)
                .and_then(|offset| self.head(offset, middle as u32 * RESTART_INTERVAL, None))
                .is_some_and(|head| accept(cmp_entries((head.suffix, head.version), (key, at))));
            if accepted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    #[inline]
    fn restart(&self, index: usize) -> Option<usize> {
        if index >= self.restarts {
            return None;
        }
        u32_at(self.section.get(self.entries_end..)?, index).map(|offset| offset as usize)
    }

    fn walk_run(&self, run: usize) -> Walk<'_> {
        let at = self.restart(run).unwrap_or(self.entries_end);
        Walk { entries: self, at, block: (run as u32).saturating_mul(RESTART_INTERVAL), before: None }
    }

    /// Reads the entry of `block` at the byte `at`; `before` is the entry before it.
    fn head(&self, at: usize, block: u32, before: Option<&Located>) -> Option<Head<'_>> {
        let entries = self.section.get(..self.entries_end)?;
        let mut rest = entries.get(at..)?;
        let shared = varint::read_len(&mut rest)?;
        let unshared = varint::read_len(&mut rest)?;
        let (unshared, spilled) = (unshared >> 1, unshared & 1 == 1);
        let (offset, newest_before) = if block.is_multiple_of(RESTART_INTERVAL) {
            (varint::read(&mut rest)?, 0)
        } else {
            let before = before?;
            (before.offset.checked_add(before.length.into())?, before.newest_ms)
        };
        let mut count = || varint::read(&mut rest).and_then(|count| u32::try_from(count).ok());
        let (length, entry_count, tombstones) = (count()?, count()?, count()?);
        let newest_ms = newest_before.wrapping_add_signed(unzigzag(varint::read(&mut rest)?));
        let version = if spilled {
            let (version, tail) = rest.split_first_chunk::<8>()?;
            rest = tail;
            Version(u64::from_le_bytes(*version))
        } else {
            Version::MAX
        };
        let (suffix, tail) = rest.split_at_checked(unshared)?;
        let located = Located { block, offset, length, entries: entry_count, tombstones, newest_ms, spilled };
        Some(Head { shared, suffix, version, located, end: entries.len() - tail.len() })
    }
}

struct Walk<'a> {
    entries: &'a Entries,
    at: usize,
    block: u32,
    before: Option<Located>,
}

impl<'a> Walk<'a> {
    fn step(&mut self) -> Option<Head<'a>> {
        if self.at >= self.entries.entries_end {
            return None;
        }
        let head = self.entries.head(self.at, self.block, self.before.as_ref())?;
        self.at = head.end;
        self.block = self.block.checked_add(1)?;
        self.before = Some(head.located);
        Some(head)
    }
}

/// Small numbers of either sign as small numbers.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
