//! What was called on a store, what was answered, and in which order: the input of every checker.
//!
//! Moments are numbers that only rise, taken right before a call and right after its answer. An operation came
//! before another one if it ended before the other began; all else is concurrent.
//!
//! Checkers tell writes of one key apart by their versions, and writes of unknown outcome by their values: give every
//! write of a test a value of its own.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::octets::Octets;

/// One call with its answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Operation {
    /// Who called. The calls of one session follow each other.
    pub session: u64,
    /// When it was called.
    pub begin: u64,
    /// When it was answered; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
    /// What was called.
    pub call: Call,
    /// What was answered.
    pub answer: Answer,
}

/// What was called.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// An atomic write.
    Write {
        /// Its operations, on different keys.
        items: Vec<Item>,
    },
    /// A read of the newest value.
    Get {
        /// The key.
        key: Octets,
    },
    /// A read of a range at one version.
    Scan {
        /// The first key that may be in the answer.
        from: Octets,
        /// The first key behind the range; `None`: no end.
        to: Option<Octets>,
        /// From the last key to the first.
        #[serde(default)]
        reverse: bool,
        /// Rows at most.
        #[serde(default)]
        limit: Option<u64>,
    },
}

/// One operation of a write.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Item {
    /// The key.
    pub key: Octets,
    /// The value; `None`: the key is deleted.
    pub value: Option<Octets>,
    /// The value may be absent again later, because it has a time to live.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expires: bool,
}

/// What was answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Nothing certain. A write may have been done, may yet be done, or not.
    Unknown,
    /// A write was certainly not done; a read brought nothing.
    Refused,
    /// A write was done.
    Written {
        /// Its version.
        version: u64,
    },
    /// A get was answered.
    Got {
        /// What the key had.
        found: Option<Seen>,
        /// The version at which was read.
        read_at: u64,
    },
    /// A scan was answered to its end, or to its limit.
    Rows {
        /// The rows in the order in which they came.
        rows: Vec<SeenRow>,
        /// The version at which was read.
        read_at: u64,
    },
}

/// A value that was read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// The value.
    pub value: Octets,
    /// The version of its write.
    pub version: u64,
}

/// A row of a scan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SeenRow {
    /// The key.
    pub key: Octets,
    /// The value; `None` if only keys were asked for.
    pub value: Option<Octets>,
    /// The version of its write.
    pub version: u64,
}

impl Item {
    /// The key gets this value.
    pub fn put(key: impl Into<Octets>, value: impl Into<Octets>) -> Item {
        Item { key: key.into(), value: Some(value.into()), expires: false }
    }

    /// The key becomes absent.
    pub fn delete(key: impl Into<Octets>) -> Item {
        Item { key: key.into(), value: None, expires: false }
    }
}

/// Writes a history, one operation in JSON on each line.
///
/// # Errors
/// What `out` says.
pub fn write_lines(operations: &[Operation], mut out: impl Write) -> io::Result<()> {
    for operation in operations {
        serde_json::to_writer(&mut out, operation)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Reads what [`write_lines`] wrote. Empty lines are skipped.
///
/// # Errors
/// What `input` says, or `InvalidData` with the number of the line.
pub fn read_lines(input: impl BufRead) -> io::Result<Vec<Operation>> {
    let mut operations = Vec::new();
    for (number, line) in input.lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let operation = serde_json::from_str(&line).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {error}", number + 1))
        })?;
        operations.push(operation);
    }
    Ok(operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_reads_back_from_its_lines() {
        let history = vec![
            Operation {
                session: 1,
                begin: 1,
                end: Some(4),
                call: Call::Write { items: vec![Item::put("a\tb", &b"\xff"[..]), Item::delete("c")] },
                answer: Answer::Written { version: u64::MAX },
            },
            Operation {
                session: 2,
                begin: 2,
                end: None,
                call: Call::Scan { from: "".into(), to: None, reverse: true, limit: Some(3) },
                answer: Answer::Unknown,
            },
        ];
        let mut text = Vec::new();
        write_lines(&history, &mut text).unwrap();
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 2);
        assert_eq!(read_lines(&text[..]).unwrap(), history);
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let error = read_lines(&b"\n{}\n"[..]).unwrap_err();
        assert!(error.to_string().starts_with("line 2:"), "{error}");
    }
}
