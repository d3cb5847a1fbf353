//! Compression of single blocks.

use std::cell::RefCell;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// How the payload of a stored block is compressed. Each block names its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Codec {
    /// As it is.
    None,
    /// LZ4 block format: fast, for the upper levels.
    #[default]
    Lz4,
    /// Zstandard: smaller, for the last level.
    Zstd,
}

/// Measured on 16 KiB blocks, levels above 1 cost half the speed and bring almost nothing.
const ZSTD_LEVEL: i32 = 1;

impl Codec {
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Lz4 => 1,
            Codec::Zstd => 2,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Codec> {
        match byte {
            0 => Some(Codec::None),
            1 => Some(Codec::Lz4),
            2 => Some(Codec::Zstd),
            _ => None,
        }
    }
}

/// Compresses one block after the other and keeps what the codec wants to keep in between.
pub(crate) struct Compressor {
    codec: Codec,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Compressor {
    pub(crate) fn new(codec: Codec) -> Compressor {
        let zstd = (codec == Codec::Zstd).then(|| zstd::bulk::Compressor::new(ZSTD_LEVEL).ok()).flatten();
        Compressor { codec, zstd }
    }

    /// The payload for `raw` and the codec that it really has: a block that does not get an eighth smaller is
    /// stored as it is, because reading it is then free.
    pub(crate) fn compress(&mut self, raw: &[u8], room: usize) -> (Vec<u8>, Codec) {
        let mut out = Vec::new();
        let length = match (self.codec, &mut self.zstd) {
            (Codec::Lz4, _) => {
                out.resize(lz4_flex::block::get_maximum_output_size(raw.len()) + room, 0);
                lz4_flex::block::compress_into(raw, &mut out).ok()
            }
            (Codec::Zstd, Some(zstd)) => {
                out.resize(zstd::zstd_safe::compress_bound(raw.len()) + room, 0);
                zstd.compress_to_buffer(raw, out.as_mut_slice()).ok()
            }
            _ => None,
        };
        match length {
            Some(length) if length < raw.len() - raw.len() / 8 => {
                out.truncate(length);
                (out, self.codec)
            }
            _ => {
                out.clear();
                out.reserve(raw.len() + room);
                out.extend_from_slice(raw);
                (out, Codec::None)
            }
        }
    }
}

/// The `raw_bytes` bytes that `payload` was made of. The caller has bounded `raw_bytes`.
pub(crate) fn decompress(codec: Codec, payload: &[u8], raw_bytes: usize) -> Result<Bytes, &'static str> {
    let mut raw = vec![0; raw_bytes];
    let length = match codec {
        Codec::None => return Ok(Bytes::copy_from_slice(payload)),
        Codec::Lz4 => lz4_flex::block::decompress_into(payload, &mut raw).ok(),
        Codec::Zstd => zstd_decompress(payload, &mut raw),
    };
    match length {
        Some(length) if length == raw_bytes => Ok(Bytes::from(raw)),
        _ => Err("the block does not decompress"),
    }
}

/// A context is large and reusable, so each thread keeps one.
fn zstd_decompress(payload: &[u8], raw: &mut [u8]) -> Option<usize> {
    thread_local! {
        static CONTEXT: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
    }
    CONTEXT.with_borrow_mut(|context| {
        if context.is_none() {
            *context = zstd::bulk::Decompressor::new().ok();
        }
        context.as_mut()?.decompress_to_buffer(payload, raw).ok()
    })
}
