//! Folded records: what a volume's log says about each replica, and which segments it still needs.

use std::collections::BTreeMap;

use lamina_engine::wal::{LogPoint, Record, SavedVote};

use super::Owner;

/// What the log says about all replicas.
#[derive(Clone, Default, Debug)]
pub struct Ledger {
    owners: BTreeMap<Owner, Account>,
}

/// What the log says about one replica.
#[derive(Clone, Default, Debug)]
pub struct Account {
    /// It was made here.
    pub made: bool,
    /// It was deleted from here, for ever.
    pub deleted: bool,
    /// It may initialise its group.
    pub initialised: bool,
    /// Its vote.
    pub vote: Option<SavedVote>,
    /// Entries up to here are gone.
    pub purged: Option<LogPoint>,
    /// Entries up to here are committed.
    pub committed: Option<LogPoint>,
    /// Its newest checkpoint.
    pub checkpoint: Option<LogPoint>,
    /// Where its entries are: runs of indexes, by the first, with the last and the segment.
    runs: BTreeMap<u64, (u64, u64)>,
}

impl Ledger {
    /// Adds what a record in `segment` says.
    pub fn apply(&mut self, record: &Record, segment: u64) {
        let Some(owner) = record.owner() else { return };
        let account = self.owners.entry(owner).or_default();
        if account.deleted {
            return;
        }
        match record {
            Record::Opens { .. } => {}
            Record::Made(_) => account.made = true,
            Record::Deleted(_) => *account = Account { deleted: true, ..Account::default() },
            Record::Initialised(_) => account.initialised = true,
            Record::Vote(_, vote) => account.vote = Some(*vote),
            Record::Entry(_, entry) => account.place(entry.at.index, segment),
            Record::Truncate(_, after) => account.cut_from(after.map_or(0, |after| after.saturating_add(1))),
            Record::Purge(_, at) => account.purge(*at),
            Record::Committed(_, at) => account.committed = Some(*at),
            Record::Checkpoint(_, at) => account.checkpoint = Some(*at),
        }
    }

    /// All replicas.
    pub fn accounts(&self) -> impl Iterator<Item = (Owner, &Account)> {
        self.owners.iter().map(|(owner, account)| (*owner, account))
    }

    /// What the first batch of every segment repeats, so that older segments may go.
    pub fn opening_records(&self) -> Vec<Record> {
        self.owners.iter().flat_map(|(owner, account)| account.opening_records(*owner)).collect()
    }

    /// The oldest segment that some replica's entries need.
    pub fn oldest_needed(&self) -> Option<u64> {
        self.owners.values().filter_map(Account::oldest_needed).min()
    }

    /// The replicas that need a segment.
    pub fn owners_in(&self, segment: u64) -> Vec<Owner> {
        let needs = |account: &Account| account.runs.values().any(|(_, of)| *of == segment);
        self.owners.iter().filter(|(_, account)| needs(account)).map(|(owner, _)| *owner).collect()
    }
}

impl Account {
    fn opening_records(&self, owner: Owner) -> Vec<Record> {
        if self.deleted {
            return vec![Record::Deleted(owner)];
        }
        let mut records = Vec::new();
        if self.made {
            records.push(Record::Made(owner));
        }
        if self.initialised {
            records.push(Record::Initialised(owner));
        }
        records.extend(self.vote.map(|vote| Record::Vote(owner, vote)));
        records.extend(self.checkpoint.map(|at| Record::Checkpoint(owner, at)));
        records.extend(self.purged.map(|at| Record::Purge(owner, at)));
        records.extend(self.committed.map(|at| Record::Committed(owner, at)));
        records
    }

    /// The oldest segment that the entries need.
    pub fn oldest_needed(&self) -> Option<u64> {
        self.runs.values().map(|(_, segment)| *segment).min()
    }

    /// Says that the entry at `index` is in `segment` now.
    fn place(&mut self, index: u64, segment: u64) {
        self.punch(index);
        match self.runs.range_mut(..index).next_back() {
            Some((_, (last, of))) if *last + 1 == index && *of == segment => *last = index,
            _ => {
                self.runs.insert(index, (index, segment));
            }
        }
    }

