//! Schemas of what is not ours, with the bounds that everything here has.

use k8s_openapi::api::core::v1::{Affinity, Toleration};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::rules::{self, RuleText};

/// Characters of a string in what is not ours, at most.
const STRING_LENGTH_MAX: u64 = 317;
/// Items of a list in what is not ours, at most.
const LIST_LENGTH_MAX: u64 = 16;
/// Entries of a map in what is not ours, at most.
const MAP_LENGTH_MAX: u64 = 16;

/// Labels: at most 32, with values of at most 63 characters.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 63 },
    })
}

/// Annotations: at most 32, with values of at most 1024 characters.
pub(crate) fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 1024 },
    })
}

/// Ranges of addresses: at most 16.
pub(crate) fn blocks(_: &mut SchemaGenerator) -> Schema {
    let RuleText { cel, says } = rules::BLOCK_IS_CIDR;
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": 64,
            "x-kubernetes-validations": [{ "rule": cel, "message": says }],
        },
    })
}

/// Affinities as in a pod, bounded.
pub(crate) fn affinity(generator: &mut SchemaGenerator) -> Schema {
    bounded(generator.subschema_for::<Affinity>())
}

/// Tolerations as in a pod, bounded.
pub(crate) fn tolerations(generator: &mut SchemaGenerator) -> Schema {
    bounded(generator.subschema_for::<Vec<Toleration>>())
}

fn bounded(schema: Schema) -> Schema {
    let mut value = schema.to_value();
    if let Value::Object(map) = &mut value {
        bound(map);
    }
    Schema::try_from(value).unwrap_or_default()
}

/// Bounds a schema and everything below it, and drops descriptions, which the documentation of pods has.
fn bound(schema: &mut Map<String, Value>) {
    schema.remove("description");
    let is = |name: &str| match schema.get("type") {
        Some(Value::String(it)) => it == name,
        Some(Value::Array(them)) => them.iter().any(|it| it == name),
        _ => false,
    };
    let (text, list, map) = (is("string"), is("array"), schema.contains_key("additionalProperties"));
    if text && !schema.contains_key("enum") {
        schema.entry("maxLength").or_insert(json!(STRING_LENGTH_MAX));
    }
    if list {
        schema.entry("maxItems").or_insert(json!(LIST_LENGTH_MAX));
    }
    if map {
        schema.entry("maxProperties").or_insert(json!(MAP_LENGTH_MAX));
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().filter_map(Value::as_object_mut).for_each(bound);
    }
    for below in ["items", "additionalProperties"] {
        if let Some(Value::Object(inner)) = schema.get_mut(below) {
            bound(inner);
        }
    }
}
