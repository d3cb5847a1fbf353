//! Index parts that come in pieces, because they do not fit into a message.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use lamina_peers::index::InstallPiece;
use lamina_peers::pieces::PART_BYTES_MAX;
use lamina_types::{Error, Reason, Result, TableId};
use parking_lot::Mutex;

/// Parts that are put together at once. One more takes the place of the one that waited longest.
const OPEN_MAX: usize = 8;

/// Parts of which pieces have come.
#[derive(Default)]
pub struct Assemblies(Mutex<Open>);

#[derive(Default)]
struct Open {
    parts: BTreeMap<TableId, Assembly>,
    clock: u64,
}

struct Assembly {
    part_bytes: u64,
    bytes: BytesMut,
    touched: u64,
}

impl Assemblies {
    /// Takes a piece; gives the part when it is whole. Two senders of one table help each other: its bytes are the
    /// same whoever sends them (invariant T1), and the part's checksum is verified when it is installed.
    ///
    /// # Errors
    /// `STATE_MOVED`: a piece before this one is missing, begin again. `FIELD_INVALID`: the piece lies outside of the
    /// part, or the part is too large.
    pub fn take(&self, piece: &InstallPiece) -> Result<Option<Bytes>> {
        let end = piece.offset.saturating_add(piece.bytes.len() as u64);
        if piece.part_bytes > PART_BYTES_MAX || end > piece.part_bytes {
            return Err(Error::new(Reason::FieldInvalid, "the piece lies outside of its index part"));
        }
        let mut open = self.0.lock();
        open.clock += 1;
        let now = open.clock;
        if open.parts.get(&piece.table).is_some_and(|known| known.part_bytes != piece.part_bytes) {
            open.parts.remove(&piece.table);
        }
        if piece.offset == 0 && !open.parts.contains_key(&piece.table) {
            open.make_room();
            let assembly = Assembly { part_bytes: piece.part_bytes, bytes: BytesMut::new(), touched: now };
            open.parts.insert(piece.table, assembly);
        }
        let gap = || {
            let why = "a piece of this index part is missing; begin again with the first";
            Error::new(Reason::StateMoved, why)
        };
        let assembly = open.parts.get_mut(&piece.table).ok_or_else(gap)?;
        assembly.touched = now;
        let known = assembly.bytes.len() as u64;
        let overlap = known.checked_sub(piece.offset).ok_or_else(gap)?;
        let fresh = usize::try_from(overlap).ok().and_then(|overlap| piece.bytes.get(overlap..));
        assembly.bytes.extend_from_slice(fresh.unwrap_or_default());
        if (assembly.bytes.len() as u64) < piece.part_bytes {
            return Ok(None);
        }
        Ok(open.parts.remove(&piece.table).map(|whole| whole.bytes.freeze()))
    }
}

impl Open {
    fn make_room(&mut self) {
        if self.parts.len() >= OPEN_MAX
            && let Some(oldest) =
                self.parts.iter().min_by_key(|(_, one)| one.touched).map(|(table, _)| *table)
        {
            self.parts.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use lamina_types::{GroupId, Reign, ShardId};

    use super::*;

    fn piece(n: u32, offset: u64, bytes: &[u8]) -> InstallPiece {
        let table = TableId { group: GroupId(1), reign: Reign(1), n };
        let bytes = Bytes::copy_from_slice(bytes);
        InstallPiece { shard: ShardId(0), table, part_bytes: 6, offset, bytes }
    }

    #[test]
    fn pieces_become_a_part_whoever_sends_them_and_however_often() {
        let open = Assemblies::default();
        assert_eq!(open.take(&piece(1, 0, b"ab")).unwrap(), None);
        assert_eq!(open.take(&piece(1, 0, b"abcd")).unwrap(), None, "another sender cuts in another way");
        assert_eq!(open.take(&piece(1, 2, b"cd")).unwrap(), None, "a piece that came before");
        assert_eq!(open.take(&piece(1, 4, b"ef")).unwrap(), Some(Bytes::from("abcdef")));
        assert_eq!(open.take(&piece(1, 4, b"ef")).unwrap_err().reason(), Reason::StateMoved);
    }

    #[test]
    fn a_gap_and_a_piece_outside_of_its_part_are_refused() {
        let open = Assemblies::default();
        assert_eq!(open.take(&piece(1, 2, b"cd")).unwrap_err().reason(), Reason::StateMoved);
        open.take(&piece(1, 0, b"a")).unwrap();
        assert_eq!(open.take(&piece(1, 2, b"cd")).unwrap_err().reason(), Reason::StateMoved);
        assert_eq!(open.take(&piece(1, 4, b"efg")).unwrap_err().reason(), Reason::FieldInvalid);
        let huge = InstallPiece { part_bytes: u64::MAX, ..piece(1, u64::MAX - 1, b"ab") };
        assert_eq!(open.take(&huge).unwrap_err().reason(), Reason::FieldInvalid);
    }

    #[test]
    fn what_waits_longest_makes_room() {
        let open = Assemblies::default();
        for n in 0..=OPEN_MAX as u32 {
            open.take(&piece(n, 0, b"ab")).unwrap();
        }
        assert_eq!(open.take(&piece(0, 2, b"cd")).unwrap_err().reason(), Reason::StateMoved);
        assert_eq!(open.take(&piece(1, 2, b"cd")).unwrap(), None);
    }
}
