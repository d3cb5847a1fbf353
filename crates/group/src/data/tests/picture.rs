//! Checkpoints: the picture is the state, whatever happened while it was written out (L2).

use std::sync::Arc;

use bytes::Bytes;
use lamina_types::GroupId;
use proptest::prelude::*;

use super::super::checkpoint::CHUNK_BYTES;
use super::super::entry::*;
use super::super::*;
use super::golden::rich_state;
use super::rig::*;

fn restored(frozen: FrozenGroup) -> DataGroup {
    DataGroup::restore(GROUP, &mut frozen.chunks()).unwrap()
}

#[test]
fn a_picture_reads_back_as_the_state() {
    let rig = rich_state();
    let back = restored(rig.group.freeze());
    assert_eq!(back.digest(), rig.group.digest());
    assert_eq!(back.windows, rig.group.windows);
    let (was, is) = (rig.view(), back.view());
    assert_eq!((was.reign, was.last_version, was.read_floor), (is.reign, is.last_version, is.read_floor));
    assert_eq!(
        (&was.pins, &was.bans, &was.tables, &was.config),
        (&is.pins, &is.bans, &is.tables, &is.config)
    );
    for (was, is) in was.tablets.iter().zip(is.tablets.iter()) {
        assert_eq!((was.id, &was.range, was.generation), (is.id, &is.range, is.generation));
        assert_eq!((was.last_flush, was.shard, &was.tree), (is.last_flush, is.shard, &is.tree));
        let names =
            |tablet: &TabletView| tablet.memory.iter().map(|view| view.rotated_at).collect::<Vec<_>>();
        assert_eq!(names(was), names(is));
        for (was, is) in was.memory.iter().zip(is.memory.iter()) {
            assert_eq!((&was.range, entries_of(was)), (&is.range, entries_of(is)));
        }
    }
}

#[test]
fn what_is_written_after_the_picture_is_not_in_it() {
    let mut rig = rich_state();
    let (frozen, digest) = (rig.group.freeze(), rig.group.digest());
    for n in 0..50u64 {
        let id = request(5, ms(9), 3 + n, 1);
        let write =
            ClientWrite { request_id: id, ..put(if n.is_multiple_of(2) { "d" } else { "z" }, "later") };
        assert!(rig.write(write).version().is_some());
    }
    rig.rotate(FIRST);
    rig.split(FIRST, &key("f"));
    assert_ne!(rig.group.digest(), digest);
    assert_eq!(restored(frozen).digest(), digest);
}

#[test]
fn parts_of_a_split_share_their_memtable_in_the_picture_and_afterwards() {
    let mut rig = Rig::new(GroupConfig::default());
    for n in 0..100u32 {
        rig.write(put(&format!("{}{n}", if n.is_multiple_of(2) { "c" } else { "x" }), &"v".repeat(100)));
    }
    let whole: usize = rig.group.freeze().chunks().map(|chunk| chunk.len()).sum();
    rig.split(FIRST, &key("m"));
    let after: usize = rig.group.freeze().chunks().map(|chunk| chunk.len()).sum();
    assert!(after < whole + 300, "{whole} bytes became {after}");
    rig.restart();
    let view = rig.view();
    let shared: Vec<_> = view.tablets.iter().map(|tablet| &tablet.memory[0].memtable).collect();
    assert!(Arc::ptr_eq(shared[0], shared[1]));
    assert_eq!(view.memtable_bytes(), shared[0].bytes() as u64);
}

#[test]
fn chunks_are_at_most_256_kib_whatever_the_values() {
    let mut rig = Rig::new(GroupConfig::default());
    for n in 0..3 {
        rig.write(put(&format!("k{n}"), &"v".repeat(1 << 20)));
    }
    rig.write(put("m", "small"));
    let sizes: Vec<usize> = rig.group.freeze().chunks().map(|chunk| chunk.len()).collect();
    assert!(sizes.len() > 12 && sizes.iter().all(|size| *size <= CHUNK_BYTES), "{sizes:?}");
    assert_eq!(restored(rig.group.freeze()).digest(), rig.group.digest());
}

#[test]
fn a_picture_of_another_group_is_refused() {
    let rig = rich_state();
    let other = DataGroup::restore(GroupId(9), &mut rig.group.freeze().chunks());
    assert!(matches!(other, Err(StopReason::Checkpoint(why)) if why.contains("group 3")));
}

#[test]
fn a_picture_without_its_end_is_refused_wherever_it_is_cut() {
    let bytes: Bytes = rich_state().group.freeze().chunks().flatten().collect::<Vec<u8>>().into();
    for cut in 0..bytes.len() {
        let mut chunks = std::iter::once(bytes.slice(..cut));
        assert!(DataGroup::restore(GROUP, &mut chunks).is_err(), "cut at {cut}");
    }
    let mut longer = [bytes.clone(), Bytes::from_static(&[5, 0])].into_iter();
    assert!(DataGroup::restore(GROUP, &mut longer).is_err());
}

proptest! {
    #[test]
    fn chunks_may_be_cut_anywhere(size in 1usize..400) {
        let rig = rich_state();
        let bytes: Bytes = rig.group.freeze().chunks().flatten().collect::<Vec<u8>>().into();
        let mut pieces = (0..bytes.len()).step_by(size).map(|at| bytes.slice(at..bytes.len().min(at + size)));
        let back = DataGroup::restore(GROUP, &mut pieces).unwrap();
        prop_assert_eq!(back.digest(), rig.group.digest());
    }

    #[test]
    fn a_damaged_picture_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes: Vec<u8> = rich_state().group.freeze().chunks().flatten().collect();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        let _ = DataGroup::restore(GROUP, &mut std::iter::once(Bytes::from(bytes)));
    }
}
