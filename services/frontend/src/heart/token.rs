//! Resume tokens: where a scan goes on, bound to the store and to the request that they were made for.
//!
//! Bytes: format (1), direction and kind (1), version (8), digest of store and request (8), last key, crc32 (4).
//! A token is no secret and grants nothing; the checks are against mistakes and mix-ups.

use bytes::Bytes;
use lamina_types::wire::{Reader, put_bytes};
use lamina_types::{ClusterId, Error, KeyRange, Reason, Result, Version};

const FORMAT: u8 = 1;

/// Where a scan goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resume {
    /// The version of the first page.
    pub version: Version,
    /// The last key that was seen: the next page begins behind it (before it, if the scan is in reverse).
    pub last: Bytes,
}

/// What a token must have been made for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The store.
    pub cluster: ClusterId,
    /// The keys of the whole scan.
    pub range: &'a KeyRange,
    /// From the last key to the first.
    pub reverse: bool,
}

impl Request<'_> {
    fn digest(&self) -> u64 {
        let mut bytes = self.cluster.0.to_le_bytes().to_vec();
        bytes.push(u8::from(self.reverse));
        put_bytes(&mut bytes, &self.range.start);
        bytes.push(u8::from(self.range.end.is_some()));
        put_bytes(&mut bytes, self.range.end.as_deref().unwrap_or_default());
        lamina_engine::key_hash(&bytes)
    }
}

/// Makes a token.
pub fn encode(request: &Request<'_>, resume: &Resume) -> Bytes {
    let mut out = vec![FORMAT];
    out.extend_from_slice(&resume.version.0.to_le_bytes());
    out.extend_from_slice(&request.digest().to_le_bytes());
    put_bytes(&mut out, &resume.last);
    let check = lamina_engine::key_hash(&out) as u32;
    out.extend_from_slice(&check.to_le_bytes());
    Bytes::from(out)
}

/// Reads a token.
///
/// # Errors
/// `TOKEN_INVALID`: it is damaged, or was made for another store or another scan.
pub fn decode(request: &Request<'_>, token: &Bytes) -> Result<Resume> {
    let invalid = |why: &str| {
        Error::new(Reason::TokenInvalid, format!("the resume token {why}; start the scan again without it"))
    };
    let damaged = || invalid("is damaged");
    let (covered, check) = token.split_last_chunk::<4>().ok_or_else(damaged)?;
    if lamina_engine::key_hash(covered) as u32 != u32::from_le_bytes(*check) {
        return Err(damaged());
    }
    let mut reader = Reader::new(token.slice(..covered.len()));
    if reader.u8().map_err(|_| damaged())? != FORMAT {
        return Err(invalid("was made by another version of Lamina"));
    }
    let version = Version(reader.u64().map_err(|_| damaged())?);
    let digest = reader.u64().map_err(|_| damaged())?;
    let last = reader.bytes().map_err(|_| damaged())?;
    reader.end().map_err(|_| damaged())?;
    if digest != request.digest() {
        return Err(invalid("was made for another scan or another store"));
    }
    Ok(Resume { version, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_on_where_it_was_made_and_nowhere_else() {
        let range = KeyRange::prefix("a");
        let here = Request { cluster: ClusterId(1), range: &range, reverse: false };
        let resume = Resume { version: Version(77), last: Bytes::from_static(b"abc") };
        let token = encode(&here, &resume);
        assert_eq!(decode(&here, &token).unwrap(), resume);
        let elsewhere = Request { cluster: ClusterId(2), ..here };
        let backward = Request { reverse: true, ..here };
        for other in [elsewhere, backward] {
            assert_eq!(decode(&other, &token).unwrap_err().reason(), Reason::TokenInvalid);
        }
        for at in 0..token.len() {
            let mut forged = token.to_vec();
            forged[at] ^= 0x10;
            assert_eq!(decode(&here, &Bytes::from(forged)).unwrap_err().reason(), Reason::TokenInvalid);
            assert!(decode(&here, &token.slice(..at)).is_err());
        }
    }
}
