//! One table of manifests (`manifests.yaml`), judged twice: by `crds::check`, and by the CEL of the committed definitions
//! in an interpreter. Both must say the same. (What the schema says by itself is judged once here, from the schema; `e2e/`
//! replays the table on a real API server.)

use std::collections::BTreeSet;

use kube_cel::{ErrorKind, Validator, apply_defaults, compile_schema};
use lamina_crds::check::structure::{KEYWORDS, conform};
use lamina_crds::{check, definitions, rules, yaml};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default = "store")]
    kind: String,
    #[serde(default = "orders")]
    called: String,
    spec: Option<Value>,
    old: Option<Value>,
    /// Of the old object.
    status: Option<Value>,
    #[serde(default)]
    field: String,
    refused: Option<String>,
}

fn store() -> String {
    "StorageCluster".to_owned()
}

fn orders() -> String {
    "orders".to_owned()
}

impl Entry {
    fn object(&self, spec: Option<&Value>) -> Value {
        let mut object = json!({
            "apiVersion": "lamina.dev/v1alpha1",
            "kind": self.kind,
            "metadata": { "name": self.called },
        });
        if let Some(spec) = spec {
            object["spec"] = spec.clone();
        }
        object
    }

    fn wanted(&self) -> Value {
        self.object(self.spec.as_ref())
    }

    fn old(&self) -> Option<Value> {
        let mut old = self.object(Some(self.old.as_ref()?));
        if let Some(status) = &self.status {
            old["status"] = status.clone();
        }
        Some(old)
    }

    /// The findings that `check` has: where and what.
    fn checked(&self) -> BTreeSet<(String, String)> {
        let findings = match check::manifest(&self.wanted(), self.old().as_ref()) {
            Ok(_) => return BTreeSet::new(),
            Err(findings) => findings,
        };
        findings.all().iter().map(|it| (it.field.clone(), it.message.clone())).collect()
    }

    fn expects(&self, said: &BTreeSet<(String, String)>, by: &str) {
        match &self.refused {
            None => assert!(said.is_empty(), "{:?} is good, and {by} says {said:?}", self.name),
            Some(refused) => assert!(
                said.iter().any(|(field, message)| field.contains(&self.field) && message.contains(refused)),
                "{:?}: {by} must say {refused:?} of {:?}, and says {said:?}",
                self.name,
                self.field
            ),
        }
    }
}

fn table() -> Vec<Entry> {
    let entries: Vec<Entry> = yaml::from_text(include_str!("manifests.yaml")).unwrap();
    let names: BTreeSet<&str> = entries.iter().map(|entry| &*entry.name).collect();
    assert_eq!(names.len(), entries.len(), "two entries have the same name");
    entries
}

