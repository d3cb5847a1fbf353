//! The whole state as bytes (`docs/formats/meta.md`): for checkpoints and for replicas that are far behind.

use std::sync::Arc;

use bytes::Bytes;

use super::entry::{read_tagged, write_tagged};
use super::state::MetaState;
use super::stop::MetaStop;

/// The format of the state, written before it: bound to the level of the store.
pub const STATE_FORMAT: u16 = 1;
/// A piece has at most this many bytes.
const CHUNK_BYTES: usize = 256 << 10;
const WHAT: &str = "the state of the meta group";

/// An immutable picture of the state.
#[derive(Clone, Debug)]
pub struct FrozenMeta {
    state: Arc<MetaState>,
}

impl FrozenMeta {
    pub(super) fn new(state: Arc<MetaState>) -> FrozenMeta {
        FrozenMeta { state }
    }

    /// The picture in pieces of at most 256 KiB, in order. A picture of no pieces cannot be read back: the encoder
    /// refused the state, which it never does for its types.
    pub fn chunks(&self) -> impl Iterator<Item = Bytes> + Send + use<> {
        let mut rest = write_tagged(WHAT, STATE_FORMAT, self.state.as_ref()).unwrap_or_default();
        std::iter::from_fn(move || {
            let take = rest.len().min(CHUNK_BYTES);
            (take > 0).then(|| rest.split_to(take))
        })
    }
}

/// Reads a picture back.
pub(super) fn read(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<MetaState, MetaStop> {
    let mut whole = Vec::new();
    chunks.for_each(|chunk| whole.extend_from_slice(&chunk));
    let state: MetaState = read_tagged(WHAT, STATE_FORMAT, &whole)?;
    if state.level > lamina_types::Level::HIGHEST {
        return Err(MetaStop::Level { to: state.level.0, highest: lamina_types::Level::HIGHEST.0 });
    }
    Ok(state)
}
