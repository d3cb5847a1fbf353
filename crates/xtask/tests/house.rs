//! The repository itself obeys the rules of the house.

use xtask::tidy::{self, Weight};
use xtask::{errors, repository};

#[test]
fn the_repository_obeys_the_rules_of_the_house() {
    let findings = tidy::check(&repository()).unwrap();
    let refused: Vec<String> =
        findings.iter().filter(|it| it.weight == Weight::Refused).map(ToString::to_string).collect();
    assert!(refused.is_empty(), "{} rules of the house are broken:\n{}", refused.len(), refused.join("\n"));
}

#[test]
fn the_page_of_errors_says_what_the_code_says() {
    let there = std::fs::read_to_string(repository().join(errors::PAGE)).unwrap();
    assert!(there == errors::page(), "{} is not fresh: run `cargo xtask errors`", errors::PAGE);
}