/// The definitions as they are committed, by kind.
fn committed(kind: &str) -> Value {
    let name = format!("{}s.lamina.dev.yaml", kind.to_lowercase());
    let text = std::fs::read_to_string(format!("{}/generated/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let definition: Value = yaml::from_text(&text).unwrap();
    definition.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap().clone()
}

/// All schemas within a schema, with their places.
fn schemas<'a>(at: &str, schema: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    found.push((at.to_owned(), schema));
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        schemas(&format!("{at}.{name}"), property, found);
    }
    for below in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(below).filter(|inner| inner.is_object()) {
            schemas(&format!("{at}[]"), inner, found);
        }
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[test]
fn the_table_is_as_long_as_promised() {
    let entries = table();
    let good = entries.iter().filter(|entry| entry.refused.is_none()).count();
    assert!(entries.len() >= 120 && good >= 40, "{} entries, {good} of them good", entries.len());
}

#[test]
fn check_says_of_each_manifest_what_the_table_says() {
    for entry in table() {
        entry.expects(&entry.checked(), "check");
    }
}

#[test]
fn the_definitions_say_of_each_manifest_what_the_table_says_and_check_says_exactly_the_same() {
    let mut fired: BTreeSet<String> = BTreeSet::new();
    for kind in ["StorageCluster", "StorageOperation"] {
        let schema = committed(kind);
        let (interpreter, compiled) = (Validator::new(), compile_schema(&schema));
        for entry in table().into_iter().filter(|entry| entry.kind == kind) {
            let checked = entry.checked();
            let Ok(object) = conform(&schema, &entry.wanted()) else {
                let rule = |message: &String| rules::ALL.iter().any(|rule| rule.says == message);
                assert!(!checked.is_empty(), "{:?}: check overlooks what the schema says", entry.name);
                assert!(!checked.iter().any(|(_, message)| rule(message)), "{:?}: {checked:?}", entry.name);
                continue;
            };
            let old = entry.old().map(|old| apply_defaults(&schema, &without_nulls(&old)));
            let errors = match interpreter.validate_compiled(&compiled, &object, old.as_ref()) {
                Ok(()) => Vec::new(),
                Err(errors) => errors.into_vec(),
            };
            let mut said = BTreeSet::new();
            for error in errors {
                match error.kind {
                    ErrorKind::ValidationFailure => {
                        fired.insert(error.message.clone());
                        said.insert((error.field_path.clone(), error.message.clone()));
                    }
                    // A rule that compares what another rule refuses cannot be evaluated.
                    ErrorKind::EvaluationError => {}
                    _ => panic!("{:?}: {error:?}", entry.name),
                }
            }
            entry.expects(&said, "CEL");
            // CEL goes on comparing numbers that have no proper form; `check` does not.
            let formless = [rules::SIZE_IS_WHOLE.says, rules::CPU_IS_WHOLE.says];
            if checked.iter().any(|(_, message)| formless.contains(&&**message)) {
                assert!(checked.is_subset(&said), "{:?}: CEL overlooks {checked:?}: {said:?}", entry.name);
            } else {
                assert_eq!(checked, said, "{:?}: check (left) and CEL (right) differ", entry.name);
            }
        }
    }
    let silent: Vec<&str> =
        rules::ALL.iter().map(|rule| rule.says).filter(|says| !fired.contains(*says)).collect();
    assert!(silent.is_empty(), "no manifest of the table breaks: {silent:#?}");
}

#[test]
fn the_definitions_have_all_rules_and_no_others() {
    let mut there = BTreeSet::new();
    for kind in ["StorageCluster", "StorageOperation"] {
        let schema = committed(kind);
        let mut found = Vec::new();
        schemas("", &schema, &mut found);
        for rule in
            found.iter().filter_map(|(_, it)| it.get("x-kubernetes-validations")?.as_array()).flatten()
        {
            let word = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            there.insert((word("rule"), word("message")));
        }
    }
    let all: BTreeSet<_> = rules::ALL.iter().map(|it| (it.cel.to_owned(), it.says.to_owned())).collect();
    assert_eq!(there, all);
}

#[test]
fn every_string_list_and_map_has_a_bound_and_every_keyword_is_understood() {
    for kind in ["StorageCluster", "StorageOperation"] {
        let schema = committed(kind);
        let mut found = Vec::new();
        schemas("", &schema, &mut found);
        for (at, schema) in found {
            let has = |name: &str| schema.get(name).is_some();
            for keyword in schema.as_object().unwrap().keys() {
                assert!(KEYWORDS.contains(&keyword.as_str()), "{kind}{at}: {keyword} is not understood");
            }
            let bound = match schema.get("type").and_then(Value::as_str) {
                Some("string") => has("maxLength") || has("enum") || has("format"),
                Some("array") => has("maxItems"),
                Some("object") => has("maxProperties") || !has("additionalProperties"),
                _ => true,
            };
            assert!(bound, "{kind}{at} has no bound");
        }
    }
}

#[test]
fn no_word_of_an_enumeration_is_a_truth_to_somebody() {
    // YAML 1.1, which Kubernetes reads, takes `Off` for false; what writes our definitions is of YAML 1.2, and does not quote it.
    let truths = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "~"];
    for kind in ["StorageCluster", "StorageOperation"] {
        let schema = committed(kind);
        let mut found = Vec::new();
        schemas("", &schema, &mut found);
        // (What the operator writes is written as JSON.)
        for (at, schema) in found.into_iter().filter(|(at, _)| !at.starts_with(".status")) {
            for word in schema.get("enum").and_then(Value::as_array).into_iter().flatten() {
                let word = word.as_str().unwrap_or_else(|| panic!("{kind}{at}: {word} is no word"));
                assert!(!truths.contains(&&*word.to_lowercase()), "{kind}{at}: {word}");
            }
        }
    }
}

#[test]
fn what_the_api_server_fills_in_is_what_rust_does() {
    let schema = committed("StorageCluster");
    let object = json!({"apiVersion": "lamina.dev/v1alpha1", "kind": "StorageCluster", "metadata": {"name": "a"}, "spec": {}});
    let filled = apply_defaults(&schema, &object);
    assert_eq!(filled["spec"], serde_json::to_value(lamina_crds::StorageClusterSpec::default()).unwrap());
    assert_eq!(filled, conform(definitions::schema("StorageCluster").unwrap(), &object).unwrap());
}

#[test]
fn the_examples_are_good() {
    let mut seen = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for document in yaml::documents(&text).unwrap() {
            let name = path.display();
            check::manifest(&document, None).unwrap_or_else(|findings| panic!("{name}: {findings}"));
            let schema = committed(document["kind"].as_str().unwrap());
            Validator::new()
                .validate(&schema, &document, None)
                .unwrap_or_else(|errors| panic!("{name}: {errors}"));
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen} objects in examples/");
}
