//! What a schema says by itself: types, bounds, enumerations, required and unknown fields, keys of lists; and defaults.
//!
//! It knows the keywords that our definitions use, and no other ([`KEYWORDS`]; a test holds that). Messages are worded as
//! those of the API server. Null where a schema does not allow it counts as absent, as there.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::check::Finding;

/// Keywords of schemas that are understood here, or say nothing about a value.
pub const KEYWORDS: [&str; 22] = [
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minLength",
    "minimum",
    "properties",
    "required",
    "title",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
    "nullable",
];

/// Fields of every object, which the definition of a kind does not describe.
const OBJECT_FIELDS: [&str; 4] = ["apiVersion", "kind", "metadata", "status"];

/// An object as the schema of its kind wants it, with defaults filled in. Its metadata and status are taken as they are.
///
/// # Errors
/// Where the object is not as the schema says.
pub fn conform(schema: &Value, object: &Value) -> Result<Value, Vec<Finding>> {
    let mut walk = Walk::default();
    let Value::Object(fields) = object else {
        return Err(vec![Finding::new(
            "",
            "the manifest must be an object with apiVersion, kind, metadata and spec",
        )]);
    };
    let mut described = fields.clone();
    let kept: Vec<(String, Value)> =
        OBJECT_FIELDS.iter().filter_map(|name| described.remove_entry(*name)).collect();
    let mut schema = schema.clone();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.remove("status");
    }
    let mut conformed = walk.value("", &schema, Value::Object(described));
    if let Value::Object(fields) = &mut conformed {
        fields.extend(kept);
    }
    if walk.findings.is_empty() { Ok(conformed) } else { Err(walk.findings) }
}

#[derive(Default)]
struct Walk {
    findings: Vec<Finding>,
}

impl Walk {
    fn refuse(&mut self, at: &str, message: impl Into<String>) {
        self.findings.push(Finding::new(at, message));
    }

