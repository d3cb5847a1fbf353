//! `docs/api.md`: every field of every kind, from the schemas.

use std::fmt::Write as _;

use anyhow::Context;
use lamina_crds::rules::{CPU_IS_WHOLE, RuleText, SIZE_IS_WHOLE};
use lamina_crds::{GROUP, VERSION, definitions};
use serde_json::{Map, Value};

const HEAD: &str = "\
# Reference of the API

Every field of Lamina's kinds, with its type, default, bounds and rules. A field that is not here does not exist: the API
server refuses it. Fields in *italics* are written by the operator.

A *size* is a whole number of bytes with a unit (`512Mi`, `10Gi`; k, M, G, T, Ki, Mi, Gi, Ti), at most 1024Ti. A *processor share*
is whole cores or thousandths of one (`2`, `500m`). Rules are checked by the API server before anything is stored, and without one by
`crds/src/check.rs` in the same words. Rules about changes are marked *on change*.

This page is written by `cargo xtask crdgen` from the types in `crds/`; a test holds it.
";

/// The whole page.
///
/// # Errors
/// A definition has no schema.
pub fn page() -> anyhow::Result<String> {
    let mut out = HEAD.to_owned();
    for definition in definitions::all() {
        let names = &definition.spec.names;
        let schema = definitions::schema(&names.kind).context("a definition has no schema")?;
        let short = names.short_names.clone().unwrap_or_default().join(", ");
        let _ = write!(
            out,
            "\n## {}\n\n`apiVersion: {GROUP}/{VERSION}`, short name `{short}`. {}\n",
            names.kind,
            text(schema, "description")
        );
        let own = rules(schema);
        if !own.is_empty() {
            let _ = write!(out, "\nOf the whole object: {own}\n");
        }
        out.push_str("\n| field | type | default | description, bounds, rules |\n|---|---|---|---|\n");
        for part in ["spec", "status"] {
            if let Some(property) = schema.pointer(&format!("/properties/{part}")) {
                rows(&mut out, part, property);
            }
        }
    }
    Ok(out)
}

fn rows(out: &mut String, at: &str, schema: &Value) {
    let by_operator = at.starts_with("status");
    let name = if by_operator { format!("*`{at}`*") } else { format!("`{at}`") };
    let about = [text(schema, "description"), bounds(schema), rules(schema)];
    let about: Vec<String> = about.into_iter().filter(|it| !it.is_empty()).collect();
    let _ = writeln!(out, "| {name} | {} | {} | {} |", kind(schema), default(schema), about.join(" "));
    if is_foreign(schema) {
        return;
    }
    let inner = schema.get("items").unwrap_or(schema);
    let below = if schema.get("items").is_some() { format!("{at}[]") } else { at.to_owned() };
    for (name, property) in inner.get("properties").and_then(Value::as_object).into_iter().flatten() {
        rows(out, &format!("{below}.{name}"), property);
    }
}

/// Whether a schema is that of pods, which the documentation of Kubernetes describes: its fields have no descriptions.
fn is_foreign(schema: &Value) -> bool {
    let inner = schema.get("items").unwrap_or(schema);
    let described = |property: &Value| property.get("description").is_some();
    inner
        .get("properties")
        .and_then(Value::as_object)
        .is_some_and(|properties| !properties.is_empty() && !properties.values().any(described))
}

/// Whether a schema has a rule that its type stands for.
fn is(schema: &Value, rule: RuleText) -> bool {
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    rules.into_iter().flatten().any(|it| it.get("message").and_then(Value::as_str) == Some(rule.says))
}

fn kind(schema: &Value) -> String {
    if is(schema, SIZE_IS_WHOLE) {
        return "size".to_owned();
    }
    if is(schema, CPU_IS_WHOLE) {
        return "processor share".to_owned();
    }
    let plain = text(schema, "type");
    match plain.as_str() {
        "array" => format!("list of {}", schema.get("items").map(kind).unwrap_or_default()),
        "object" if schema.get("additionalProperties").is_some() => "map of strings".to_owned(),
        "object" if is_foreign(schema) => "object, as in a pod".to_owned(),
        "string" => match schema.get("enum").and_then(Value::as_array) {
            Some(values) => values.iter().map(code).collect::<Vec<_>>().join(", "),
            None => plain,
        },
        _ => plain,
    }
}

fn default(schema: &Value) -> String {
    match schema.get("default") {
        // What is below has defaults of its own.
        None | Some(Value::Object(_)) => String::new(),
        Some(value) => code(value),
    }
}

fn code(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

fn bounds(schema: &Value) -> String {
    if is(schema, SIZE_IS_WHOLE) || is(schema, CPU_IS_WHOLE) {
        return String::new();
    }
    let number = |name: &str| schema.get(name).and_then(Value::as_i64);
    let mut said = Vec::new();
    match (number("minimum"), number("maximum")) {
        (Some(min), Some(max)) => said.push(format!("{min} to {max}.")),
        (None, Some(max)) => said.push(format!("At most {max}.")),
        _ => {}
    }
    for (name, what) in [("maxLength", "characters"), ("maxItems", "items"), ("maxProperties", "entries")] {
        if let Some(max) = number(name) {
            said.push(format!("At most {max} {what}."));
        }
    }
    said.join(" ")
}

fn rules(schema: &Value) -> String {
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    let of_type = [SIZE_IS_WHOLE.says, CPU_IS_WHOLE.says];
    let rules = rules.into_iter().flatten().filter_map(Value::as_object);
    let said = rules.filter(|rule| !of_type.contains(&&*word(rule, "message"))).map(|rule| {
        let on_change = if word(rule, "rule").contains("oldSelf") { "*on change:* " } else { "" };
        format!("**Rule:** {on_change}{}.", line(&word(rule, "message")))
    });
    said.collect::<Vec<_>>().join(" ")
}

fn text(schema: &Value, name: &str) -> String {
    line(schema.get(name).and_then(Value::as_str).unwrap_or_default())
}

fn word(rule: &Map<String, Value>, name: &str) -> String {
    rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A text on one line of a table.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
