use bytes::Bytes;
use lamina_types::{KeyRange, Version};

use super::{Scan, ScanSpec, Step};
use crate::entry::Value;
use crate::merge::Need;
use crate::model::{Shelf, Tablet};

const LAST: Version = Version(1 << 40);

fn put(value: &str) -> Value {
    Value::Put { bytes: Bytes::from(value.to_owned()), expires_ms: None }
}

fn key(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

fn keys(tablet: &Tablet, shelf: &Shelf, at: Version) -> Vec<String> {
    let forward = tablet.scan(shelf, &KeyRange::all(), at, false).0;
    let mut reverse = tablet.scan(shelf, &KeyRange::all(), at, true).0;
    reverse.reverse();
    assert_eq!(forward, reverse);
    forward.iter().map(|(key, _, _)| String::from_utf8_lossy(key).into_owned()).collect()
}

fn flush(tablet: &mut Tablet, shelf: &mut Shelf, floor: Version) {
    tablet.rotate();
    tablet.flush(shelf, floor);
}

/// Merges everything into one run.
fn compact(tablet: &mut Tablet, shelf: &mut Shelf, floor: Version) {
    let runs: Vec<_> = tablet.tree.runs().iter().map(|run| run.views().to_vec()).collect();
    tablet.compact(shelf, &runs, floor, true, 1).unwrap();
}

#[test]
fn a_scan_can_be_sent_to_another_thread() {
    fn sendable<T: Send>() {}
    sendable::<Scan>();
    sendable::<crate::merge::Merge>();
}

#[test]
fn a_deleted_key_does_not_return_after_a_split_and_a_merge() {
    // S6 of the review.
    let mut shelf = Shelf::new(1 << 20, 4096);
    let mut tablet = Tablet::new(KeyRange::all());
    for name in ["k", "x"] {
        tablet.insert(&key(name), Version(5), put("old"));
    }
    flush(&mut tablet, &mut shelf, Version::ZERO);
    tablet.insert(&key("k"), Version(9), Value::Tombstone);
    flush(&mut tablet, &mut shelf, Version::ZERO);
    let shared = tablet.tree.runs()[1].views()[0].table;

    let (mut left, right) = tablet.split(&key("m"));
    compact(&mut left, &mut shelf, Version(10));
    assert!(left.tree.is_empty(), "tombstone and put are gone: {:?}", left.tree);
    let joined = left.join(&right);
    assert!(joined.tree.names(shared), "the shared table is still there for the right half");
    assert_eq!(keys(&joined, &shelf, Version(10)), ["x"]);
    assert_eq!(joined.get(&shelf, &key("k"), Version(10)), None);
}

#[test]
fn a_merge_that_wrongly_took_itself_for_the_bottom_would_be_seen_and_is_refused() {
    let mut shelf = Shelf::new(1 << 20, 4096);
    let mut tablet = Tablet::new(KeyRange::all());
    for value in [put("old"), Value::Tombstone, put("new")] {
        tablet.insert(&key("k"), Version(tablet.tree.runs().len() as u64 + 1), value);
        flush(&mut tablet, &mut shelf, Version::ZERO);
    }
    let middle: Vec<Vec<_>> = vec![tablet.tree.runs()[1].views().to_vec()];
    let [view] = middle[0].as_slice() else { panic!("one table") };
    let refused = tablet.clone().compact(&mut shelf, &middle, Version(2), true, 1);
    let older = tablet.tree.runs()[2].views()[0].table;
    assert_eq!(refused, Err(crate::tree::Refused::NotBottom { table: older }));
    // The same drop, committed by a lie: a reader at 2 sees what was deleted.
    assert_eq!(keys(&tablet, &shelf, Version(2)), Vec::<String>::new());
    tablet.tree.apply_compaction(std::slice::from_ref(view), &[], false).unwrap();
    assert_eq!(keys(&tablet, &shelf, Version(2)), ["k"]);
}

#[test]
fn an_entry_that_expired_in_an_upper_run_still_hides_the_older_value() {
    // S7 of the review.
    let mut shelf = Shelf::new(1 << 20, 4096);
    let mut tablet = Tablet::new(KeyRange::all());
    tablet.insert(&key("k"), Version::from_ms(1), put("a"));
    flush(&mut tablet, &mut shelf, Version::ZERO);
    let expiring = Value::Put { bytes: Bytes::from("b"), expires_ms: Some(5) };
    tablet.insert(&key("k"), Version::from_ms(2), expiring);
    flush(&mut tablet, &mut shelf, Version::ZERO);
    let upper = vec![tablet.tree.runs()[0].views().to_vec()];
    let floor = Version::from_ms(5);
    tablet.compact(&mut shelf, &upper, floor, false, 1).unwrap();
    assert_eq!(keys(&tablet, &shelf, floor), Vec::<String>::new());
    compact(&mut tablet, &mut shelf, floor);
    assert!(tablet.tree.is_empty(), "at the bottom both go: {:?}", tablet.tree);
}

#[test]
fn one_key_with_versions_over_many_blocks_and_answers_is_read_at_each_of_them() {
    let mut shelf = Shelf::new(1 << 20, 64);
    let mut tablet = Tablet::new(KeyRange::all());
    tablet.insert(&key("a"), Version(1), put("first"));
    for version in 2..2000 {
        tablet.insert(&key("k"), Version(version), put(&format!("value {version}")));
    }
    tablet.insert(&key("z"), Version(2000), put("last"));
    flush(&mut tablet, &mut shelf, Version::ZERO);
    assert!(tablet.tree.runs().len() == 1 && tablet.tree.runs()[0].views().len() == 1);
    for at in [2, 3, 700, 1999] {
        for reverse in [false, true] {
            let (rows, _) = tablet.scan(&shelf, &KeyRange::all(), Version(at), reverse);
            let row = rows.iter().find(|(name, _, _)| *name == key("k")).unwrap();
            assert_eq!(
                (row.1.clone(), row.2),
                (key(&format!("value {at}")), Version(at)),
                "reverse: {reverse}"
            );
        }
        assert_eq!(
            tablet.get(&shelf, &key("k"), Version(at)),
            Some((key(&format!("value {at}")), Version(at)))
        );
    }
    assert_eq!(keys(&tablet, &shelf, Version(1)), ["a"]);
    assert_eq!(keys(&tablet, &shelf, Version(2000)), ["a", "k", "z"]);
    let only = KeyRange::new("k", Some(key("k\0")));
    assert_eq!(tablet.scan(&shelf, &only, Version(2), true).0.len(), 1);
}

#[test]
fn a_short_scan_fetches_little_and_a_long_one_fetches_ahead() {
    let mut shelf = Shelf::new(1 << 30, 256);
    let mut tablet = Tablet::new(KeyRange::all());
    for n in 0..4000u32 {
        tablet.insert(&key(&format!("{n:08}")), Version(u64::from(n) + 1), put("twelve bytes"));
    }
    flush(&mut tablet, &mut shelf, Version::ZERO);
    let spec = ScanSpec { range: KeyRange::all(), at: LAST, reverse: false, rows_hint: Some(3) };
    let mut scan = Scan::new(spec, Vec::new(), &tablet.tree);
    let Step::Need(needs) = scan.step() else { panic!("nothing was fed") };
    let [Need::Handles(request)] = needs.as_slice() else { panic!("{needs:?}") };
    let (handles, exhausted) = shelf.handles(request);
    assert!(handles.len() == request.limit as usize && !exhausted);
    scan.feed_handles(request, handles.clone(), exhausted);
    assert_eq!(
        scan.step(),
        Step::Need(vec![Need::Blocks(handles[..1].to_vec())]),
        "one block for three rows"
    );
    assert_eq!(
        scan.step(),
        Step::Need(vec![Need::Blocks(handles[..1].to_vec())]),
        "and none before it is fed"
    );
    scan.feed_block(handles[0], shelf.block(handles[0]));
    assert!(matches!(scan.step(), Step::Row { .. }));

    let (rows, fetches) = tablet.scan(&shelf, &KeyRange::all(), LAST, false);
    assert_eq!(rows.len(), 4000);
    let blocks = shelf.blocks();
    assert!(blocks >= 400 && fetches < blocks / 8, "{fetches} fetches for {blocks} blocks");
}

#[test]
fn all_runs_that_are_needed_are_asked_for_at_once_and_no_others() {
    let mut shelf = Shelf::new(1 << 30, 256);
    let mut tablet = Tablet::new(KeyRange::all());
    for (n, names) in [["a", "h"], ["b", "g"], ["a", "c"], ["x", "z"]].iter().enumerate() {
        for name in names {
            tablet.insert(&key(name), Version(n as u64 + 1), put("value"));
        }
        flush(&mut tablet, &mut shelf, Version::ZERO);
    }
    let spec = ScanSpec { range: KeyRange::all(), at: LAST, reverse: false, rows_hint: None };
    let mut scan = Scan::new(spec, Vec::new(), &tablet.tree);
    let Step::Need(needs) = scan.step() else { panic!("nothing was fed") };
    assert_eq!(needs.len(), 3, "the three that begin within the first view, not the one behind: {needs:?}");
    assert_eq!(keys(&tablet, &shelf, LAST), ["a", "b", "c", "g", "h", "x", "z"]);
}

#[test]
fn what_was_not_asked_for_changes_nothing() {
    let mut shelf = Shelf::new(1 << 30, 256);
    let mut tablet = Tablet::new(KeyRange::all());
    for n in 0..200u32 {
        tablet.insert(&key(&format!("{n:08}")), Version(1), put("value"));
    }
    flush(&mut tablet, &mut shelf, Version::ZERO);
    let spec = ScanSpec { range: KeyRange::all(), at: LAST, reverse: false, rows_hint: None };
    let mut scan = Scan::new(spec, Vec::new(), &tablet.tree);
    let mut rows = 0;
    loop {
        match scan.step() {
            Step::Row { .. } => rows += 1,
            Step::Done => break,
            Step::Need(needs) => {
                for need in needs {
                    match need {
                        Need::Handles(request) => {
                            let (handles, exhausted) = shelf.handles(&request);
                            // A late answer of another request, then the right one, twice.
                            let other = crate::merge::HandleRequest { limit: 1, ..request.clone() };
                            scan.feed_handles(&other, Vec::new(), true);
                            scan.feed_handles(&request, handles.clone(), exhausted);
                            scan.feed_handles(&request, handles, exhausted);
                        }
                        Need::Blocks(handles) => {
                            for handle in handles {
                                scan.feed_block(handle, shelf.block(handle));
                                scan.feed_block(handle, shelf.block(handle));
                            }
                        }
                    }
                }
            }
        }
    }
    assert_eq!(rows, 200);
}
