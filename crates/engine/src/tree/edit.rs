//! Whether a compaction may be committed to a tree, and what the tree is afterwards (protocols §7.3).
//!
//! **Span** is the smallest range that contains all inputs. The rules:
//!
//! 1. An input is a view of the tree, or the part of a view that lies in the span.
//! 2. *Contiguous*: from the newest to the oldest run that has an input, every view that overlaps the span is an
//!    input, with all of its part in the span. So for every key newer runs keep newer versions.
//! 3. *Bottom*: no run older than those overlaps the span, else tombstones were dropped that still hide something.
//! 4. Outputs are ascending, disjoint, inside the span and new. They stand in the oldest input run.
//!
//! Rule 1 lets a job be a rectangle, some runs high and some keys wide. If only whole views could be inputs, then
//! rule 2 would pull in the neighbours that a wide table overlaps, their neighbours, and so in the end the whole
//! tree; no job could be bounded. What remains of a view is clipped, exactly as a tablet's split clips it.
//!
//! All is checked against the tree at the moment of the commit, so a job that was overtaken by a split, a merge or
//! another job is refused, whatever it was told when it began.

use lamina_types::{KeyRange, TableId};

use super::{Run, TableView, Tree, by_start, check_order};

/// Why an edit of a tree has no effect. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// A compaction without inputs.
    #[error("a compaction needs inputs")]
    NoInputs,
    /// A view without keys.
    #[error("the view of table {table} has an empty range")]
    EmptyRange {
        /// The table.
        table: TableId,
    },
    /// Views of one run that overlap or are not ascending.
    #[error("the view of table {table} is not behind the view before it")]
    Disorder {
        /// The table.
        table: TableId,
    },
    /// The tree has no view of this table that contains the input's range: it was cut, or has left.
    #[error("the tree has no view of table {table} over the range of the input; choose inputs anew")]
    InputGone {
        /// The table.
        table: TableId,
    },
    /// One input was named twice.
    #[error("two inputs of table {table} overlap")]
    InputTwice {
        /// The table.
        table: TableId,
    },
    /// A view between the newest and the oldest input overlaps the span and is not an input in all of it.
    #[error("table {table} lies between the inputs, overlaps them and is not an input")]
    NotContiguous {
        /// The table that was skipped.
        table: TableId,
    },
    /// The job took itself for the bottom.
    #[error("table {table} is older than the inputs and overlaps them, so they are not the bottom")]
    NotBottom {
        /// The older table.
        table: TableId,
    },
    /// An output reaches beyond the inputs.
    #[error("the output {table} reaches beyond the keys of the inputs")]
    OutsideSpan {
        /// The output.
        table: TableId,
    },
    /// A new table is in the tree already.
    #[error("table {table} is in the tree already")]
    AlreadyThere {
        /// The table.
        table: TableId,
    },
}

/// The rectangle that a compaction replaces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rectangle {
    /// The index of the newest run with an input.
    pub newest: usize,
    /// The index of the oldest run with an input: where the outputs go.
    pub oldest: usize,
    /// The smallest range that contains all inputs.
    pub span: KeyRange,
}

impl Tree {
    /// Whether the inputs may be replaced by the outputs.
    pub fn check_compaction(
        &self,
        inputs: &[TableView],
        outputs: &[TableView],
        bottom: bool,
    ) -> Result<(), Refused> {
        let rectangle = self.rectangle(inputs)?;
        if bottom && let Some(table) = self.below(&rectangle) {
            return Err(Refused::NotBottom { table });
        }
        check_order(outputs)?;
        for (nth, output) in outputs.iter().enumerate() {
            let table = output.table;
            if !rectangle.span.covers(&output.range) {
                return Err(Refused::OutsideSpan { table });
            }
            if self.names(table) || outputs.iter().take(nth).any(|other| other.table == table) {
                return Err(Refused::AlreadyThere { table });
            }
        }
        Ok(())
    }

    /// Replaces the inputs by the outputs, or changes nothing and says why.
    pub fn apply_compaction(
        &mut self,
        inputs: &[TableView],
        outputs: &[TableView],
        bottom: bool,
    ) -> Result<(), Refused> {
        self.check_compaction(inputs, outputs, bottom)?;
        let Rectangle { newest, oldest, span } = self.rectangle(inputs)?;
        let mut runs = Vec::with_capacity(self.runs.len());
        for (index, run) in self.runs.iter().enumerate() {
            if index < newest || index > oldest {
                runs.push(run.clone());
                continue;
            }
            let mut views: Vec<TableView> = run.views.iter().flat_map(|view| outside(view, &span)).collect();
            if index == oldest {
                views.extend_from_slice(outputs);
                views.sort_by(by_start);
            }
            if !views.is_empty() {
                runs.push(Run::from_sorted(views));
            }
        }
        self.runs = runs.into();
        Ok(())
    }

    /// Where the inputs stand, if they are contiguous.
    pub fn rectangle(&self, inputs: &[TableView]) -> Result<Rectangle, Refused> {
        let mut at = Vec::with_capacity(inputs.len());
        for input in inputs {
            at.push((self.run_of(input)?, input));
        }
        let newest = at.iter().map(|(run, _)| *run).min().ok_or(Refused::NoInputs)?;
        let oldest = at.iter().map(|(run, _)| *run).max().ok_or(Refused::NoInputs)?;
        let span = hull(inputs).ok_or(Refused::NoInputs)?;
        for (index, run) in self.runs.iter().enumerate().take(oldest + 1).skip(newest) {
            let mut given: Vec<&TableView> =
                at.iter().filter(|(run, _)| *run == index).map(|(_, input)| *input).collect();
            given.sort_by(|a, b| by_start(a, b));
            let mut given = given.into_iter();
            for view in run.overlapping(&span) {
                if view.clip(&span).as_ref() != given.next() {
                    return Err(Refused::NotContiguous { table: view.table });
                }
            }
            if let Some(input) = given.next() {
                return Err(Refused::InputTwice { table: input.table });
            }
        }
        Ok(Rectangle { newest, oldest, span })
    }

    /// Some table older than the rectangle that overlaps it.
    pub fn below(&self, rectangle: &Rectangle) -> Option<TableId> {
        let older = self.runs.iter().skip(rectangle.oldest + 1);
        older.flat_map(|run| run.overlapping(&rectangle.span)).map(|view| view.table).next()
    }

    fn run_of(&self, input: &TableView) -> Result<usize, Refused> {
        let table = input.table;
        if input.range.is_empty() {
            return Err(Refused::EmptyRange { table });
        }
        let holds = |run: &Run| {
            run.at(&input.range.start)
                .is_some_and(|view| view.table == table && view.range.covers(&input.range))
        };
        self.runs.iter().position(holds).ok_or(Refused::InputGone { table })
    }
}

/// The smallest range that contains all views.
pub(crate) fn hull(views: &[TableView]) -> Option<KeyRange> {
    views.iter().map(|view| view.range.clone()).reduce(|all, range| all.union(&range))
}

/// What a view keeps when the span is taken out of it: up to two parts.
fn outside(view: &TableView, span: &KeyRange) -> impl Iterator<Item = TableView> + use<> {
    let before = KeyRange { start: view.range.start.clone(), end: Some(span.start.clone()) };
    let behind = span.end.clone().map(|end| KeyRange { start: end, end: view.range.end.clone() });
    let (before, behind) = (view.clip(&before), behind.and_then(|behind| view.clip(&behind)));
    before.into_iter().chain(behind)
}
