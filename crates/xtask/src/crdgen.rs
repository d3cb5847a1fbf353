//! Everything that is written from the types in `crds/`: the definitions as YAML, the reference of their fields, and the
//! page of conditions. All are committed, and a test proves that they are fresh.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use lamina_crds::{definitions, yaml};

mod conditions;
mod reference;

const HEAD: &str = "# Written by `cargo xtask crdgen` from the types in crds/src; a test holds it.\n";

/// Writes what is not fresh; with `check` nothing is written, and anything stale is an error.
///
/// # Errors
/// A file cannot be written, or is stale.
pub fn run(root: &Path, check: bool) -> anyhow::Result<()> {
    for (name, text) in files()? {
        let path = root.join(&name);
        let fresh = std::fs::read_to_string(&path).is_ok_and(|there| there == text);
        anyhow::ensure!(fresh || !check, "{name} is not fresh: run `cargo xtask crdgen`");
        if !fresh {
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        println!("{name}");
    }
    Ok(())
}

/// All files by their path from the root of the repository.
///
/// # Errors
/// A definition cannot be written as YAML, or is too long to be installed.
pub fn files() -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for definition in definitions::all() {
        let name = definition.metadata.name.clone().context("a definition has no name")?;
        let document = definitions::document(&definition)?;
        let bytes = serde_json::to_vec(&document)?.len();
        let most = definitions::DEFINITION_BYTES_MAX;
        anyhow::ensure!(bytes < most, "{name} has {bytes} bytes as JSON, of at most {most}");
        files.insert(format!("crds/generated/{name}.yaml"), format!("{HEAD}{}", yaml::to_text(&document)?));
    }
    files.insert("docs/api.md".to_owned(), reference::page()?);
    files.insert("docs/conditions.md".to_owned(), conditions::page());
    Ok(files)
}
