//! What the load saw, and whether a correct store can have answered so.

use anyhow::{bail, ensure};
use lamina_types::Version;
use lamina_workload::{Ledger, Operation, check};

use crate::wire::{Line, Progress, Row};

/// Breaches that are told at most.
const TOLD_MAX: usize = 10;

/// Everything that a load has sent.
#[derive(Clone, Default, Debug)]
pub struct Seen {
    /// The last figures of each stretch, by its number.
    pub stretches: std::collections::BTreeMap<u64, Progress>,
    /// Calls that failed, in words.
    pub failures: Vec<String>,
    /// The history.
    pub operations: Vec<Operation>,
    /// What the store had at the end.
    pub rows: Vec<Row>,
    /// The first write was acknowledged.
    pub begun: bool,
    /// What the last line said: operations and rows.
    pub end: Option<(u64, u64)>,
}

impl Seen {
    /// Takes one line.
    pub fn take(&mut self, line: Line) {
        match line {
            Line::Begun => self.begun = true,
            Line::Progress(progress) => {
                self.stretches.insert(progress.stretch, progress);
            }
            Line::Failure(failure) => self.failures.push(failure),
            Line::Operation(operation) => self.operations.push(operation),
            Line::Row(row) => self.rows.push(row),
            Line::End { operations, rows } => self.end = Some((operations, rows)),
        }
    }

    /// The newest figures.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.stretches.last_key_value().map(|(_, progress)| *progress).unwrap_or_default()
    }

    /// Judges history and rows; says how many operations were judged.
    ///
    /// # Errors
    /// A write was lost, a stale or foreign value was read, or the history did not arrive whole.
    pub fn judge(&self) -> anyhow::Result<u64> {
        let sent = (self.operations.len() as u64, self.rows.len() as u64);
        ensure!(self.end == Some(sent), "the history did not arrive whole: {sent:?} of {:?}", self.end);
        ensure!(!self.operations.is_empty(), "the history is empty");
        let mut breaches: Vec<String> = check(&self.operations).iter().map(ToString::to_string).collect();
        breaches.extend(self.losses(&self.rows));
        if !breaches.is_empty() {
            let told: Vec<_> = breaches.iter().take(TOLD_MAX).cloned().collect();
            bail!("the store broke its word {} times:\n{}", breaches.len(), told.join("\n"));
        }
        Ok(sent.0)
    }

    /// Compares what a store has now with what this history acknowledged.
    #[must_use]
    pub fn losses(&self, rows: &[Row]) -> Vec<String> {
        let ledger = Ledger::of(&self.operations);
        let rows = rows.iter().map(|row| (&row.key.0, &row.value.0, Version(row.version)));
        ledger.check_all(rows).iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use lamina_workload::history::{Answer, Call, Item};

    use super::*;

    fn written(begin: u64, value: &'static str, version: u64) -> Operation {
        Operation {
            session: 0,
            begin,
            end: Some(begin + 1),
            call: Call::Write { items: vec![Item::put("k", value)] },
            answer: Answer::Written { version },
        }
    }

    fn seen(operations: Vec<Operation>, rows: Vec<Row>) -> Seen {
        let end = Some((operations.len() as u64, rows.len() as u64));
        Seen { operations, rows, end, ..Seen::default() }
    }

    fn row(value: &'static str, version: u64) -> Row {
        Row { key: "k".into(), value: value.into(), version }
    }

    #[test]
    fn a_store_that_has_the_last_value_kept_its_word() {
        assert_eq!(seen(vec![written(1, "a", 5), written(3, "b", 6)], vec![row("b", 6)]).judge().unwrap(), 2);
    }

    #[test]
    fn a_lost_write_is_found_at_the_end() {
        let error = seen(vec![written(1, "a", 5)], vec![]).judge().unwrap_err();
        assert!(error.to_string().contains("acknowledged"), "{error}");
    }

    #[test]
    fn a_stale_read_is_found() {
        let got = Operation {
            session: 1,
            begin: 9,
            end: Some(10),
            call: Call::Get { key: "k".into() },
            answer: Answer::Got { found: None, read_at: 9 },
        };
        let history = vec![written(1, "a", 5), got];
        assert!(seen(history, vec![row("a", 5)]).judge().is_err());
    }

    #[test]
    fn a_history_that_did_not_arrive_whole_is_no_history() {
        let mut cut = seen(vec![written(1, "a", 5)], vec![row("a", 5)]);
        cut.end = None;
        assert!(cut.judge().is_err());
        assert!(Seen { end: Some((0, 0)), ..Seen::default() }.judge().is_err());
    }
}
