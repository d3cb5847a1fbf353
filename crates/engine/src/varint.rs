//! Varints on the hot paths: one byte is the usual case and does not leave the caller.

use lamina_types::wire::get_varint;

/// Reads a varint from the front of `bytes` and moves past it; `None` if there is none.
#[inline]
pub(crate) fn read(bytes: &mut &[u8]) -> Option<u64> {
    match bytes.split_first() {
        Some((first, rest)) if *first < 0x80 => {
            *bytes = rest;
            Some(u64::from(*first))
        }
        _ => get_varint(bytes).ok(),
    }
}

/// As [`read`], for a length or an offset.
#[inline]
pub(crate) fn read_len(bytes: &mut &[u8]) -> Option<usize> {
    read(bytes).and_then(|value| usize::try_from(value).ok())
}

/// The `index`-th little-endian `u32` of a packed array.
#[inline]
pub(crate) fn u32_at(packed: &[u8], index: usize) -> Option<u32> {
    let at = index.checked_mul(4)?;
    packed.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// How many bytes two byte strings have in common at their front.
#[inline]
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (words_a, words_b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    let mut common = 0;
    for (word_a, word_b) in words_a.iter().zip(words_b) {
        let differs = u64::from_le_bytes(*word_a) ^ u64::from_le_bytes(*word_b);
        if differs != 0 {
            return common + differs.trailing_zeros() as usize / 8;
        }
        common += 8;
    }
    let tails = a.iter().zip(b).skip(common);
    common + tails.take_while(|(a, b)| a == b).count()
}
