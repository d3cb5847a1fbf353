//! No write took effect twice (I7), and nothing was read that nobody wrote.
//!
//! A retry that was applied a second time shows as one value with two versions: every write has a value of its own.
//! A batch that was applied twice shows the same way on each of its keys that anybody read.

use crate::check::Violation;
use crate::check::index::Index;

/// What the search for the origin of every value that was read has found.
pub fn check(index: &Index<'_>) -> Vec<Violation> {
    index.findings.clone()
}
