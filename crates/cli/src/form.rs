//! Keys and values as they stand on a command line and in its output.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bytes::Bytes;
use clap::Args;
use lamina_workload::octets;

use crate::failure::Failure;

/// How keys and values are written, in arguments and in output.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Form {
    /// Keys and values are hexadecimal, in arguments and in output
    #[arg(long, conflicts_with = "base64")]
    pub hex: bool,
    /// Keys and values are base64, in arguments and in output
    #[arg(long)]
    pub base64: bool,
}

impl Form {
    /// Reads a key or value from an argument.
    pub fn read(self, what: &str, text: &OsStr) -> Result<Bytes, Failure> {
        self.decode(text.as_bytes())
            .map_err(|why| Failure::Usage(format!("the {what} {:?} {why}", text.to_string_lossy())))
    }

    /// Reads bytes without escapes.
    pub fn decode(self, text: &[u8]) -> Result<Bytes, String> {
        if self.hex {
            hex_decode(text).ok_or_else(|| "is not hexadecimal; two digits stand for each byte".to_owned())
        } else if self.base64 {
            base64_decode(text).ok_or_else(|| "is not base64".to_owned())
        } else {
            Ok(Bytes::copy_from_slice(text))
        }
    }

    /// Bytes as they go out alone.
    pub fn encode(self, bytes: &[u8]) -> Vec<u8> {
        if self.hex {
            hex_encode(bytes).into_bytes()
        } else if self.base64 {
            base64_encode(bytes).into_bytes()
        } else {
            bytes.to_vec()
        }
    }

    /// Bytes as they stand in a line between others.
    pub fn encode_field(self, bytes: &[u8]) -> String {
        if self.hex {
            hex_encode(bytes)
        } else if self.base64 {
            base64_encode(bytes)
        } else {
            octets::escape(bytes)
        }
    }

    /// Reads what [`Form::encode_field`] wrote.
    pub fn decode_field(self, text: &[u8]) -> Result<Bytes, String> {
        if self.hex || self.base64 {
            self.decode(text)
        } else {
            octets::unescape(text).map_err(|bad| bad.to_string())
        }
    }
}

fn hex_encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hex_decode(text: &[u8]) -> Option<Bytes> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks(2)
        .map(|pair| match pair {
            [high, low] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
            _ => None,
        })
        .collect()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 of RFC 4648, padded.
pub fn base64_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let sextet = (bits >> (18 - 6 * at)) & 63;
            let letter = ALPHABET.get(sextet as usize).map_or('=', |letter| char::from(*letter));
            out.push(if at <= chunk.len() { letter } else { '=' });
        }
    }
    out
}

/// Reads base64 of RFC 4648, padded, without line breaks. Bits that stand for nothing must be 0.
pub fn base64_decode(text: &[u8]) -> Option<Bytes> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let quads = text.len() / 4;
    for (at, quad) in text.chunks(4).enumerate() {
        let padding = quad.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || (padding > 0 && at + 1 < quads) {
            return None;
        }
        let mut bits = 0u32;
        for byte in quad.iter().take(4 - padding) {
            let sextet = ALPHABET.iter().position(|letter| letter == byte)?;
            bits = bits << 6 | sextet as u32;
        }
        bits <<= 6 * padding;
        let [_, bytes @ ..] = bits.to_be_bytes();
        let (kept, dropped) = bytes.split_at(3 - padding);
        if dropped.iter().any(|byte| *byte != 0) {
            return None;
        }
        out.extend_from_slice(kept);
    }
    Some(Bytes::from(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        // The test vectors of RFC 4648, section 10.
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in vectors {
            assert_eq!(base64_encode(plain.as_bytes()), encoded);
            assert_eq!(base64_decode(encoded.as_bytes()).unwrap(), plain);
        }
        for bad in ["Zg=", "Zg", "Z===", "Zh==", "Zg==Zg==", "Zm9\n", "====", "Zm9-"] {
            assert_eq!(base64_decode(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn every_byte_reads_back_in_every_form() {
        let all: Vec<u8> = (0..=255).collect();
        for (hex, base64) in [(false, false), (true, false), (false, true)] {
            let form = Form { hex, base64 };
            assert_eq!(form.decode_field(form.encode_field(&all).as_bytes()).unwrap(), all);
            assert_eq!(form.decode(&form.encode(&all)).unwrap(), all);
        }
        assert!(
            hex_decode(b"abc").is_none()
                && hex_decode(b"zz").is_none()
                && hex_decode("ä".as_bytes()).is_none()
        );
    }
}
