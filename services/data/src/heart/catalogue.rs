//! Which tables are sealed here. The directory of the volume is the truth; this is what the process knows of it.

use std::collections::BTreeMap;
use std::ops::Bound;

use lamina_peers::data::{ListedTable, Seal};
use lamina_types::{CopyStamp, GroupId, TableId};
use parking_lot::Mutex;

/// What is known of one sealed copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sealed {
    /// The order that made the copy, or a later one that found it here.
    pub stamp: CopyStamp,
    /// The length of the file.
    pub file_bytes: u64,
    /// Which bytes stand under the name: caches are keyed by it, so that they never serve a copy that was replaced.
    pub generation: u64,
    /// What is known of the bytes.
    pub condition: Condition,
    /// What stands for the bytes, once the footer has been read.
    pub seal: Option<Seal>,
}

/// What is known of the bytes of a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Condition {
    /// Not read through since the process began.
    Unverified,
    /// Every block was read and its checksum held, since the process began.
    Verified,
    /// Something could not be read, or its checksum did not hold.
    Damaged,
}

/// What the catalogue adds up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Totals {
    /// Sealed tables.
    pub tables: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Those that are damaged.
    pub damaged: u64,
    /// How often damage was found in a copy that was not known to be damaged. Never falls: who repairs sees by it that
    /// there is something new to repair.
    pub damage_found: u64,
}

/// The sealed tables of this node.
#[derive(Debug, Default)]
pub(crate) struct Catalogue(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tables: BTreeMap<TableId, Sealed>,
    totals: Totals,
    last_generation: u64,
}

impl Catalogue {
    /// What is known of a table; `None`: it is not here.
    pub fn get(&self, table: TableId) -> Option<Sealed> {
        self.0.lock().tables.get(&table).copied()
    }

    /// The table is sealed here with these bytes, in place of any that stood under its name.
    pub fn put(&self, table: TableId, stamp: CopyStamp, seal: Seal, condition: Condition) -> Sealed {
        self.insert(table, stamp, seal.file_bytes, Some(seal), condition)
    }

    /// The table was found at the start; nothing but its name and length is known.
    pub fn found(&self, table: TableId, stamp: CopyStamp, file_bytes: u64) -> Sealed {
        self.insert(table, stamp, file_bytes, None, Condition::Unverified)
    }

    fn insert(
        &self,
        table: TableId,
        stamp: CopyStamp,
        file_bytes: u64,
        seal: Option<Seal>,
        condition: Condition,
    ) -> Sealed {
        let mut inner = self.0.lock();
        inner.last_generation += 1;
        let sealed = Sealed { stamp, file_bytes, generation: inner.last_generation, condition, seal };
        inner.take(table);
        inner.totals.tables += 1;
        inner.totals.file_bytes += file_bytes;
        inner.totals.damaged += u64::from(condition == Condition::Damaged);
        inner.tables.insert(table, sealed);
        sealed
    }

    /// The file has a name with a higher stamp now.
    pub fn set_stamp(&self, table: TableId, stamp: CopyStamp) {
        if let Some(sealed) = self.0.lock().tables.get_mut(&table) {
            sealed.stamp = stamp;
        }
    }

    /// The footer of these bytes was read. A finding about bytes that have been replaced meanwhile counts for nothing.
    pub fn set_seal(&self, table: TableId, generation: u64, seal: Seal) {
        let mut inner = self.0.lock();
        if let Some(sealed) = inner.tables.get_mut(&table).filter(|sealed| sealed.generation == generation) {
            sealed.seal = Some(seal);
        }
    }

    /// These bytes were read through, or damage was found in them. Damage stays until the bytes are replaced.
    /// Answers whether this is news.
    pub fn set_condition(&self, table: TableId, generation: u64, condition: Condition) -> bool {
        let mut inner = self.0.lock();
        let Some(sealed) = inner.tables.get_mut(&table).filter(|sealed| sealed.generation == generation)
        else {
            return false;
        };
        if sealed.condition == Condition::Damaged || sealed.condition == condition {
            return false;
        }
        sealed.condition = condition;
        inner.totals.damaged += u64::from(condition == Condition::Damaged);
        inner.totals.damage_found += u64::from(condition == Condition::Damaged);
        true
    }

