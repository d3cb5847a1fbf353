//! Whether an object is as it was rendered: everything that the rendering names is there. What others added does not count: the API
//! server with its defaults, nor whoever else applies to the same object.

use lamina_crds::Bytes;
use serde_json::Value;

/// Whether `live` has all that `wanted` names. Amounts are compared by what they amount to, because the API server writes `1024Mi`
/// as `1Gi`; lists item by item, those whose items have names by name.
pub fn has(live: &Value, wanted: &Value) -> bool {
    difference(live, wanted).is_none()
}

/// Where `live` is otherwise than `wanted`, if it is: `spec.ports[grpc].port`.
pub fn difference(live: &Value, wanted: &Value) -> Option<String> {
    let below = |at: &str, rest: String| match rest.chars().next() {
        None => at.to_owned(),
        Some('[') => format!("{at}{rest}"),
        Some(_) => format!("{at}.{rest}"),
    };
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().find_map(|(name, value)| match live.get(name) {
                Some(present) => difference(present, value).map(|rest| below(name, rest)),
                None => (!is_empty(value)).then(|| name.clone()),
            })
        }
        (Value::Array(live), Value::Array(wanted)) if wanted.iter().any(|it| handle(it).is_some()) => {
            wanted.iter().find_map(|it| {
                let same = |there: &&Value| handle(there).is_some() && handle(there) == handle(it);
                let at = format!("[{}]", handle(it).unwrap_or_default());
                match live.iter().find(same) {
                    Some(there) => difference(there, it).map(|rest| below(&at, rest)),
                    None => Some(at),
                }
            })
        }
        (Value::Array(live), Value::Array(wanted)) if live.len() == wanted.len() => {
            live.iter().zip(wanted).enumerate().find_map(|(n, (live, wanted))| {
                difference(live, wanted).map(|rest| below(&format!("[{n}]"), rest))
            })
        }
        (Value::String(live), Value::String(wanted)) if same_amount(live, wanted) => None,
        (live, wanted) => (live != wanted).then(String::new),
    }
}

/// By what server-side apply knows the items of a list to which several may add: containers, variables, ports and secrets by their
/// name, owners by their UID. All other lists have one owner, and are theirs as a whole.
fn handle(item: &Value) -> Option<&str> {
    text(item, "/uid").or_else(|| text(item, "/name"))
}

/// What the API server leaves out. Not `false`: where that is left out it may mean otherwise.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn same_amount(one: &str, other: &str) -> bool {
    let millis = |text: &str| match text.strip_suffix('m') {
        Some(millis) => millis.parse::<u64>().ok(),
        None => text.parse::<u64>().ok()?.checked_mul(1000),
    };
    let bytes = |text: &str| Bytes::new(text).parse();
    (millis(one).is_some() && millis(one) == millis(other))
        || (bytes(one).is_some() && bytes(one) == bytes(other))
}

/// What stands at a JSON pointer, as text.
pub fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

/// The items of the list at a JSON pointer.
pub fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The hash of a text, in 16 hexadecimal digits.
pub fn hash(text: &str) -> String {
    hex(text.as_bytes())
}

/// The hash of a value, in 16 hexadecimal digits: of its JSON.
pub fn hash_of(value: &Value) -> String {
    hex(&serde_json::to_vec(value).unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_and_additions_of_others_do_not_count_and_every_change_does() {
        let live = json!({"spec": {"replicas": 3, "extra": true, "ports": [{"port": 1, "protocol": "TCP"}]}});
        assert!(has(&live, &json!({"spec": {"replicas": 3, "ports": [{"port": 1}]}})));
        assert!(has(&live, &json!({"spec": {"labels": {}, "none": null, "list": []}})));
        assert!(!has(&live, &json!({"spec": {"replicas": 2}})));
        assert!(!has(&live, &json!({"spec": {"ports": [{"port": 1}, {"port": 2}]}})));
        assert!(!has(&live, &json!({"spec": {"absent": 1}})));
    }

    #[test]
    fn a_difference_is_named_by_its_place() {
        let live = json!({"spec": {"ports": [{"name": "grpc", "port": 1}], "args": ["a", "b"], "n": 1}});
        let at = |wanted: Value| difference(&live, &wanted);
        assert_eq!(
            at(json!({"spec": {"ports": [{"name": "grpc", "port": 2}]}})).unwrap(),
            "spec.ports[grpc].port"
        );
        assert_eq!(at(json!({"spec": {"ports": [{"name": "http"}]}})).unwrap(), "spec.ports[http]");
        assert_eq!(at(json!({"spec": {"args": ["a", "c"]}})).unwrap(), "spec.args[1]");
        assert_eq!(at(json!({"spec": {"args": ["a"]}})).unwrap(), "spec.args");
        assert_eq!(at(json!({"spec": {"n": 2}})).unwrap(), "spec.n");
        assert_eq!(at(json!({"spec": {"m": 2}})).unwrap(), "spec.m");
        assert_eq!(at(json!({"spec": {"n": 1}})), None);
    }

    #[test]
    fn what_others_add_to_a_list_of_named_items_does_not_count_and_every_other_list_is_compared_whole() {
        let ports = json!([{"name": "theirs", "port": 9}, {"name": "grpc", "port": 1, "protocol": "TCP"}]);
        assert!(has(&ports, &json!([{"name": "grpc", "port": 1}])));
        assert!(!has(&ports, &json!([{"name": "grpc", "port": 2}])));
        assert!(!has(&ports, &json!([{"name": "http", "port": 1}])));
        let owners = json!([{"uid": "a", "name": "x"}, {"uid": "b", "name": "x"}]);
        assert!(has(&owners, &json!([{"uid": "b", "name": "x"}])));
        assert!(!has(&json!([{"port": 1}, {"port": 2}]), &json!([{"port": 1}])));
        assert!(!has(&json!(["a", "b"]), &json!(["a"])));
    }

    #[test]
    fn an_empty_text_may_be_left_out_and_a_false_may_not() {
        assert!(has(&json!([{"name": "A"}]), &json!([{"name": "A", "value": ""}])));
        assert!(!has(&json!({}), &json!({"automountServiceAccountToken": false})));
    }

    #[test]
    fn amounts_are_compared_by_what_they_amount_to() {
        assert!(has(&json!("1Gi"), &json!("1024Mi")));
        assert!(has(&json!("1"), &json!("1000m")));
        assert!(!has(&json!("1"), &json!("1m")));
        assert!(!has(&json!("2Gi"), &json!("1Gi")));
    }
}