    fn value(&mut self, at: &str, schema: &Value, value: Value) -> Value {
        if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
            match &value {
                Value::String(text) => self.length(at, schema, text),
                Value::Number(number) if number.is_i64() || number.is_u64() => {}
                other => self.wrong_type(at, "integer or string", other),
            }
            return value;
        }
        let wanted = schema.get("type").and_then(Value::as_str).unwrap_or_default();
        match (wanted, value) {
            ("object", Value::Object(fields)) => self.object(at, schema, fields),
            ("array", Value::Array(items)) => self.list(at, schema, items),
            ("string", Value::String(text)) => {
                self.length(at, schema, &text);
                self.enumeration(at, schema, &text);
                Value::String(text)
            }
            ("integer", Value::Number(number)) if number.is_i64() || number.is_u64() => {
                self.range(at, schema, number.as_i64().map_or(i128::from(u64::MAX), i128::from));
                Value::Number(number)
            }
            ("boolean", Value::Bool(value)) => Value::Bool(value),
            (wanted, other) => {
                self.wrong_type(at, wanted, &other);
                other
            }
        }
    }

    fn wrong_type(&mut self, at: &str, wanted: &str, value: &Value) {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        self.refuse(at, format!("must be of type {wanted}: it is of type {found}"));
    }

    fn object(&mut self, at: &str, schema: &Value, mut fields: Map<String, Value>) -> Value {
        if let Some(inner) = schema.get("additionalProperties") {
            return self.map(at, schema, inner, fields);
        }
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return Value::Object(fields);
        };
        fields.retain(|_, value| !value.is_null());
        for name in fields.keys().filter(|name| !properties.contains_key(*name)) {
            self.findings
                .push(Finding::new(below(at, name), format!("unknown field \"{}\"", below(at, name))));
        }
        for (name, property) in properties {
            let given = fields.remove(name).or_else(|| property.get("default").cloned());
            if let Some(value) = given {
                let value = self.value(&below(at, name), property, value);
                fields.insert(name.clone(), value);
            }
        }
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            if !fields.contains_key(name) {
                self.refuse(&below(at, name), "Required value");
            }
        }
        Value::Object(fields)
    }

    fn map(&mut self, at: &str, schema: &Value, inner: &Value, fields: Map<String, Value>) -> Value {
        self.count(at, schema, "maxProperties", fields.len());
        let entries = fields.into_iter().filter(|(_, value)| !value.is_null());
        let entries = entries.map(|(name, value)| {
            let value = self.value(&below(at, &name), inner, value);
            (name, value)
        });
        Value::Object(entries.collect())
    }

    fn list(&mut self, at: &str, schema: &Value, items: Vec<Value>) -> Value {
        self.count(at, schema, "maxItems", items.len());
        let none = Value::Null;
        let inner = schema.get("items").unwrap_or(&none);
        let items: Vec<Value> = items
            .into_iter()
            .enumerate()
            .map(|(n, item)| self.value(&format!("{at}[{n}]"), inner, item))
            .collect();
        self.keys(at, schema, &items);
        Value::Array(items)
    }

    /// Items of a set, and keys of a list that is a map, are there once.
    fn keys(&mut self, at: &str, schema: &Value, items: &[Value]) {
        let keys: Vec<&str> = schema
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array)
            .map(|keys| keys.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let key = |item: &Value| match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => Some(item.to_string()),
            Some("map") => {
                let named = keys.iter().map(|key| (*key, item.get(*key).cloned().unwrap_or_default()));
                serde_json::to_string(&named.collect::<BTreeMap<_, _>>()).ok()
            }
            _ => None,
        };
        let mut seen = std::collections::BTreeSet::new();
        for (n, item) in items.iter().enumerate() {
            if let Some(key) = key(item).filter(|key| !seen.insert(key.clone())) {
                self.refuse(&format!("{at}[{n}]"), format!("Duplicate value: {key}"));
            }
        }
    }

    fn length(&mut self, at: &str, schema: &Value, text: &str) {
        // The API server counts characters here, whatever its message says.
        let length = text.chars().count() as u64;
        if let Some(max) = number(schema, "maxLength").filter(|max| length > *max) {
            self.refuse(at, format!("Too long: may not be more than {max} bytes"));
        }
        if let Some(min) = number(schema, "minLength").filter(|min| length < *min) {
            self.refuse(at, format!("should be at least {min} chars long"));
        }
    }

    fn enumeration(&mut self, at: &str, schema: &Value, text: &str) {
        let Some(allowed) = schema.get("enum").and_then(Value::as_array) else { return };
        if !allowed.iter().any(|one| one == text) {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            let allowed = allowed.join(", ");
            self.refuse(at, format!("Unsupported value: {text:?}: supported values: {allowed}"));
        }
    }

    fn range(&mut self, at: &str, schema: &Value, value: i128) {
        let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
        if let Some(min) = bound("minimum").filter(|min| value < i128::from(*min)) {
            self.refuse(at, format!("should be greater than or equal to {min}: it is {value}"));
        }
        if let Some(max) = bound("maximum").filter(|max| value > i128::from(*max)) {
            self.refuse(at, format!("should be less than or equal to {max}: it is {value}"));
        }
        if schema.get("format").and_then(Value::as_str) == Some("int32") && i32::try_from(value).is_err() {
            self.refuse(at, format!("must fit into 32 bits: it is {value}"));
        }
    }

    fn count(&mut self, at: &str, schema: &Value, keyword: &str, count: usize) {
        if let Some(max) = number(schema, keyword).filter(|max| count as u64 > *max) {
            self.refuse(at, format!("Too many: {count}: must have at most {max} items"));
        }
    }
}

fn number(schema: &Value, keyword: &str) -> Option<u64> {
    schema.get(keyword).and_then(Value::as_u64)
}

fn below(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}
