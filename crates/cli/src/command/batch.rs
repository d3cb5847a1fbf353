//! `batch`: several operations, all or none.

use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use lamina_client::{Batch, Expected, Version};
use lamina_types::limits::BATCH_BYTES_MAX;
use serde::Deserialize;

use crate::args::{BatchArgs, StoreArgs};
use crate::command::keys;
use crate::failure::Failure;
use crate::figures::parse_duration;
use crate::form::Form;
use crate::{output, rows};

/// A batch that fits has no more text than this, whatever its escapes.
const TEXT_BYTES_MAX: u64 = 8 * BATCH_BYTES_MAX as u64;

pub async fn batch(store: &StoreArgs, args: BatchArgs) -> Result<(), Failure> {
    let text = lamina_env::task::compute(|| {
        let (input, _) = output::input(Path::new("-"))?;
        let mut text = Vec::new();
        let read = input.take(TEXT_BYTES_MAX + 1).read_to_end(&mut text);
        read.map_err(|error| Failure::io("read standard input", &error))?;
        Ok::<_, Failure>(text)
    });
    let text = text.await.map_err(|error| Failure::Local(error.to_string()))??;
    if text.len() as u64 > TEXT_BYTES_MAX {
        let why =
            "the batch is too long; it has at most 1000 operations and 4 MiB: cut it, or use `lamina import`";
        return Err(Failure::Usage(why.to_owned()));
    }
    keys::write(store, parse(&text, args.form)?, args.output).await
}

fn parse(text: &[u8], form: Form) -> Result<Batch, Failure> {
    let mut batch = Batch::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() {
            continue;
        }
        let parsed = if line.trim_ascii_start().starts_with(b"{") {
            from_json(batch, line)
        } else {
            from_words(batch, line, form)
        };
        batch = parsed.map_err(|why| Failure::Usage(format!("line {} of the batch: {why}", number + 1)))?;
    }
    Ok(batch)
}

const FORMS: &str =
    "there are put KEY VALUE, delete KEY, if-absent KEY, if-present KEY, if-version KEY VERSION";

/// Fields stand apart by tabs, or, in a line without any, by single spaces; a value may hold further spaces.
fn from_words(batch: Batch, line: &[u8], form: Form) -> Result<Batch, String> {
    let mark = if line.contains(&b'\t') { b'\t' } else { b' ' };
    let mut fields = line.splitn(3, |byte| *byte == mark);
    let word = fields.next().unwrap_or_default();
    let key = match fields.next() {
        Some(key) => form.decode_field(key).map_err(|why| format!("the key: {why}"))?,
        None => return Err(format!("there is no key; {FORMS}")),
    };
    match (word, fields.next()) {
        (b"put", Some(value)) => {
            Ok(batch.put(key, form.decode_field(value).map_err(|why| format!("the value: {why}"))?))
        }
        (b"put", None) => Err("there is no value to put".to_owned()),
        (b"delete", None) => Ok(batch.delete(key)),
        (b"if-absent", None) => Ok(batch.only_if(key, Expected::Absent)),
        (b"if-present", None) => Ok(batch.only_if(key, Expected::Present)),
        (b"if-version", Some(version)) => {
            let version = std::str::from_utf8(version).ok().and_then(|text| text.trim().parse().ok());
            let version = version.ok_or("the version is no number")?;
            Ok(batch.only_if(key, Expected::Version(Version(version))))
        }
        (b"delete" | b"if-absent" | b"if-present", Some(_)) => {
            Err("there is something behind the key; separate fields by tabs if a key holds spaces".to_owned())
        }
        _ => Err(format!("no such operation; {FORMS}")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonLine {
    op: String,
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    ttl: Option<String>,
    version: Option<u64>,
}

fn from_json(batch: Batch, line: &[u8]) -> Result<Batch, String> {
    let line: JsonLine = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let key: Bytes = rows::one_of("key", line.key, line.key_base64)?;
    match line.op.as_str() {
        "put" => {
            let value = rows::one_of("value", line.value, line.value_base64)?;
            match line.ttl {
                Some(ttl) => Ok(batch.put_for(key, value, parse_duration(&ttl)?)),
                None => Ok(batch.put(key, value)),
            }
        }
        "delete" => Ok(batch.delete(key)),
        "if-absent" => Ok(batch.only_if(key, Expected::Absent)),
        "if-present" => Ok(batch.only_if(key, Expected::Present)),
        "if-version" => {
            let version = line.version.ok_or("there is no field \"version\"")?;
            Ok(batch.only_if(key, Expected::Version(Version(version))))
        }
        other => Err(format!("no such operation: {other:?}; {FORMS}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Batch, String> {
        parse(text.as_bytes(), Form::default()).map_err(|failure| failure.line().unwrap_or_default())
    }

    #[test]
    fn words_and_json_mean_the_same() {
        let words =
            parsed("put a 1 with spaces\ndelete\tb c\n\nif-absent d\nif-version e 7\r\nput\tf\t\\x00\n")
                .unwrap();
        let json = parsed(
            r#"{"op":"put","key":"a","value":"1 with spaces"}
               {"op":"delete","key":"b c"}
               {"op":"if-absent","key":"d"}
               {"op":"if-version","key":"e","version":7}
               {"op":"put","key":"f","value_base64":"AA=="}"#,
        );
        assert_eq!(format!("{words:?}"), format!("{:?}", json.unwrap()));
        assert_eq!(words.len(), 3);
    }

    #[test]
    fn a_line_that_is_no_operation_is_named_by_its_number() {
        let cases = [
            ("put a 1\nput b", "line 2 of the batch: there is no value"),
            ("frobnicate a", "line 1 of the batch: no such operation"),
            ("put", "there is no key"),
            ("delete a b", "separate fields by tabs"),
            ("if-version a x", "no number"),
            ("put a \\q", "the value: the escape"),
            ("{\"op\":\"put\",\"key\":\"a\",\"value\":\"b\",\"ttl\":\"10y\"}", "a time reads"),
            ("{\"op\":\"put\",\"key\":\"a\",\"valeu\":\"b\"}", "unknown field"),
        ];
        for (text, expected) in cases {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
