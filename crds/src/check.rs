//! The validation of the API server without an API server: for `lamina up -f store.yaml`, `kubectl lamina plan`, and an
//! operator that finds an object older than a rule.
//!
//! What the schema says (types, bounds, defaults, unknown fields) is read from the schema itself ([`structure`]); the
//! rules are held in Rust, with the words of [`crate::rules`]. A table of manifests proves that the CEL rules agree.
//!
//! Absent fields are no error: they get their defaults. Unknown fields are, as under `kubectl`'s strict validation.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cluster::StorageCluster;
use crate::operation::StorageOperation;
use crate::rules::RuleText;
use crate::{GROUP, VERSION, definitions, yaml};

mod cluster;
mod operation;
pub mod structure;
mod words;

/// Something that is wrong with a manifest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// Where, from the root of the manifest: `spec.frontend.replicas`.
    pub field: String,
    /// What must be so, and what to do.
    pub message: String,
}

impl Finding {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            return out.write_str(&self.message);
        }
        write!(out, "{}: {}", self.field, self.message)
    }
}

/// Everything that is wrong with a manifest; never empty. It is shown one finding a line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// The findings, in the order of the manifest's fields.
    #[must_use]
    pub fn all(&self) -> &[Finding] {
        &self.0
    }

    fn one(field: &str, message: impl Into<String>) -> Findings {
        Findings(vec![Finding::new(field, message)])
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, finding) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(out)?;
            }
            write!(out, "{finding}")?;
        }
        Ok(())
    }
}

/// One object of ours.
#[derive(Clone, PartialEq, Debug)]
pub enum Manifest {
    /// A store.
    Cluster(Box<StorageCluster>),
    /// Something to be done to one.
    Operation(Box<StorageOperation>),
}

/// The store that a text describes, with all defaults applied; other kinds of objects in it are passed over.
///
/// # Errors
/// The text is no YAML, has no StorageCluster or several, or the one it has would be refused.
pub fn cluster_in(text: &str) -> Result<StorageCluster, Findings> {
    cluster(&document_in(text)?, None)
}

/// The one StorageCluster in a text, as it stands there.
///
/// # Errors
/// The text is no YAML, or has no StorageCluster or several.
pub fn document_in(text: &str) -> Result<Value, Findings> {
    let documents = yaml::documents(text).map_err(|error| Findings::one("", error.to_string()))?;
    let mut stores = documents.into_iter().filter(|document| kind_of(document) == Some("StorageCluster"));
    match (stores.next(), stores.next()) {
        (Some(store), None) => Ok(store),
        (None, _) => Err(Findings::one(
            "kind",
            format!(
                "there is no StorageCluster in this text; it begins with apiVersion: {GROUP}/{VERSION} and kind: StorageCluster"
            ),
        )),
        (Some(_), Some(_)) => {
            Err(Findings::one("kind", "there are several StorageClusters in this text; leave one"))
        }
    }
}

/// An object of ours as the API server would store it: defaults applied, everything checked; `old` is the object that
/// it replaces.
///
/// # Errors
/// What the API server would refuse.
pub fn manifest(new: &Value, old: Option<&Value>) -> Result<Manifest, Findings> {
    match kind_of(new) {
        Some("StorageCluster") => cluster(new, old).map(|it| Manifest::Cluster(Box::new(it))),
        Some("StorageOperation") => operation(new, old).map(|it| Manifest::Operation(Box::new(it))),
        other => {
            let other = other.unwrap_or("nothing");
            Err(Findings::one("kind", format!("must be StorageCluster or StorageOperation; it is {other}")))
        }
    }
}

/// A [`StorageCluster`], as [`manifest`].
///
/// # Errors
/// What the API server would refuse.
pub fn cluster(new: &Value, old: Option<&Value>) -> Result<StorageCluster, Findings> {
    let new: StorageCluster = typed("StorageCluster", new)?;
    let old: Option<StorageCluster> = old.map(|old| typed("StorageCluster", old)).transpose()?;
    finish(cluster_rules(&new, old.as_ref()), new)
}

/// A [`StorageOperation`], as [`manifest`].
///
/// # Errors
/// What the API server would refuse.
pub fn operation(new: &Value, old: Option<&Value>) -> Result<StorageOperation, Findings> {
    let new: StorageOperation = typed("StorageOperation", new)?;
    let old: Option<StorageOperation> = old.map(|old| typed("StorageOperation", old)).transpose()?;
    finish(operation_rules(&new, old.as_ref()), new)
}

/// The rules that a store breaks, apart from types and bounds; `old` is what it replaces.
#[must_use]
pub fn cluster_rules(new: &StorageCluster, old: Option<&StorageCluster>) -> Vec<Finding> {
    let mut judge = Judge::default();
    cluster::judge(&mut judge, new, old);
    judge.findings
}

/// The rules that an operation breaks, apart from types and bounds; `old` is what it replaces.
#[must_use]
pub fn operation_rules(new: &StorageOperation, old: Option<&StorageOperation>) -> Vec<Finding> {
    let mut judge = Judge::default();
    operation::judge(&mut judge, new, old);
    judge.findings
}

fn finish<T>(findings: Vec<Finding>, value: T) -> Result<T, Findings> {
    if findings.is_empty() { Ok(value) } else { Err(Findings(findings)) }
}

fn kind_of(document: &Value) -> Option<&str> {
    document.get("kind").and_then(Value::as_str)
}

/// What the schema says about an object, then the object as its type, with all defaults.
fn typed<T: DeserializeOwned>(kind: &str, object: &Value) -> Result<T, Findings> {
    let wanted = format!("{GROUP}/{VERSION}");
    let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or("nothing");
    if version != wanted {
        return Err(Findings::one("apiVersion", format!("must be {wanted}; it is {version}")));
    }
    let schema = definitions::schema(kind).unwrap_or(&Value::Null);
    let object = structure::conform(schema, object).map_err(Findings)?;
    if object.pointer("/metadata/name").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(Findings::one("metadata.name", "Required value: give the object a name"));
    }
    serde_json::from_value(object).map_err(|error| Findings::one("", error.to_string()))
}

/// Collects what does not hold.
#[derive(Default)]
struct Judge {
    findings: Vec<Finding>,
}

impl Judge {
    fn must(&mut self, holds: bool, field: &str, rule: RuleText) {
        if !holds {
            self.findings.push(Finding::new(field, rule.says));
        }
    }
}

#[cfg(test)]
mod tests;
