//! The style of this repository as a test: whoever breaks a rule learns where, what, and how to mend it.
//!
//! Rust files are parsed, not guessed at by their braces. A crate is read as a tree of modules from its roots, so a file
//! that no `mod` names is found, and `#[cfg(test)]` on a `mod` reaches the whole file behind it.
//!
//! | module | proves |
//! |---|---|
//! | [`source`] | reads crates: files, modules, what is a test |
//! | [`budgets`] | lengths of files, functions and inline tests |
//! | [`words`] | names of modules, forbidden words and attributes, glob imports, paths of one machine |
//! | [`cycles`] | no import cycle between modules that stand side by side |
//! | [`walls`] | which crate may import which, from the table in ARCHITECTURE.md |
//! | [`pages`] | paths and links in documents exist; the licence is there |

pub mod budgets;
pub mod cycles;
pub mod finding;
pub mod pages;
pub mod source;
pub mod walls;
pub mod words;

use std::path::Path;

pub use finding::{Finding, Weight};

/// Everything that is to be said about a repository, by file and line.
///
/// # Errors
/// The repository cannot be read, or a Rust file cannot be parsed.
pub fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let crates = source::read(root)?;
    let mut findings = Vec::new();
    for one in &crates {
        budgets::check(one, &mut findings);
        words::check(one, &mut findings);
        cycles::check(one, &mut findings);
    }
    words::check_texts(root, &mut findings)?;
    walls::check(root, &mut findings)?;
    pages::check(root, &mut findings)?;
    findings.sort();
    Ok(findings)
}

/// Prints what is to be said; whether no rule is broken.
///
/// # Errors
/// The repository cannot be read.
pub fn run(root: &Path) -> anyhow::Result<bool> {
    let findings = check(root)?;
    for finding in &findings {
        println!("{finding}");
    }
    let refused = findings.iter().filter(|finding| finding.weight == Weight::Refused).count();
    if refused > 0 {
        eprintln!("rules of the house that are broken: {refused}");
    }
    Ok(refused == 0)
}
