//! The repository itself obeys the rules of the house.

use xtask::tidy::{self, Weight};
use xtask::{crdgen, errors, repository};

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

#[test]
fn what_is_written_from_the_kubernetes_types_is_fresh_and_nothing_else_lies_beside_it() {
    let files = crdgen::files().unwrap();
    for (name, text) in &files {
        let there = std::fs::read_to_string(repository().join(name)).unwrap_or_default();
        assert!(there == *text, "{name} is not fresh: run `cargo xtask crdgen`");
    }
    for entry in std::fs::read_dir(repository().join("crds/generated")).unwrap() {
        let name = format!("crds/generated/{}", entry.unwrap().file_name().to_string_lossy());
        assert!(files.contains_key(&name), "{name} is written by nothing: delete it");
    }
}
