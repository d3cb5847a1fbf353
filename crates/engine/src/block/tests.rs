use proptest::prelude::*;

use super::builder::BlockBuilder;
use super::codec::Codec;
use super::*;
use crate::cursor::EntryRef;
use crate::samples::{self, check_moves, entries, get, list, moves, table};

const CODECS: [Codec; 3] = [Codec::None, Codec::Lz4, Codec::Zstd];

fn stored(codec: Codec, entries: &[Entry]) -> Bytes {
    let mut builder = BlockBuilder::new(codec);
    for entry in entries {
        builder.add(EntryRef::from(entry));
    }
    builder.finish(table(1), 5)
}

fn decoded(codec: Codec, entries: &[Entry]) -> Block {
    Block::decode(stored(codec, entries), table(1), 5).unwrap()
}

fn any_codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(CODECS.to_vec())
}

/// A block of the raw form, sealed as if it were good.
fn sealed(raw: &[u8]) -> Result<Block, Corruption> {
    let mut stored = raw.to_vec();
    layout::seal(&mut stored, Codec::None, raw.len(), table(1), 5);
    Block::decode(Bytes::from(stored), table(1), 5)
}

proptest! {
    #[test]
    fn a_block_answers_as_the_entries_it_was_made_of(
        model in entries(1..300), codec in any_codec(), others in prop::collection::vec((samples::key(), samples::version()), 0..40)
    ) {
        let block = decoded(codec, &list(&model));
        prop_assert_eq!(block.entries() as usize, model.len());
        for (key, at) in others.iter().cloned().chain(model.keys().map(|(key, version)| (key.clone(), version.0))) {
            for at in [at, at.next(), Version(at.0 - 1), Version::MAX] {
                prop_assert_eq!(block.get(&key, at), get(&model, &key, at));
            }
            let last = model.keys().last().unwrap();
            prop_assert_eq!(block.may_continue(&key), last.0 == key);
        }
    }

    #[test]
    fn a_cursor_walks_in_both_directions(model in entries(1..200), codec in any_codec(), moves in moves()) {
        check_moves(&mut decoded(codec, &list(&model)).cursor(), &list(&model), &moves)?;
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Block::decode(Bytes::from(bytes), table(1), 5).is_err());
    }

    #[test]
    fn random_bytes_under_a_good_checksum_never_panic(
        raw in prop::collection::vec(prop_oneof![0..4u8, any::<u8>()], 0..200), key in samples::key(), moves in moves()
    ) {
        if let Ok(block) = sealed(&raw) {
            block.get(&key, Version(5));
            let all = walk(&block);
            check_moves(&mut block.cursor(), &all, &moves)?;
        }
    }

    #[test]
    fn a_block_changed_under_a_good_checksum_is_refused_or_consistent(
        model in entries(1..60), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3), moves in moves()
    ) {
        let stored = stored(Codec::None, &list(&model));
        let mut raw = stored[..stored.len() - layout::STORED_OVERHEAD].to_vec();
        for (at, byte) in changes {
            let at = at.index(raw.len());
            raw[at] = byte;
        }
        if let Ok(block) = sealed(&raw) {
            let all = walk(&block);
            check_moves(&mut block.cursor(), &all, &moves)?;
            for entry in &all {
                prop_assert_eq!(block.get(&entry.key, entry.version), Some(entry.clone()));
            }
        }
    }
}

fn walk(block: &Block) -> Vec<Entry> {
    use crate::cursor::Cursor;
    let mut cursor = block.cursor();
    cursor.seek_first();
    let mut all = Vec::new();
    while let Some(entry) = cursor.to_entry() {
        all.push(entry);
        cursor.next();
    }
    assert_eq!(all.len(), block.entries() as usize);
    all
}

#[test]
fn every_flipped_bit_is_found() {
    for codec in CODECS {
        let good = stored(codec, &samples::numbered(20, 30));
        Block::verify(&good, table(1), 5).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = Block::verify(&bad, table(1), 5).unwrap_err();
            assert_eq!((error.table, error.block), (Some(table(1)), Some(5)));
            assert!(Block::decode(Bytes::from(bad), table(1), 5).is_err());
        }
        for length in 0..good.len() {
            assert!(Block::decode(good.slice(..length), table(1), 5).is_err());
        }
    }
}

#[test]
fn a_block_in_the_wrong_place_does_not_pass() {
    let good = stored(Codec::Lz4, &samples::numbered(20, 30));
    assert!(Block::verify(&good, table(2), 5).is_err());
    assert!(Block::verify(&good, table(1), 6).is_err());
    assert_eq!(
        Block::decode(good, table(1), 6).unwrap_err().to_string(),
        "block 6 of table 1-7-1 is damaged: the checksum of the block does not match"
    );
}

#[test]
fn a_claim_above_the_limit_is_refused_before_anything_is_allocated() {
    for codec in CODECS {
        let mut bomb = vec![0; 100];
        layout::seal(&mut bomb, codec, u32::MAX as usize, table(1), 0);
        let error = Block::decode(Bytes::from(bomb), table(1), 0).unwrap_err();
        assert_eq!(error.what, "the block claims to be too large");
    }
}

#[test]
fn a_compressed_block_that_claims_another_length_is_refused() {
    for codec in [Codec::Lz4, Codec::Zstd] {
        let raw = vec![1u8; 4096];
        let (payload, used) = codec::Compressor::new(codec).compress(&raw, 0);
        assert_eq!(used, codec);
        for claim in [0, 4095, 4097, 100_000] {
            let mut stored = payload.clone();
            layout::seal(&mut stored, codec, claim, table(1), 0);
            assert!(Block::decode(Bytes::from(stored), table(1), 0).is_err());
        }
    }
}

#[test]
fn compressible_entries_get_smaller_and_others_stay_as_they_are() {
    let entries = samples::numbered(200, 60);
    let plain = stored(Codec::None, &entries).len();
    assert!(stored(Codec::Lz4, &entries).len() < plain * 7 / 8);
    assert!(stored(Codec::Zstd, &entries).len() < plain * 7 / 8);
    let noise: Vec<u8> = (0..500u64).flat_map(|n| crate::key_hash(&n.to_le_bytes()).to_le_bytes()).collect();
    let entry = Entry::put("k", Version(1), noise);
    let lz4 = stored(Codec::Lz4, std::slice::from_ref(&entry));
    assert_eq!(lz4, stored(Codec::None, &[entry]), "the codec of an incompressible block is none");
}

#[test]
fn a_value_is_a_slice_of_its_block() {
    let block = decoded(Codec::None, &samples::numbered(40, 50));
    let (_, value) = block.find(b"user00000003", Version::MAX).unwrap();
    let bytes = value.visible_at(Version::MAX).unwrap();
    let (block_start, value_start) = (block.raw.as_ptr() as usize, bytes.as_ptr() as usize);
    assert!((block_start..block_start + block.raw.len()).contains(&value_start));
}
