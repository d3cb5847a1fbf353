//! Bloom filters, classic form: one bit array, `probes` bits per key by double hashing (Kirsch and Mitzenmacher,
//! "Less Hashing, Same Performance", 2006).

use bytes::{BufMut, Bytes};

use crate::varint;

/// number of probes u8, number of bits u32.
const HEAD_BYTES: usize = 1 + 4;

#[derive(Clone, Debug)]
pub(super) struct Bloom {
    probes: u8,
    bits: u32,
    array: Bytes,
}

/// Appends a filter over the hashes.
pub(super) fn build(bits_per_key: u8, hashes: &[u64], out: &mut Vec<u8>) {
    let per_key = usize::from(bits_per_key.clamp(1, 64));
    // The number of probes with the fewest false positives: bits per key × ln 2.
    let probes = (per_key * 69 / 100).clamp(1, 30) as u8;
    let bytes = (hashes.len() * per_key).div_ceil(8).clamp(8, u32::MAX as usize / 8);
    let bits = (bytes * 8) as u32;
    out.put_u8(probes);
    out.put_u32_le(bits);
    let start = out.len();
    out.resize(start + bytes, 0);
    let Some(array) = out.get_mut(start..) else { return };
    for hash in hashes {
        for bit in places(*hash, probes, bits) {
            if let Some(byte) = array.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }
}

impl Bloom {
    pub(super) fn parse(body: Bytes) -> Result<Bloom, &'static str> {
        let bad = "the shape of the Bloom filter is impossible";
        let (probes, rest) = body.split_first().ok_or(bad)?;
        let bits = varint::u32_at(rest, 0).ok_or(bad)?;
        let array = body.slice(HEAD_BYTES..);
        if *probes == 0 || *probes > 30 || bits == 0 || u64::from(bits) != 8 * array.len() as u64 {
            return Err(bad);
        }
        Ok(Bloom { probes: *probes, bits, array })
    }

    #[inline]
    pub(super) fn contains(&self, hash: u64) -> bool {
        places(hash, self.probes, self.bits)
            .all(|bit| self.array.get(bit / 8).is_none_or(|byte| byte & (1 << (bit % 8)) != 0))
    }
}

/// The bits of a hash: `probes` steps of an odd width through the 64-bit ring, each scaled down to the array.
#[inline]
fn places(hash: u64, probes: u8, bits: u32) -> impl Iterator<Item = usize> {
    let step = hash.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut at = hash;
    (0..probes).map(move |_| {
        let bit = ((u128::from(at) * u128::from(bits)) >> 64) as usize;
        at = at.wrapping_add(step);
        bit
    })
}
