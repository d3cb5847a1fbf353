//! Whether an object is as it was rendered: everything that the rendering names is there. What others added does not count.

use lamina_crds::Bytes;
use serde_json::Value;

/// Whether `live` has all that `wanted` names. Lists are compared item by item; amounts by what they amount to, because
/// the API server writes `1024Mi` as `1Gi`.
pub fn has(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(name, value)| match live.get(name) {
                Some(present) => has(present, value),
                None => is_empty(value),
            })
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| has(live, wanted))
        }
        (Value::String(live), Value::String(wanted)) => live == wanted || same_amount(live, wanted),
        (live, wanted) => live == wanted,
    }
}

/// What the API server leaves out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
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
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
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
    fn amounts_are_compared_by_what_they_amount_to() {
        assert!(has(&json!("1Gi"), &json!("1024Mi")));
        assert!(has(&json!("1"), &json!("1000m")));
        assert!(!has(&json!("1"), &json!("1m")));
        assert!(!has(&json!("2Gi"), &json!("1Gi")));
    }
}
