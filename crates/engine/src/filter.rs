//! Filters: is a key surely not in a table? Byte format: `docs/formats/filter.md`.
//!
//! A filter knows 64-bit hashes of whole keys, without versions ([`key_hash`]), so that a reader hashes a key once
//! and asks the filters of all candidate tables. It lives as a slice of the index part and is probed where it lies.
//! Binary fuse filters ([`fuse`], built by `xorf`) are smallest and fastest to ask; [`bloom`] is the fallback.

mod bloom;
mod fuse;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What filter a table gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum FilterKind {
    /// None: every table of the run is asked.
    None,
    /// Binary fuse filter with 8-bit fingerprints: about 9.1 bits per key, 0.4 % false positives.
    #[default]
    Fuse8,
    /// Binary fuse filter with 16-bit fingerprints: about 18.2 bits per key, 0.0015 % false positives. For the
    /// upper runs, which have few keys.
    Fuse16,
    /// Bloom filter: building it takes no memory beside the filter itself and cannot fail. 10 bits per key give about
    /// 0.9 % false positives.
    Bloom {
        /// 1 to 64.
        bits_per_key: u8,
    },
}

/// The hash of a key that all filters are built of and asked with: XXH3, 64 bits, seed 0, over the whole key
/// (keyspace included, version not).
#[inline]
pub fn key_hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

/// A filter as it lies in an index part. A clone shares the bytes.
#[derive(Clone, Debug)]
pub struct Filter(Form);

#[derive(Clone, Debug)]
enum Form {
    /// Says "maybe" to every key.
    None,
    Fuse8(fuse::Fuse),
    Fuse16(fuse::Fuse),
    Bloom(bloom::Bloom),
}

const TAG_NONE: u8 = 0;
const TAG_FUSE8: u8 = 1;
const TAG_FUSE16: u8 = 2;
const TAG_BLOOM: u8 = 3;

/// The Bloom filter that stands in for a fuse filter which cannot be built (about 0.4 % false positives).
const FALLBACK_BITS_PER_KEY: u8 = 12;

impl Filter {
    /// The stored form of a filter of this kind over the hashes, which are sorted and made distinct here.
    ///
    /// Building a fuse filter fails, with a probability that is practically zero, after a thousand seeds; a Bloom
    /// filter takes its place then, so building always succeeds. The same hashes give the same bytes.
    pub fn build(kind: FilterKind, hashes: &mut Vec<u64>) -> Vec<u8> {
        hashes.sort_unstable();
        hashes.dedup();
        let mut out = Vec::new();
        let built = match kind {
            FilterKind::None => {
                out.push(TAG_NONE);
                true
            }
            FilterKind::Fuse8 => {
                out.push(TAG_FUSE8);
                !hashes.is_empty() && fuse::build8(hashes, &mut out)
            }
            FilterKind::Fuse16 => {
                out.push(TAG_FUSE16);
                !hashes.is_empty() && fuse::build16(hashes, &mut out)
            }
            FilterKind::Bloom { bits_per_key } => {
                out.push(TAG_BLOOM);
                bloom::build(bits_per_key, hashes, &mut out);
                true
            }
        };
        if !built {
            out.clear();
            out.push(TAG_BLOOM);
            bloom::build(FALLBACK_BITS_PER_KEY, hashes, &mut out);
        }
        out
    }

    /// Reads a stored filter without copying it. The caller has verified a checksum over the bytes; what is
    /// checked here makes every probe stay inside of them.
    pub fn parse(bytes: Bytes) -> Result<Filter, &'static str> {
        let tag = *bytes.first().ok_or("the filter is empty")?;
        let body = bytes.slice(1..);
        Ok(Filter(match tag {
            TAG_NONE if body.is_empty() => Form::None,
            TAG_FUSE8 => Form::Fuse8(fuse::Fuse::parse(body, 1)?),
            TAG_FUSE16 => Form::Fuse16(fuse::Fuse::parse(body, 2)?),
            TAG_BLOOM => Form::Bloom(bloom::Bloom::parse(body)?),
            _ => return Err("the kind of the filter is unknown"),
        }))
    }

    /// Whether a key with this hash may be in the table; `false` is certain.
    #[inline]
    pub fn may_contain(&self, hash: u64) -> bool {
        match &self.0 {
            Form::None => true,
            Form::Fuse8(fuse) => fuse.contains8(hash),
            Form::Fuse16(fuse) => fuse.contains16(hash),
            Form::Bloom(bloom) => bloom.contains(hash),
        }
    }

    /// The name of what was really built, for reports.
    pub fn name(&self) -> &'static str {
        match &self.0 {
            Form::None => "none",
            Form::Fuse8(_) => "fuse8",
            Form::Fuse16(_) => "fuse16",
            Form::Bloom(_) => "bloom",
        }
    }
}
