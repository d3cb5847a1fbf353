//! The CustomResourceDefinitions as they are installed.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::cluster::StorageCluster;
use crate::operation::StorageOperation;

/// Raised whenever a definition changes, so that an operator can refuse to run beside an older one.
pub const SCHEMA_REVISION: u32 = 2;
/// The annotation of each definition that holds [`SCHEMA_REVISION`].
pub const SCHEMA_REVISION_ANNOTATION: &str = "lamina.dev/schema-revision";
/// Bytes of a definition as JSON, at most: above 256 KiB `kubectl apply` fails.
pub const DEFINITION_BYTES_MAX: usize = 200_000;

/// All definitions.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![storage_cluster(), storage_operation()]
}

/// The definition of [`StorageCluster`].
#[must_use]
pub fn storage_cluster() -> CustomResourceDefinition {
    finished(StorageCluster::crd())
}

/// The definition of [`StorageOperation`].
#[must_use]
pub fn storage_operation() -> CustomResourceDefinition {
    finished(StorageOperation::crd())
}

/// The schema of a kind, as JSON; `None` for a kind that is not ours. It is made once and kept.
#[must_use]
pub fn schema(kind: &str) -> Option<&'static Value> {
    static SCHEMAS: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    let schemas = SCHEMAS.get_or_init(|| {
        let schema = |definition: CustomResourceDefinition| {
            let document = document(&definition).ok()?;
            let schema = document.pointer("/spec/versions/0/schema/openAPIV3Schema")?.clone();
            Some((definition.spec.names.kind, schema))
        };
        all().into_iter().filter_map(schema).collect()
    });
    schemas.get(kind)
}

/// A definition as it is written down: whole numbers are written as such, which Kubernetes' own type cannot say.
///
/// # Errors
/// It has no form in JSON.
pub fn document(definition: &CustomResourceDefinition) -> Result<Value, serde_json::Error> {
    serde_json::to_value(definition).map(whole)
}

fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            // (The bounds of our fields are small: none loses a digit.)
            Some(float) if number.is_f64() && float.fract() == 0.0 => Value::from(float as i64),
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, whole(value))).collect(),
        other => other,
    }
}

fn finished(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let annotations = definition.metadata.annotations.get_or_insert_with(BTreeMap::new);
    annotations.insert(SCHEMA_REVISION_ANNOTATION.to_owned(), SCHEMA_REVISION.to_string());
    for version in &mut definition.spec.versions {
        let Some(schema) = version.schema.as_mut() else { continue };
        let plain = schema.open_api_v3_schema.take().and_then(|it| serde_json::to_value(it).ok());
        schema.open_api_v3_schema = plain.map(tidied).and_then(|it| serde_json::from_value(it).ok());
    }
    definition
}

/// Without what Rust types say and Kubernetes does not: formats of its integers, and null. (A null where null is not
/// allowed counts as absent, so a default comes in its place.)
fn tidied(mut schema: Value) -> Value {
    if let Value::Object(fields) = &mut schema {
        let rust = fields.get("format").and_then(Value::as_str).is_some_and(|it| it.starts_with("uint"));
        if rust {
            fields.remove("format");
        }
        fields.remove("nullable");
        if fields.get("default") == Some(&Value::Null) {
            fields.remove("default");
        }
        // What stands under these is no schema, and keeps its nulls.
        let below = fields.iter_mut().filter(|(name, _)| !matches!(name.as_str(), "default" | "enum"));
        below.for_each(|(_, value)| *value = tidied(value.take()));
    } else if let Value::Array(items) = &mut schema {
        items.iter_mut().for_each(|item| *item = tidied(item.take()));
    }
    schema
}
