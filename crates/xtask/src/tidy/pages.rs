//! Documents that name what is not there are worse than none.

use std::path::Path;

use crate::tidy::finding::Finding;
use crate::tidy::source::{files_below, relative};

/// The map of the house.
pub const ARCHITECTURE: &str = "ARCHITECTURE.md";
/// Lines of the map at most.
const ARCHITECTURE_LINES_MAX: usize = 200;
/// How a path in the repository begins.
const TOPS: [&str; 11] =
    ["crates/", "services/", "docs/", "operator/", "crds/", "helm/", "e2e/", "examples/", "fuzz/", ".ci/", ".github/"];

/// Looks every path and link up.
///
/// # Errors
/// A document cannot be read.
pub fn check(root: &Path, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    licence(root, findings);
    for path in files_below(root)?.into_iter().filter(|path| path.extension().is_some_and(|it| it == "md")) {
        let name = relative(root, &path);
        let text = std::fs::read_to_string(&path)?;
        let beside = path.parent().unwrap_or(root);
        for (number, line) in text.lines().enumerate() {
            let links = links(line).map(|link| (link.to_owned(), beside.join(link)));
            let paths = quoted(line).flat_map(spread).map(|path| (path.clone(), root.join(path)));
            for (written, _) in links.chain(paths).filter(|(_, target)| !target.exists()) {
                let mend = "name what is there, or take it out";
                findings.push(Finding::refused(&name, number + 1, format!("`{written}` does not exist"), mend));
            }
        }
        let lines = text.lines().count();
        if name == ARCHITECTURE && lines > ARCHITECTURE_LINES_MAX {
            let mend = format!("at most {ARCHITECTURE_LINES_MAX}: it is the first page that is read");
            findings.push(Finding::refused(&name, 0, format!("it has {lines} lines"), mend));
        }
    }
    Ok(())
}

fn licence(root: &Path, findings: &mut Vec<Finding>) {
    let text = std::fs::read_to_string(root.join("LICENSE")).unwrap_or_default();
    if !text.contains("Apache License") {
        findings.push(Finding::refused("LICENSE", 0, "the licence is not there", "add the text of Apache 2.0"));
    }
}

/// Targets of links into the repository.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?.split('#').next()?;
        (!target.is_empty() && !target.contains(':')).then_some(target)
    })
}

/// Paths between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    let plain = |text: &&str| !text.contains([' ', '<', '*', '$']);
    line.split('`').skip(1).step_by(2).filter(plain).filter(|text| TOPS.iter().any(|top| text.starts_with(top)))
}

/// `a/{b,c}.rs` names two files.
fn spread(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let Some((inner, after)) = rest.split_once('}') else { return vec![path.to_owned()] };
    inner.split(',').flat_map(|one| spread(&format!("{before}{one}{after}"))).collect()
}
