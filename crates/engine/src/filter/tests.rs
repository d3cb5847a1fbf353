use proptest::prelude::*;
use xorf::Filter as _;

use super::*;

const KINDS: [FilterKind; 3] =
    [FilterKind::Fuse8, FilterKind::Fuse16, FilterKind::Bloom { bits_per_key: 10 }];

fn hashes(from: u64, count: u64) -> Vec<u64> {
    (from..from + count).map(|n| key_hash(&n.to_be_bytes())).collect()
}

fn built(kind: FilterKind, mut hashes: Vec<u64>) -> (Filter, usize) {
    let bytes = Filter::build(kind, &mut hashes);
    let length = bytes.len();
    (Filter::parse(Bytes::from(bytes)).unwrap(), length)
}

proptest! {
    #[test]
    fn a_key_of_the_set_is_never_denied(hashes in prop::collection::vec(any::<u64>(), 0..400)) {
        for kind in KINDS {
            let (filter, _) = built(kind, hashes.clone());
            prop_assert!(hashes.iter().all(|hash| filter.may_contain(*hash)), "{:?}", kind);
        }
    }

    #[test]
    fn random_bytes_never_panic(tag in 0..5u8, body in prop::collection::vec(any::<u8>(), 0..64), hash in any::<u64>()) {
        let bytes: Vec<u8> = [&[tag], body.as_slice()].concat();
        if let Ok(filter) = Filter::parse(Bytes::from(bytes)) {
            filter.may_contain(hash);
        }
    }
}

#[test]
fn the_rate_of_false_positives_and_the_size_are_as_promised() {
    // About the keys of a table of 64 MiB.
    const KEYS: u64 = 250_000;
    let cases = [
        (FilterKind::Fuse8, 0.0045, 9.4),
        (FilterKind::Fuse16, 0.0001, 18.7),
        (FilterKind::Bloom { bits_per_key: 10 }, 0.011, 10.1),
        (FilterKind::Bloom { bits_per_key: FALLBACK_BITS_PER_KEY }, 0.0045, 12.1),
    ];
    for (kind, rate, bits) in cases {
        let (filter, bytes) = built(kind, hashes(0, KEYS));
        let positives = hashes(KEYS, 200_000).iter().filter(|hash| filter.may_contain(**hash)).count();
        let (found, size) = (positives as f64 / 200_000.0, bytes as f64 * 8.0 / KEYS as f64);
        println!("{kind:?}: {:.4} % false positives, {size:.2} bits per key", found * 100.0);
        assert!(found < rate, "{kind:?}: {found}");
        assert!(size < bits, "{kind:?}: {size}");
    }
}

#[test]
fn small_sets_and_repeated_hashes_are_built() {
    for kind in KINDS {
        for count in 0..200 {
            let all = hashes(0, count);
            let (filter, _) = built(kind, all.repeat(3));
            assert!(all.iter().all(|hash| filter.may_contain(*hash)), "{kind:?} of {count}");
        }
    }
}

#[test]
fn our_probe_agrees_with_the_library_that_builds() {
    let mut all = hashes(0, 5000);
    all.sort_unstable();
    let theirs8 = xorf::BinaryFuse8::try_from(&all).unwrap();
    let theirs16 = xorf::BinaryFuse16::try_from(&all).unwrap();
    let (ours8, _) = built(FilterKind::Fuse8, all.clone());
    let (ours16, _) = built(FilterKind::Fuse16, all);
    for hash in hashes(0, 60_000) {
        assert_eq!(ours8.may_contain(hash), theirs8.contains(&hash));
        assert_eq!(ours16.may_contain(hash), theirs16.contains(&hash));
    }
}

#[test]
fn a_filter_that_cannot_be_built_is_replaced_by_one_that_can() {
    let (filter, _) = built(FilterKind::Fuse8, Vec::new());
    assert_eq!(filter.name(), "bloom");
    assert!(!filter.may_contain(1));
    let (none, length) = built(FilterKind::None, hashes(0, 10));
    assert!(none.may_contain(77));
    assert_eq!((none.name(), length), ("none", 1));
}

#[test]
fn the_hash_of_a_key_never_changes() {
    assert_eq!(key_hash(b""), 0x2d06_8005_38d3_94c2);
    assert_eq!(key_hash(b"lamina"), xxhash_rust::xxh3::xxh3_64_with_seed(b"lamina", 0));
}

#[test]
fn an_impossible_shape_is_refused() {
    let mut good = Filter::build(FilterKind::Fuse8, &mut hashes(0, 100));
    good.pop();
    assert!(Filter::parse(Bytes::from(good.clone())).is_err(), "a fingerprint is missing");
    good[9] = 3;
    assert!(Filter::parse(Bytes::from(good)).is_err(), "a segment length is no power of two");
    assert!(Filter::parse(Bytes::new()).is_err());
    assert!(Filter::parse(Bytes::from_static(&[9])).is_err());
    assert!(Filter::parse(Bytes::from_static(&[TAG_BLOOM, 0, 64, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1])).is_err());
}
