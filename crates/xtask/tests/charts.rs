//! What the charts say of other parts of the repository is true.

use std::collections::BTreeSet;
use std::fs;

use xtask::charts::{CHART_DEFINITIONS, DEFINITIONS, files};
use xtask::repository;

const OPERATOR: &str = "helm/lamina-operator/files";

fn text(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Words that look like a metric of ours.
fn metrics(text: &str) -> BTreeSet<String> {
    let word = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let services = ["frontend", "index", "data", "rpc", "process", "client", "operator"];
    text.split(|it| !word(it))
        .filter_map(|it| it.strip_prefix("lamina_").map(|rest| (it, rest)))
        .filter(|(_, rest)| services.iter().any(|service| rest.starts_with(&format!("{service}_"))))
        .map(|(it, _)| it.trim_end_matches("_bucket").trim_end_matches("_count").to_owned())
        .collect()
}

#[test]
fn alerts_and_dashboard_speak_of_metrics_that_there_are() {
    let known = metrics(&text("docs/metrics.md"));
    for file in ["alerts.yaml", "dashboard.json"] {
        let used = metrics(&text(&format!("{OPERATOR}/{file}")));
        assert!(used.len() > 5, "{file} speaks of {} metrics only", used.len());
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} speaks of what docs/metrics.md does not: {unknown:?}");
    }
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let alerts = text(&format!("{OPERATOR}/alerts.yaml"));
    let named: BTreeSet<&str> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let linked: BTreeSet<&str> =
        alerts.lines().filter_map(|line| line.split_once("docs/runbook.md#")).map(|(_, it)| it).collect();
    let lower: BTreeSet<String> = named.iter().map(|it| it.to_ascii_lowercase()).collect();
    assert!(linked.iter().all(|it| lower.contains(*it)) && linked.len() == lower.len(), "{linked:?}");
    let runbook = text("docs/runbook.md");
    let pages: BTreeSet<&str> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|title| title.starts_with("Lamina") && !title.contains(' '))
        .collect();
    assert_eq!(named, pages);
}

#[test]
fn the_dashboard_is_json_and_each_of_its_panels_asks_for_something() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&text(&format!("{OPERATOR}/dashboard.json"))).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()));
        if panel["type"] != "row" {
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{}", panel["title"]);
        }
    }
}

#[test]
fn the_chart_of_the_kinds_has_the_generated_definitions() {
    let generated = files(&repository().join(DEFINITIONS)).unwrap();
    let there = files(&repository().join(CHART_DEFINITIONS)).unwrap();
    assert!(!generated.is_empty());
    assert!(there == generated, "{CHART_DEFINITIONS} is not fresh: run `cargo xtask charts --write`");
}

#[test]
fn no_rule_of_the_operator_has_a_wildcard() {
    let rules = text(&format!("{OPERATOR}/rules.yaml"));
    assert!(!rules.contains('*'), "{rules}");
    assert!(rules.contains("storageclusters"), "{rules}");
}