    /// The name is gone.
    pub fn remove(&self, table: TableId) -> Option<Sealed> {
        self.0.lock().take(table)
    }

    /// Tables of a group behind `after` in the order of their ids, and whether there are more.
    pub fn list(&self, group: GroupId, after: Option<TableId>, limit: usize) -> (Vec<ListedTable>, bool) {
        let first = TableId { group, reign: lamina_types::Reign::ZERO, n: 0 };
        let last = TableId { group, reign: lamina_types::Reign(u64::MAX), n: u32::MAX };
        let from = match after {
            Some(after) if after >= last => return (Vec::new(), false),
            Some(after) if after >= first => Bound::Excluded(after),
            _ => Bound::Included(first),
        };
        let inner = self.0.lock();
        let mut tables = inner.tables.range((from, Bound::Included(last)));
        let listed = tables
            .by_ref()
            .take(limit)
            .map(|(table, sealed)| ListedTable {
                table: *table,
                stamp: sealed.stamp,
                file_bytes: sealed.file_bytes,
                verified: sealed.condition == Condition::Verified,
                damaged: sealed.condition == Condition::Damaged,
            })
            .collect();
        (listed, tables.next().is_some())
    }

    /// The first table behind `after`, over all groups.
    pub fn next(&self, after: Option<TableId>) -> Option<(TableId, Sealed)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let inner = self.0.lock();
        inner.tables.range((from, Bound::Unbounded)).next().map(|(table, sealed)| (*table, *sealed))
    }

    /// What it adds up to.
    pub fn totals(&self) -> Totals {
        self.0.lock().totals
    }
}

impl Inner {
    fn take(&mut self, table: TableId) -> Option<Sealed> {
        let sealed = self.tables.remove(&table)?;
        self.totals.tables -= 1;
        self.totals.file_bytes -= sealed.file_bytes;
        self.totals.damaged -= u64::from(sealed.condition == Condition::Damaged);
        Some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamina_types::Reign;

    fn id(group: u32, n: u32) -> TableId {
        TableId { group: GroupId(group), reign: Reign(5), n }
    }

    fn stamp(n: u32) -> CopyStamp {
        CopyStamp { reign: Reign(5), n }
    }

    const SEAL: Seal = Seal { file_bytes: 100, footer_crc: 7 };

    #[test]
    fn a_group_is_listed_in_pages_that_miss_nothing_and_repeat_nothing() {
        let catalogue = Catalogue::default();
        for group in 1..=3 {
            for n in 0..7 {
                catalogue.found(id(group, n), stamp(n), 10);
            }
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let (page, more) = catalogue.list(GroupId(2), after, 3);
            seen.extend(page.iter().map(|listed| listed.table));
            after = seen.last().copied();
            assert_eq!(more, seen.len() < 7);
            if !more {
                break;
            }
        }
        assert_eq!(seen, (0..7).map(|n| id(2, n)).collect::<Vec<_>>());
        assert_eq!(catalogue.list(GroupId(2), Some(id(3, 0)), 3), (Vec::new(), false));
        assert_eq!(
            catalogue.list(GroupId(2), Some(id(1, 6)), 9).0.len(),
            7,
            "a mark of an earlier group is before all"
        );
    }

    #[test]
    fn damage_stays_until_the_bytes_are_replaced() {
        let catalogue = Catalogue::default();
        let old = catalogue.put(id(1, 1), stamp(1), SEAL, Condition::Unverified);
        assert!(catalogue.set_condition(id(1, 1), old.generation, Condition::Damaged));
        assert!(!catalogue.set_condition(id(1, 1), old.generation, Condition::Verified));
        assert_eq!(catalogue.totals().damaged, 1);
        let new = catalogue.put(id(1, 1), stamp(2), SEAL, Condition::Verified);
        assert!(
            !catalogue.set_condition(id(1, 1), old.generation, Condition::Damaged),
            "a late finding about old bytes"
        );
        assert_eq!(catalogue.get(id(1, 1)), Some(new));
        assert_eq!(catalogue.totals(), Totals { tables: 1, file_bytes: 100, damaged: 0, damage_found: 1 });
        catalogue.remove(id(1, 1));
        assert_eq!(catalogue.totals(), Totals { damage_found: 1, ..Totals::default() });
    }
}
