//! Rows in files: TSV with escapes, and JSON lines.
//!
//! TSV: key, tab, value; `\t`, `\n`, `\r`, `\\` and `\xNN` are escapes. JSON lines: objects with `key` and `value`, or
//! `key_base64` and `value_base64` for bytes that are no UTF-8; `version` is written and ignored when read.

use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::form::{Form, base64_decode, base64_encode};

/// The format of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// key, tab, value; escapes \t \n \r \\ \xNN
    Tsv,
    /// one JSON object on each line
    Jsonl,
}

impl Format {
    /// The format that was asked for, else the one of the file's name, else TSV.
    pub fn of(asked: Option<Format>, path: Option<&Path>) -> Format {
        let by_name = || match path?.extension()?.to_str()? {
            "jsonl" | "ndjson" | "json" => Some(Format::Jsonl),
            _ => None,
        };
        asked.or_else(by_name).unwrap_or(Format::Tsv)
    }
}

#[derive(Serialize)]
struct Out<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
}

/// A row in JSON on one line, without the line break. `value`: `None` if only keys are wanted.
pub fn json(
    key: &[u8],
    value: Option<&[u8]>,
    version: u64,
    expires_ms: Option<u64>,
) -> serde_json::Result<String> {
    let text = |bytes: &'_ [u8]| std::str::from_utf8(bytes).is_err().then(|| base64_encode(bytes));
    serde_json::to_string(&Out {
        key: std::str::from_utf8(key).ok(),
        key_base64: text(key),
        value: value.and_then(|value| std::str::from_utf8(value).ok()),
        value_base64: value.and_then(text),
        version,
        expires_ms,
    })
}

/// Writes a row with its line break.
pub fn write(
    out: &mut impl Write,
    format: Format,
    form: Form,
    key: &[u8],
    value: Option<&[u8]>,
    version: u64,
) -> io::Result<()> {
    match (format, value) {
        (Format::Tsv, Some(value)) => {
            writeln!(out, "{}\t{}", form.encode_field(key), form.encode_field(value))
        }
        (Format::Tsv, None) => writeln!(out, "{}", form.encode_field(key)),
        (Format::Jsonl, value) => writeln!(out, "{}", json(key, value, version, None)?),
    }
}

/// A key or value in JSON: one of two fields.
#[derive(Deserialize)]
struct In {
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
}

/// Reads a row from a line without its line break.
pub fn read(line: &[u8], format: Format, form: Form) -> Result<(Bytes, Bytes), String> {
    match format {
        Format::Tsv => {
            let tab = line.iter().position(|byte| *byte == b'\t');
            let tab = tab.ok_or("there is no tab between key and value")?;
            let (key, value) = (line.get(..tab).unwrap_or_default(), line.get(tab + 1..).unwrap_or_default());
            if value.contains(&b'\t') {
                return Err("there is a second tab; write a tab in a value as \\t".to_owned());
            }
            Ok((form.decode_field(key)?, form.decode_field(value)?))
        }
        Format::Jsonl => {
            let row: In =
                serde_json::from_slice(line).map_err(|error| format!("this is no row in JSON: {error}"))?;
            let key = one_of("key", row.key, row.key_base64)?;
            let value = one_of("value", row.value, row.value_base64)?;
            Ok((key, value))
        }
    }
}

/// The one of two fields that is there.
pub fn one_of(name: &str, text: Option<String>, base64: Option<String>) -> Result<Bytes, String> {
    match (text, base64) {
        (Some(text), None) => Ok(Bytes::from(text)),
        (None, Some(base64)) => {
            base64_decode(base64.as_bytes()).ok_or_else(|| format!("{name}_base64 is not base64"))
        }
        (None, None) => Err(format!("there is no field {name:?} or \"{name}_base64\"")),
        (Some(_), Some(_)) => Err(format!("there are both {name:?} and \"{name}_base64\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_bytes_read_back_in_both_formats() {
        let key = b"a\tb\n\xff".as_slice();
        let value: Vec<u8> = (0..=255).collect();
        for format in [Format::Tsv, Format::Jsonl] {
            let mut line = Vec::new();
            write(&mut line, format, Form::default(), key, Some(&value), 7).unwrap();
            assert_eq!(line.pop(), Some(b'\n'));
            assert!(!line.contains(&b'\n'));
            let (read_key, read_value) = read(&line, format, Form::default()).unwrap();
            assert_eq!((&read_key[..], &read_value[..]), (key, &value[..]), "{format:?}");
        }
    }

    #[test]
    fn a_bad_row_says_what_is_wrong_with_it() {
        let tsv = |line: &str| read(line.as_bytes(), Format::Tsv, Form::default()).unwrap_err();
        assert!(tsv("only-a-key").contains("no tab"));
        assert!(tsv("a\tb\tc").contains("second tab"));
        assert!(tsv("a\t\\q").contains("escape"));
        let json = |line: &str| read(line.as_bytes(), Format::Jsonl, Form::default()).unwrap_err();
        assert!(json("{\"key\":\"a\"}").contains("value"));
        assert!(json("{\"key\":\"a\",\"key_base64\":\"YQ==\",\"value\":\"\"}").contains("both"));
        assert!(json("[1]").contains("no row"));
    }

    #[test]
    fn the_format_is_the_one_asked_for_else_the_one_of_the_name() {
        assert_eq!(Format::of(None, Some(Path::new("a.jsonl"))), Format::Jsonl);
        assert_eq!(Format::of(Some(Format::Tsv), Some(Path::new("a.jsonl"))), Format::Tsv);
        assert_eq!(Format::of(None, None), Format::Tsv);
    }
}
