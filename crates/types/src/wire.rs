//! Small readers and writers for the formats that we write by hand: fixed little-endian numbers, LEB128
//! varints, and byte strings with their length before them.
//!
//! A [`Reader`] over [`Bytes`] hands out slices of the buffer without copying. It never panics and never
//! allocates by a length that it has not checked against what is there.

use bytes::{Buf, BufMut, Bytes};

/// Bytes that do not have the form they should have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// There are fewer bytes than the form needs.
    #[error("the bytes end too early")]
    Truncated,
    /// A varint of more than ten bytes, or above 64 bits.
    #[error("a varint is too long")]
    Varint,
    /// There are bytes behind the end of the form.
    #[error("there are bytes behind the end")]
    Trailing,
    /// A tag or a flag has no meaning.
    #[error("an unknown tag")]
    Tag,
}

/// Appends `value` as a LEB128 varint of 1 to 10 bytes.
pub fn put_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Appends the length of `bytes` as a varint, then `bytes`.
pub fn put_bytes(out: &mut impl BufMut, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.put_slice(bytes);
}

/// The bytes that [`put_varint`] takes for `value`.
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Reads a varint from the front of `bytes` and moves past it.
pub fn get_varint(bytes: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(WireError::Truncated)?;
        *bytes = rest;
        let part = u64::from(first & 0x7f);
        if shift == 63 && part > 1 {
            return Err(WireError::Varint);
        }
        value |= part << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(WireError::Varint)
}

/// Reads a byte string as [`put_bytes`] wrote it and moves past it.
pub fn get_slice<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], WireError> {
    let length = usize::try_from(get_varint(bytes)?).map_err(|_| WireError::Truncated)?;
    let (head, rest) = bytes.split_at_checked(length).ok_or(WireError::Truncated)?;
    *bytes = rest;
    Ok(head)
}

/// Reads from the front of a shared buffer.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
}

impl Reader {
    /// Reads from the first byte of `bytes`.
    pub fn new(bytes: Bytes) -> Reader {
        Reader { bytes }
    }

    /// The bytes that are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.fixed().map(|[byte]| byte)
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        self.fixed().map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.fixed().map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, WireError> {
        self.fixed().map(u64::from_le_bytes)
    }

    /// Sixteen bytes, little-endian.
    pub fn u128(&mut self) -> Result<u128, WireError> {
        self.fixed().map(u128::from_le_bytes)
    }

    /// A varint.
    pub fn varint(&mut self) -> Result<u64, WireError> {
        let mut slice = self.bytes.as_ref();
        let before = slice.len();
        let value = get_varint(&mut slice)?;
        let used = before - slice.len();
        self.bytes.advance(used);
        Ok(value)
    }

    /// A byte string with its length before it: a slice of the buffer, not a copy.
    pub fn bytes(&mut self) -> Result<Bytes, WireError> {
        let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
        self.take(length)
    }

    /// The next `length` bytes: a slice of the buffer, not a copy.
    pub fn take(&mut self, length: usize) -> Result<Bytes, WireError> {
        if length > self.bytes.len() {
            return Err(WireError::Truncated);
        }
        Ok(self.bytes.split_to(length))
    }

    /// Says that the form ends here.
    pub fn end(self) -> Result<(), WireError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(WireError::Trailing) }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let head = self.bytes.first_chunk::<N>().copied().ok_or(WireError::Truncated)?;
        self.bytes.advance(N);
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_put_is_what_is_read(numbers in prop::collection::vec(any::<u64>(), 0..20), text in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            for number in &numbers {
                let before = out.len();
                put_varint(&mut out, *number);
                prop_assert_eq!(out.len() - before, varint_len(*number));
            }
            put_bytes(&mut out, &text);
            let mut reader = Reader::new(Bytes::from(out));
            for number in &numbers {
                prop_assert_eq!(reader.varint(), Ok(*number));
            }
            let read = reader.bytes().unwrap();
            prop_assert_eq!(read.as_ref(), text.as_slice());
            prop_assert_eq!(reader.end(), Ok(()));
        }

        #[test]
        fn random_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let mut reader = Reader::new(Bytes::from(bytes));
            while reader.varint().is_ok() && reader.bytes().is_ok() && reader.u64().is_ok() {}
        }
    }

    #[test]
    fn a_varint_above_64_bits_is_refused() {
        assert_eq!(get_varint(&mut &[0xff; 10][..]), Err(WireError::Varint));
        assert_eq!(get_varint(&mut &[0x80; 11][..]), Err(WireError::Varint));
        assert_eq!(get_varint(&mut &[0x80; 3][..]), Err(WireError::Truncated));
    }
}
