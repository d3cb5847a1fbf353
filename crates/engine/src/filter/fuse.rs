//! Binary fuse filters (Graf and Lemire, "Binary Fuse Filters: Fast and Smaller Than Xor Filters", 2022).
//!
//! `xorf` finds the fingerprints; the probe and the bytes are ours, so that what is stored does not hang on the
//! inner form of a library.

use bytes::{BufMut, Bytes};
use xorf::{BinaryFuse8, BinaryFuse16};

use crate::varint;

/// seed u64, segment length u32, number of first positions u32.
const HEAD_BYTES: usize = 8 + 4 + 4;

#[derive(Clone, Debug)]
pub(super) struct Fuse {
    seed: u64,
    segment_length: u32,
    first_positions: u32,
    fingerprints: Bytes,
}

/// Appends a filter over distinct hashes; `false` (with bytes of no meaning appended) if none could be built.
pub(super) fn build8(hashes: &[u64], out: &mut Vec<u8>) -> bool {
    let Ok(filter) = BinaryFuse8::try_from(hashes) else { return false };
    let shape = &filter.descriptor;
    put_head(out, shape.seed, shape.segment_length, shape.segment_count_length);
    out.extend_from_slice(&filter.fingerprints);
    true
}

/// As [`build8`], with fingerprints of two bytes.
pub(super) fn build16(hashes: &[u64], out: &mut Vec<u8>) -> bool {
    let Ok(filter) = BinaryFuse16::try_from(hashes) else { return false };
    let shape = &filter.descriptor;
    put_head(out, shape.seed, shape.segment_length, shape.segment_count_length);
    out.reserve(2 * filter.fingerprints.len());
    for fingerprint in &filter.fingerprints {
        out.put_u16_le(*fingerprint);
    }
    true
}

fn put_head(out: &mut Vec<u8>, seed: u64, segment_length: u32, first_positions: u32) {
    out.put_u64_le(seed);
    out.put_u32_le(segment_length);
    out.put_u32_le(first_positions);
}

impl Fuse {
    pub(super) fn parse(body: Bytes, fingerprint_bytes: usize) -> Result<Fuse, &'static str> {
        let bad = "the shape of the fuse filter is impossible";
        let (seed, shape) = body.split_first_chunk::<8>().ok_or(bad)?;
        let seed = u64::from_le_bytes(*seed);
        let segment_length = varint::u32_at(shape, 0).ok_or(bad)?;
        let first_positions = varint::u32_at(shape, 1).ok_or(bad)?;
        let fingerprints = body.slice(HEAD_BYTES..);
        // A probe goes to one position below `first_positions` and to one in each of the two segments after its own.
        let positions = u64::from(first_positions) + 2 * u64::from(segment_length);
        let whole = segment_length.is_power_of_two() && first_positions.is_multiple_of(segment_length);
        if !whole || positions * fingerprint_bytes as u64 != fingerprints.len() as u64 {
            return Err(bad);
        }
        Ok(Fuse { seed, segment_length, first_positions, fingerprints })
    }

    #[inline]
    pub(super) fn contains8(&self, key: u64) -> bool {
        let (fingerprint, places) = self.probe(key);
        let found =
            places.iter().fold(0, |sum, place| sum ^ self.fingerprints.get(*place).copied().unwrap_or(0));
        found == fingerprint as u8
    }

    #[inline]
    pub(super) fn contains16(&self, key: u64) -> bool {
        let (fingerprint, places) = self.probe(key);
        let at =
            |place: usize| self.fingerprints.get(2 * place..)?.first_chunk().copied().map(u16::from_le_bytes);
        let found = places.iter().fold(0, |sum, place| sum ^ at(*place).unwrap_or(0));
        found == fingerprint as u16
    }

    /// The fingerprint of a key and the three places whose exclusive or has to give it.
    #[inline]
    fn probe(&self, key: u64) -> (u64, [usize; 3]) {
        let hash = mix(key.wrapping_add(self.seed));
        let mask = self.segment_length.wrapping_sub(1);
        let first = ((u128::from(hash) * u128::from(self.first_positions)) >> 64) as u32;
        let second = first.wrapping_add(self.segment_length);
        let third = second.wrapping_add(self.segment_length);
        let second = second ^ ((hash >> 18) as u32 & mask);
        let third = third ^ (hash as u32 & mask);
        (hash ^ (hash >> 32), [first as usize, second as usize, third as usize])
    }
}

/// The finalizer of MurmurHash3 (64 bits).
#[inline]
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
