//! Sizes and processor shares, as they are written in manifests.
//!
//! A text is kept as it was written, so that server-side apply sees no change where nobody changed anything. What the
//! rules let pass is a whole number with a unit; anything else reads as 0, and [`crate::check`] names it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use crate::rules;

/// Characters of a quantity at most.
pub const QUANTITY_LENGTH_MAX: usize = 20;
/// One pebibyte: no size may be above.
pub const BYTES_MAX: u64 = 1 << 50;

/// A number of bytes: `512Mi`, `10Gi`, `1073741824`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(String);

impl Bytes {
    /// Keeps a text as it is.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Bytes {
        Bytes(text.into())
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number of bytes; 0 for a text that the rules refuse.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parse().unwrap_or(0)
    }

    /// The number of bytes, 1 to [`BYTES_MAX`]; `None` for a text that the rules refuse.
    #[must_use]
    pub fn parse(&self) -> Option<u64> {
        let digits = self.0.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit: u64 = match self.0.get(digits.len()..)? {
            "" => 1,
            "k" => 1000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            _ => return None,
        };
        let number = whole(digits, 15)?;
        number.checked_mul(unit).filter(|bytes| *bytes <= BYTES_MAX)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl JsonSchema for Bytes {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": QUANTITY_LENGTH_MAX,
            "x-kubernetes-validations": [rules::SIZE_IS_WHOLE.rule()],
        })
    }
}

/// A share of processors: `2`, `500m`. A number is taken too.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct Cpu(String);

impl Cpu {
    /// Keeps a text as it is.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Cpu {
        Cpu(text.into())
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Thousandths of a processor; 0 for a text that the rules refuse.
    #[must_use]
    pub fn millis(&self) -> u64 {
        self.parse().unwrap_or(0)
    }

    /// Thousandths of a processor, at least 1; `None` for a text that the rules refuse.
    #[must_use]
    pub fn parse(&self) -> Option<u64> {
        match self.0.strip_suffix('m') {
            Some(millis) => whole(millis, 6),
            None => whole(&self.0, 6).map(|cores| cores * 1000),
        }
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Cpu {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Cpu, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(i64),
            Text(String),
        }
        Ok(match Written::deserialize(from)? {
            Written::Number(number) => Cpu(number.to_string()),
            Written::Text(text) => Cpu(text),
        })
    }
}

impl JsonSchema for Cpu {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cpu".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": QUANTITY_LENGTH_MAX,
            "x-kubernetes-validations": [rules::CPU_IS_WHOLE.rule()],
        })
    }
}

/// A whole number above 0 of at most so many digits, without a leading 0.
fn whole(digits: &str, length_max: usize) -> Option<u64> {
    let right = (1..=length_max).contains(&digits.len())
        && digits.bytes().all(|digit| digit.is_ascii_digit())
        && !digits.starts_with('0');
    if right { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_whole_number_with_a_unit() {
        for (text, bytes) in [
            ("1", Some(1)),
            ("1500", Some(1500)),
            ("2k", Some(2000)),
            ("3M", Some(3_000_000)),
            ("4G", Some(4_000_000_000)),
            ("5T", Some(5_000_000_000_000)),
            ("192Mi", Some(192 << 20)),
            ("16Ki", Some(16 << 10)),
            ("10Gi", Some(10 << 30)),
            ("1024Ti", Some(1 << 50)),
            ("1025Ti", None),
            ("999999999999999Ti", None),
            ("", None),
            ("Gi", None),
            ("0", None),
            ("0Gi", None),
            ("010Gi", None),
            ("-1Gi", None),
            ("+1Gi", None),
            ("1.5Gi", None),
            ("1Gib", None),
            ("1GB", None),
            ("1 Gi", None),
            ("1gi", None),
            ("1m", None),
            ("1e3", None),
        ] {
            assert_eq!(Bytes::new(text).parse(), bytes, "{text:?}");
        }
    }

    #[test]
    fn a_share_of_processors_is_whole_cores_or_thousandths() {
        for (text, millis) in [
            ("2", Some(2000)),
            ("500m", Some(500)),
            ("0", None),
            ("0.5", None),
            ("m", None),
            ("-1", None),
            ("2 cores", None),
            ("1000000", None),
        ] {
            assert_eq!(Cpu::new(text).parse(), millis, "{text:?}");
        }
        assert_eq!(serde_json::from_str::<Cpu>("2").unwrap(), Cpu::new("2"));
        assert_eq!(serde_json::from_str::<Cpu>("\"250m\"").unwrap(), Cpu::new("250m"));
    }
}
