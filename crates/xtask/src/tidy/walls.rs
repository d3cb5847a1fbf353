//! The walls between crates: the table in ARCHITECTURE.md says who may import whom, `cargo metadata` says who does.
//!
//! Only what a crate is made of counts; tests may import what they need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::tidy::finding::Finding;
use crate::tidy::pages::ARCHITECTURE;
use crate::tidy::source::relative;

/// What the names of our crates begin with; the table leaves it out.
const PREFIX: &str = "lamina-";

/// One row of the table.
struct Row {
    line: usize,
    may_import: BTreeSet<String>,
    /// Crates of others: a name, or the beginning of names before `*`.
    never: Vec<String>,
}

/// One crate as cargo sees it.
struct Package {
    name: String,
    manifest: String,
    ours: BTreeSet<String>,
    others: BTreeSet<String>,
}

/// Compares the table with what is.
///
/// # Errors
/// ARCHITECTURE.md cannot be read, or cargo fails.
pub fn check(root: &Path, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    let Ok(page) = std::fs::read_to_string(root.join(ARCHITECTURE)) else {
        let mend = "write the map of the house with its table of imports";
        findings.push(Finding::refused(ARCHITECTURE, 0, "it is not there", mend));
        return Ok(());
    };
    let rows = rows(&page);
    let packages = packages(root)?;
    for package in &packages {
        match rows.get(&package.name) {
            Some(row) => compare(package, row, findings),
            None => findings.push(Finding::refused(
                ARCHITECTURE,
                0,
                format!("the table of imports has no row for `{}`", package.name),
                "say what it may import",
            )),
        }
        inherits(root, package, findings)?;
    }
    for (name, row) in &rows {
        if packages.iter().all(|package| package.name != *name) {
            let what = format!("the table of imports has a row for `{name}`, which is no crate");
            findings.push(Finding::refused(ARCHITECTURE, row.line, what, "delete the row"));
        }
    }
    Ok(())
}

fn compare(package: &Package, row: &Row, findings: &mut Vec<Finding>) {
    let mend = format!("ask the crate below instead, or change the table ({ARCHITECTURE}:{})", row.line);
    for import in package.ours.difference(&row.may_import) {
        let what = format!("`{}` imports `{import}`, which the table of imports does not allow", package.name);
        findings.push(Finding::refused(&package.manifest, 0, what, mend.clone()));
    }
    for import in row.may_import.difference(&package.ours) {
        let what = format!("`{}` may import `{import}`, and does not", package.name);
        findings.push(Finding::warned(ARCHITECTURE, row.line, what, "take it out of the row"));
    }
    for import in &package.others {
        let refused = row.never.iter().any(|never| match never.strip_suffix('*') {
            Some(start) => import.starts_with(start),
            None => import == never,
        });
        if refused {
            let what = format!("`{}` uses `{import}`, which the table of imports keeps out", package.name);
            findings.push(Finding::refused(&package.manifest, 0, what, mend.clone()));
        }
    }
}

/// Every crate obeys the workspace's lints.
fn inherits(root: &Path, package: &Package, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    let manifest = std::fs::read_to_string(root.join(&package.manifest))
        .with_context(|| format!("cannot read {}", package.manifest))?;
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]");
    if lines.nth(1) != Some("workspace = true") {
        let mend = "add `[lints]` with `workspace = true`";
        findings.push(Finding::refused(&package.manifest, 0, "it does not take the workspace's lints", mend));
    }
    Ok(())
}

/// The rows of the table whose first column is `crate` and whose second begins with `may import`.
fn rows(page: &str) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    let mut inside = false;
    for (number, line) in page.lines().enumerate() {
        let Some(cells) = cells(line) else {
            inside = false;
            continue;
        };
        let cell = |at: usize| cells.get(at).map_or("", String::as_str);
        if cell(0) == "crate" && cell(1).starts_with("may import") {
            inside = true;
        } else if inside && !cell(0).starts_with("--") {
            let row = Row { line: number + 1, may_import: list(cell(1)).collect(), never: list(cell(2)).collect() };
            rows.insert(cell(0).to_owned(), row);
        }
    }
    rows
}

fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(|cell| cell.trim().replace('`', "")).collect())
}

fn list(cell: &str) -> impl Iterator<Item = String> {
    cell.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "–").map(str::to_owned)
}

/// All crates of the workspace.
fn packages(root: &Path) -> anyhow::Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    anyhow::ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata is no JSON")?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("cargo metadata has no packages")?;
    let root = std::fs::canonicalize(root)?;
    packages.iter().map(|package| self::package(&root, package).context("a package lacks a field")).collect()
}

fn package(root: &Path, package: &Value) -> Option<Package> {
    let short = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    let manifest = Path::new(package.get("manifest_path")?.as_str()?);
    let mut ours = BTreeSet::new();
    let mut others = BTreeSet::new();
    for dependency in package.get("dependencies")?.as_array()? {
        if dependency.get("kind").and_then(Value::as_str) == Some("dev") {
            continue;
        }
        let name = dependency.get("name")?.as_str()?;
        if dependency.get("path").is_some_and(Value::is_string) {
            ours.insert(short(name));
        } else {
            others.insert(name.to_owned());
        }
    }
    let manifest = std::fs::canonicalize(manifest).ok()?;
    Some(Package { name: short(package.get("name")?.as_str()?), manifest: relative(root, &manifest), ours, others })
}
