//! The repository itself obeys the rules of the house.

use xtask::tidy::{self, Weight};
use xtask::{errors, repository};

/// Broken rules that are known and wait to be mended (`cargo xtask tidy` lists them). The number may only fall.
const KNOWN: usize = 12;

#[test]
fn the_repository_is_no_less_tidy_than_it_was() {
    let findings = tidy::check(&repository()).unwrap();
    let refused: Vec<String> =
        findings.iter().filter(|it| it.weight == Weight::Refused).map(ToString::to_string).collect();
    assert!(
        refused.len() <= KNOWN,
        "{} rules of the house are broken:\n{}",
        refused.len(),
        refused.join("\n")
    );
}

#[test]
fn the_page_of_errors_says_what_the_code_says() {
    let there = std::fs::read_to_string(repository().join(errors::PAGE)).unwrap();
    assert!(there == errors::page(), "{} is not fresh: run `cargo xtask errors`", errors::PAGE);
}
