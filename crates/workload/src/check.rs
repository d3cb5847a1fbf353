//! Judges of a history.
//!
//! | module | judges |
//! |---|---|
//! | [`index`] | which write each read saw; what nobody wrote |
//! | [`linearizable`] | every key by itself: zones, versions against real time (I3, I6) |
//! | [`once`] | no write took effect twice (I7) |
//! | [`scans`] | a scan is one version of a range, and never half a batch (I4, I5) |

pub mod index;
pub mod linearizable;
pub mod once;
pub mod scans;

use std::fmt;

use serde::Serialize;

use crate::history::Operation;
use crate::octets::Octets;

/// What a history may not show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A value was read that nobody wrote, or that was refused, or not yet written.
    Phantom,
    /// A version was read with another value than was written with it.
    WrongValue,
    /// A read missed a write that it had to see, or saw one that was overwritten.
    Stale,
    /// No order of the operations explains the answers.
    NotLinearizable,
    /// Versions do not rise with real time.
    VersionOrder,
    /// One write has two versions, or two writes of a key have one.
    NotOnce,
    /// Rows out of order, twice, outside the range, or too many.
    ScanShape,
    /// A scan is not the content of its range at its version.
    ScanContent,
    /// A scan shows one part of a batch and not the other.
    HalfBatch,
}

/// One breach of a rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The key, if one is concerned.
    pub key: Option<Octets>,
    /// The operations that show it, by their place in the history.
    pub operations: Vec<usize>,
    /// What is wrong.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(rule: Rule, key: &Octets, operations: &[usize], what: impl Into<String>) -> Violation {
        Violation { rule, key: Some(key.clone()), operations: operations.to_vec(), what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.rule)?;
        if let Some(key) = &self.key {
            write!(f, " of key {key:?}")?;
        }
        write!(f, ": {} (operations {:?})", self.what, self.operations)
    }
}

/// Judges a whole history. O(n log n) in operations and rows.
pub fn check(operations: &[Operation]) -> Vec<Violation> {
    let index = index::Index::of(operations);
    let mut violations = once::check(&index);
    violations.extend(linearizable::check(&index));
    violations.extend(scans::check(&index));
    violations
}

#[cfg(test)]
mod tests;