    /// Takes one index out of the run that holds it.
    fn punch(&mut self, index: u64) {
        let Some((first, (last, of))) = self.runs.range(..=index).next_back().map(|(f, run)| (*f, *run))
        else {
            return;
        };
        if last < index {
            return;
        }
        self.runs.remove(&first);
        if first < index {
            self.runs.insert(first, (index - 1, of));
        }
        if last > index {
            self.runs.insert(index + 1, (last, of));
        }
    }

    fn cut_from(&mut self, first: u64) {
        self.runs.split_off(&first);
        if let Some((_, (last, _))) = self.runs.range_mut(..first).next_back() {
            *last = (*last).min(first.saturating_sub(1));
        }
    }

    fn purge(&mut self, at: LogPoint) {
        self.purged = self.purged.max(Some(at));
        let kept = self.runs.split_off(&(at.index + 1));
        let across = self.runs.values().find(|(last, _)| *last > at.index).copied();
        self.runs = kept;
        if let Some(run) = across {
            self.runs.insert(at.index + 1, run);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lamina_engine::wal::EntryRecord;
    use lamina_types::{GroupId, ReplicaId};
    use proptest::prelude::*;

    use super::*;

    const OWNER: Owner = Owner { group: GroupId(1), replica: ReplicaId(7) };

    fn entry(index: u64) -> Record {
        Record::Entry(OWNER, EntryRecord { at: LogPoint { term: 1, index }, payload: Bytes::new() })
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append { count: u64, segment: u64 },
        Move { segment: u64 },
        Truncate(u64),
        Purge(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (1..5u64, 1..6u64).prop_map(|(count, segment)| Step::Append { count, segment }),
            (1..6u64).prop_map(|segment| Step::Move { segment }),
            (0..20u64).prop_map(Step::Truncate),
            (0..20u64).prop_map(Step::Purge),
        ];
        prop::collection::vec(step, 0..30)
    }

    proptest! {
        #[test]
        fn the_runs_say_for_each_entry_the_segment_that_holds_it(steps in steps()) {
            let mut ledger = Ledger::default();
            let mut model: BTreeMap<u64, u64> = BTreeMap::new();
            let mut next = 0;
            for step in steps {
                match step {
                    Step::Append { count, segment } => for _ in 0..count {
                        ledger.apply(&entry(next), segment);
                        model.insert(next, segment);
                        next += 1;
                    },
                    Step::Move { segment } => if let Some((index, of)) = model.iter_mut().next() {
                        ledger.apply(&entry(*index), segment);
                        *of = segment;
                    },
                    Step::Truncate(after) => {
                        ledger.apply(&Record::Truncate(OWNER, Some(after)), 9);
                        model.split_off(&(after + 1));
                        next = next.min(after + 1);
                    }
                    Step::Purge(index) => {
                        ledger.apply(&Record::Purge(OWNER, LogPoint { term: 1, index }), 9);
                        model = model.split_off(&(index + 1));
                        next = next.max(index + 1);
                    }
                }
                let account = ledger.owners.get(&OWNER).cloned().unwrap_or_default();
                let mut of_runs = BTreeMap::new();
                for (first, (last, of)) in &account.runs {
                    for index in *first..=*last {
                        prop_assert!(of_runs.insert(index, *of).is_none(), "index {} twice", index);
                    }
                }
                prop_assert_eq!(&of_runs, &model);
                prop_assert_eq!(account.oldest_needed(), model.values().min().copied());
            }
        }
    }

    #[test]
    fn a_deleted_replica_is_all_that_the_log_remembers_of_it() {
        let mut ledger = Ledger::default();
        ledger.apply(&Record::Made(OWNER), 1);
        ledger.apply(&entry(0), 1);
        ledger.apply(&Record::Deleted(OWNER), 1);
        ledger.apply(&entry(1), 1);
        assert_eq!(ledger.oldest_needed(), None);
        assert_eq!(ledger.opening_records(), vec![Record::Deleted(OWNER)]);
    }
}
