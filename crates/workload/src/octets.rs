//! Bytes as text and back, without loss: printable UTF-8 stays as it is, the rest is escaped.
//!
//! `\t`, `\n`, `\r` and `\\` stand for themselves, every other byte that cannot be shown is `\xNN`.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A key or a value in a history.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Octets(pub Bytes);

/// A text that is not what [`escape`] writes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the escape at byte {at} is none of \\t \\n \\r \\\\ \\xNN")]
pub struct BadEscape {
    /// Where the backslash stands.
    pub at: usize,
}

/// Writes bytes as text on one line, without a tab.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => out.push_str("\\t"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\\' => out.push_str("\\\\"),
                c if c.is_control() => {
                    let mut utf8 = [0; 4];
                    c.encode_utf8(&mut utf8).bytes().for_each(|byte| push_hex(&mut out, byte));
                }
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| push_hex(&mut out, *byte));
    }
    out
}

/// Reads what [`escape`] wrote. Bytes without a backslash stand for themselves, whatever they are.
///
/// # Errors
/// A backslash begins no escape.
pub fn unescape(text: &[u8]) -> Result<Bytes, BadEscape> {
    if !text.contains(&b'\\') {
        return Ok(Bytes::copy_from_slice(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let bad = BadEscape { at };
        match bytes.next().map(|(_, byte)| byte) {
            Some(b't') => out.push(b'\t'),
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b'\\') => out.push(b'\\'),
            Some(b'x') => {
                let mut digit = || bytes.next().and_then(|(_, byte)| char::from(byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else { return Err(bad) };
                out.push((high * 16 + low) as u8);
            }
            _ => return Err(bad),
        }
    }
    Ok(Bytes::from(out))
}

fn push_hex(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push_str("\\x");
    for nibble in [byte >> 4, byte & 15] {
        out.push(DIGITS.get(usize::from(nibble)).map_or('?', |digit| char::from(*digit)));
    }
}

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl<T: Into<Bytes>> From<T> for Octets {
    fn from(bytes: T) -> Octets {
        Octets(bytes.into())
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Octets, D::Error> {
        let text = String::deserialize(deserializer)?;
        unescape(text.as_bytes()).map(Octets).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_stays_readable_and_the_rest_is_escaped() {
        assert_eq!(escape("größe\t1\n\\".as_bytes()), "größe\\t1\\n\\\\");
        assert_eq!(escape(&[0, 0xff, b'a', 0x7f]), "\\x00\\xffa\\x7f");
    }

    #[test]
    fn a_backslash_that_begins_no_escape_is_refused_with_its_place() {
        for bad in ["ab\\", "ab\\q", "ab\\x1", "ab\\xg0"] {
            assert_eq!(unescape(bad.as_bytes()), Err(BadEscape { at: 2 }), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_string_of_bytes_reads_back(bytes: Vec<u8>) {
            let text = escape(&bytes);
            prop_assert!(!text.contains(['\t', '\n', '\r']));
            prop_assert_eq!(unescape(text.as_bytes()).unwrap(), bytes);
        }
    }
}
