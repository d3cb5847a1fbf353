//! Index parts in pieces: one message carries at most 8 MiB, and a part may have more.

use bytes::{Bytes, BytesMut};
use lamina_types::{Error, Reason, Result};

/// Bytes of one piece of an index part; only the last one is shorter.
pub const PIECE_BYTES: usize = 4 << 20;
/// No index part has more bytes than this: whoever claims more is not believed.
pub const PART_BYTES_MAX: u64 = 1 << 30;

/// A piece of an index part, and the bytes of the whole part.
pub type Piece = (Bytes, u64);

/// Reads a whole part, piece by piece, from the first byte to the last. The caller checks what came: its length and
/// its checksum are in the record of the table.
///
/// # Errors
/// What `read` says; `BUG` if the pieces do not fit together.
pub async fn join<F>(mut read: impl FnMut(u64) -> F) -> Result<Bytes>
where
    F: Future<Output = Result<Piece>>,
{
    let (first, part_bytes) = read(0).await?;
    if first.len() as u64 == part_bytes {
        return Ok(first);
    }
    let mut whole = BytesMut::from(first);
    while (whole.len() as u64) < part_bytes {
        let (piece, now) = read(whole.len() as u64).await?;
        if piece.is_empty() || now != part_bytes || part_bytes > PART_BYTES_MAX {
            return Err(unfit());
        }
        whole.extend_from_slice(&piece);
    }
    if whole.len() as u64 == part_bytes { Ok(whole.freeze()) } else { Err(unfit()) }
}

/// The piece of a part that begins at `offset`; empty behind its end.
pub fn piece(part: &Bytes, offset: u64) -> Bytes {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(part.len());
    let end = start.saturating_add(PIECE_BYTES).min(part.len());
    part.slice(start..end)
}

fn unfit() -> Error {
    Error::new(Reason::Bug, "the pieces of an index part do not fit together")
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn part(length: usize) -> Bytes {
        (0..length).map(|at| at as u8).collect::<Vec<_>>().into()
    }

    fn whole(part: &Bytes) -> Bytes {
        let read = |offset| std::future::ready(Ok((piece(part, offset), part.len() as u64)));
        join(read).now_or_never().unwrap().unwrap()
    }

    #[test]
    fn a_part_of_any_length_comes_back_whole() {
        for length in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 9_999_999] {
            let part = part(length);
            assert_eq!(whole(&part), part, "{length} bytes");
        }
    }

    #[test]
    fn pieces_that_do_not_fit_are_refused() {
        let part = part(2 * PIECE_BYTES);
        let grows = |offset| std::future::ready(Ok((piece(&part, offset), 10 + offset + part.len() as u64)));
        assert_eq!(join(grows).now_or_never().unwrap().unwrap_err().reason(), Reason::Bug);
        let ends = |offset| std::future::ready(Ok((piece(&part, offset), 1 + part.len() as u64)));
        assert_eq!(join(ends).now_or_never().unwrap().unwrap_err().reason(), Reason::Bug);
        let long = |_| std::future::ready(Ok((part.slice(..PIECE_BYTES), PIECE_BYTES as u64 + 1)));
        assert_eq!(join(long).now_or_never().unwrap().unwrap_err().reason(), Reason::Bug);
    }
}
