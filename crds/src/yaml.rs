//! The only place that reads and writes YAML.
//!
//! A manifest is at most 1 MiB, and one document. Aliases are not expanded without end: the parser counts repetitions.

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};
use serde_json::Value;

/// Bytes of a text, at most.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// A text is no YAML, or not what was wanted.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// It is too long to be a manifest.
    #[error("the text has {0} bytes; a manifest has at most {TEXT_BYTES_MAX}")]
    TooLong(usize),
    /// It cannot be read. The message names line and column.
    #[error("this is no valid YAML: {0}")]
    Unreadable(String),
    /// There is nothing in it.
    #[error("there is no document in this text")]
    Empty,
    /// It cannot be written.
    #[error("this cannot be written as YAML: {0}")]
    Unwritable(String),
}

/// All documents of a text, as JSON; empty ones are left out.
///
/// # Errors
/// The text is too long or no YAML.
pub fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(YamlError::TooLong(text.len()));
    }
    let text = text.trim_start_matches('\u{feff}');
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        // By way of YAML's own value, which refuses a key that is there twice; JSON's takes the last.
        let value = serde_yaml::Value::deserialize(document)
            .map_err(|error| YamlError::Unreadable(error.to_string()))?;
        if !value.is_null() {
            documents
                .push(serde_json::to_value(value).map_err(|error| YamlError::Unreadable(error.to_string()))?);
        }
    }
    if documents.is_empty() { Err(YamlError::Empty) } else { Ok(documents) }
}

/// One value from a text.
///
/// # Errors
/// The text is too long, no YAML, or not what is wanted.
pub fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(YamlError::TooLong(text.len()));
    }
    serde_yaml::from_str(text).map_err(|error| YamlError::Unreadable(error.to_string()))
}

/// A value as one document.
///
/// # Errors
/// It has no form in YAML.
pub fn to_text<T: Serialize>(value: &T) -> Result<String, YamlError> {
    serde_yaml::to_string(value).map_err(|error| YamlError::Unwritable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_one_by_one_and_empty_ones_left_out() {
        let found = documents("---\na: 1\n---\n---\nb: [2]\n").unwrap();
        assert_eq!(found, [serde_json::json!({"a": 1}), serde_json::json!({"b": [2]})]);
        assert!(matches!(documents("# nothing\n"), Err(YamlError::Empty)));
    }

    #[test]
    fn bad_texts_are_refused_with_their_place_and_bombs_do_not_go_off() {
        let error = documents("a: [1, 2\nb: 3\n").unwrap_err().to_string();
        assert!(error.contains("line"), "{error}");
        assert!(documents("a: 1\na: 2\n").unwrap_err().to_string().contains("duplicate"));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let last = format!("*a{}", n - 1);
            bomb += &format!("a{n}: &a{n} [{}]\n", [last.as_str(); 9].join(", "));
        }
        assert!(matches!(documents(&bomb), Err(YamlError::Unreadable(_))));
        assert!(matches!(documents(&" ".repeat(TEXT_BYTES_MAX + 1)), Err(YamlError::TooLong(_))));
    }
}
