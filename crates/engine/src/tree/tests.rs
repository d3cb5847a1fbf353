use std::collections::BTreeMap;

use bytes::Bytes;
use lamina_types::{GroupId, KeyRange, Reign, TableId};
use proptest::prelude::*;

use super::{Refused, Run, TableView, Tree};

fn id(n: u32) -> TableId {
    TableId { group: GroupId(1), reign: Reign(1), n }
}

/// `view(3, "ac")` is table 3 over [a, c).
fn view(n: u32, range: &str) -> TableView {
    let (start, end) = range.split_at(1);
    TableView::new(id(n), KeyRange::new(start.to_owned(), Some(Bytes::from(end.to_owned()))))
}

fn tree(runs: &[&[(u32, &str)]]) -> Tree {
    let runs: Vec<Vec<TableView>> =
        runs.iter().map(|views| views.iter().map(|(n, range)| view(*n, range)).collect()).collect();
    runs.into()
}

fn names(tree: &Tree) -> Vec<Vec<String>> {
    let name = |view: &TableView| {
        let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
        format!("{}:{}{}", view.table.n, text(&view.range.start), text(view.range.end.as_ref().unwrap()))
    };
    tree.runs().iter().map(|run| run.views().iter().map(name).collect()).collect()
}

#[test]
fn a_flush_goes_on_top_of_what_it_overlaps_and_beside_what_it_does_not() {
    let mut tree = Tree::new();
    tree.push_flush(vec![view(1, "ac")]).unwrap();
    tree.push_flush(vec![view(2, "ce")]).unwrap();
    assert_eq!(names(&tree), [["1:ac", "2:ce"]], "touching is not overlapping");
    tree.push_flush(vec![view(3, "bd")]).unwrap();
    tree.push_flush(vec![view(4, "xz")]).unwrap();
    assert_eq!(names(&tree), [vec!["3:bd"], vec!["1:ac", "2:ce", "4:xz"]], "down through what is free");
    tree.push_flush(vec![view(5, "ab"), view(6, "ef")]).unwrap();
    assert_eq!(names(&tree)[0], ["5:ab", "3:bd", "6:ef"], "no deeper than the first that overlaps");
    assert_eq!(tree.push_flush(vec![view(1, "uv")]), Err(Refused::AlreadyThere { table: id(1) }));
    assert_eq!(tree.push_flush(vec![view(7, "uw"), view(8, "vx")]), Err(Refused::Disorder { table: id(8) }));
    assert_eq!(tree.push_flush(vec![view(7, "uu")]), Err(Refused::EmptyRange { table: id(7) }));
    let before = tree.clone();
    tree.push_flush(Vec::new()).unwrap();
    assert_eq!(tree, before);
}

#[test]
fn candidates_come_newest_first_and_only_where_their_range_counts() {
    let tree = tree(&[&[(3, "bd")], &[(1, "ac"), (2, "ce")]]);
    let over = |key: &str| tree.candidates(key.as_bytes()).map(|view| view.table.n).collect::<Vec<_>>();
    assert_eq!(
        (over("a"), over("b"), over("c"), over("d"), over("e")),
        (vec![1], vec![3, 1], vec![3, 2], vec![2], vec![])
    );
    assert_eq!((tree.runs_over(b"c"), tree.runs_over_max()), (2, 2));
    let range = KeyRange::new("c", Some(Bytes::from("d")));
    let overlapping: Vec<u32> = tree.overlapping(&range).flatten().map(|view| view.table.n).collect();
    assert_eq!(overlapping, [3, 2]);
    assert!(tree.names(id(2)) && !tree.names(id(9)) && tree.tables().len() == 3);
}

#[test]
fn a_compaction_may_not_skip_a_run_in_between() {
    let tree = tree(&[&[(1, "ad")], &[(2, "bc")], &[(3, "ad")]]);
    let (newest, oldest) = (view(1, "ad"), view(3, "ad"));
    let skipped = tree.check_compaction(&[newest.clone(), oldest.clone()], &[view(9, "ad")], true);
    assert_eq!(skipped, Err(Refused::NotContiguous { table: id(2) }));
    let all = [newest, view(2, "bc"), oldest];
    assert_eq!(tree.check_compaction(&all, &[view(9, "ad")], true), Ok(()));
}

#[test]
fn a_compaction_may_not_leave_out_what_lies_beside_it_in_its_span() {
    let tree = tree(&[&[(1, "ah")], &[(2, "ac"), (3, "ce"), (4, "eh")]]);
    let gap = [view(1, "ah"), view(2, "ac"), view(4, "eh")];
    assert_eq!(tree.check_compaction(&gap, &[], false), Err(Refused::NotContiguous { table: id(3) }));
    // A part is enough where the span ends, but all of the part.
    assert_eq!(tree.check_compaction(&[view(1, "ae"), view(2, "ac"), view(3, "ce")], &[], true), Ok(()));
    let less = [view(1, "ab"), view(2, "ac")];
    assert_eq!(tree.check_compaction(&less, &[], false), Err(Refused::NotContiguous { table: id(1) }));
}

#[test]
fn only_the_bottom_is_the_bottom() {
    let tree = tree(&[&[(1, "ac")], &[(2, "ac")], &[(3, "bd")]]);
    let upper = [view(1, "ac"), view(2, "ac")];
    assert_eq!(tree.check_compaction(&upper, &[], true), Err(Refused::NotBottom { table: id(3) }));
    assert_eq!(tree.check_compaction(&upper, &[], false), Ok(()));
    assert_eq!(
        tree.check_compaction(&[view(1, "ab"), view(2, "ab")], &[], true),
        Ok(()),
        "left of what is older"
    );
}

#[test]
fn outputs_stay_inside_in_order_and_new() {
    let tree = tree(&[&[(1, "bd")], &[(2, "bd"), (3, "dh")]]);
    let inputs = [view(1, "bd"), view(2, "bd")];
    let check = |outputs: &[TableView]| tree.check_compaction(&inputs, outputs, false);
    assert_eq!(check(&[view(9, "be")]), Err(Refused::OutsideSpan { table: id(9) }));
    assert_eq!(check(&[view(9, "ac")]), Err(Refused::OutsideSpan { table: id(9) }));
    assert_eq!(check(&[view(9, "bd"), view(8, "cd")]), Err(Refused::Disorder { table: id(8) }));
    assert_eq!(check(&[view(3, "bd")]), Err(Refused::AlreadyThere { table: id(3) }));
    assert_eq!(check(&[view(9, "bc"), view(9, "cd")]), Err(Refused::AlreadyThere { table: id(9) }));
    assert_eq!(check(&[view(9, "bc"), view(8, "cd")]), Ok(()));
    assert_eq!(check(&[]), Ok(()), "nothing may survive");
    assert_eq!(tree.check_compaction(&[], &[], false), Err(Refused::NoInputs));
    let twice = [view(1, "bd"), view(1, "bd"), view(2, "bd")];
    assert_eq!(tree.check_compaction(&twice, &[], false), Err(Refused::InputTwice { table: id(1) }));
}

#[test]
fn a_job_that_was_overtaken_is_refused_and_changes_nothing() {
    let before = tree(&[&[(1, "ah")], &[(2, "ah")]]);
    let inputs = [view(1, "ah"), view(2, "ah")];
    let mut left = before.clip(&KeyRange::new("", Some(Bytes::from("d"))));
    assert_eq!(
        left.apply_compaction(&inputs, &[view(9, "ah")], true),
        Err(Refused::InputGone { table: id(1) })
    );
    assert_eq!(names(&left), [["1:ad"], ["2:ad"]]);
    let right = before.clip(&KeyRange::new("d", None));
    let mut joined = Tree::join(&left, &right).unwrap();
    let gone = joined.apply_compaction(&inputs, &[view(9, "ah")], true);
    assert_eq!(gone, Err(Refused::InputGone { table: id(1) }), "two halves are not the whole");
    let mut done = before;
    done.apply_compaction(&inputs, &[view(9, "ah")], true).unwrap();
    assert_eq!(
        done.apply_compaction(&inputs, &[view(9, "ah")], true),
        Err(Refused::InputGone { table: id(1) })
    );
    assert_eq!(names(&done), [["9:ah"]]);
}

#[test]
fn outputs_stand_in_the_oldest_input_run_and_what_was_not_taken_stays() {
    let mut tree = tree(&[&[(5, "az")], &[(1, "ah")], &[(2, "ac"), (3, "ce"), (4, "xz")], &[(6, "az")]]);
    tree.apply_compaction(&[view(1, "be"), view(2, "bc"), view(3, "ce")], &[view(9, "be")], false).unwrap();
    let expected: [&[&str]; 4] = [&["5:az"], &["1:ab", "1:eh"], &["2:ab", "9:be", "4:xz"], &["6:az"]];
    assert_eq!(names(&tree), expected);
    tree.apply_compaction(&[view(1, "ab"), view(2, "ab")], &[], false).unwrap();
    tree.apply_compaction(&[view(1, "eh")], &[view(8, "eh")], false).unwrap();
    let expected: [&[&str]; 4] = [&["5:az"], &["8:eh"], &["9:be", "4:xz"], &["6:az"]];
    assert_eq!(names(&tree), expected);
}

#[test]
fn neighbours_are_joined_from_the_oldest_run_and_keep_their_ranges() {
    let whole = tree(&[&[(1, "az")], &[(2, "az")], &[(3, "az")]]);
    let mut left = whole.clip(&KeyRange::new("", Some(Bytes::from("m"))));
    let right = whole.clip(&KeyRange::new("m", None));
    left.apply_compaction(&[view(1, "am"), view(2, "am"), view(3, "am")], &[view(9, "bk")], true).unwrap();
    let joined = Tree::join(&left, &right).unwrap();
    let expected: [&[&str]; 3] = [&["1:mz"], &["2:mz"], &["9:bk", "3:mz"]];
    assert_eq!(names(&joined), expected);
    assert!(joined.candidates(b"c").all(|view| view.table == id(9)), "what was compacted away stays away");
    assert_eq!(Tree::join(&right, &left), Err(Refused::Disorder { table: id(9) }));
    assert_eq!(Tree::join(&Tree::new(), &right).unwrap(), right);
    assert_eq!(Tree::join(&left, &Tree::new()).unwrap(), left);
}

#[test]
fn neighbours_in_the_wrong_order_are_refused_even_if_no_pair_of_runs_shows_it() {
    let left = tree(&[&[(1, "kz")], &[(2, "ab")]]);
    let right = tree(&[&[(3, "dh")]]);
    assert_eq!(Tree::join(&left, &right), Err(Refused::Disorder { table: id(1) }));
}

#[test]
fn a_tree_reads_back_from_the_state_that_it_was_stored_in() {
    let tree = tree(&[&[(3, "bd")], &[(1, "ac"), (2, "ce")]]);
    let stored = postcard::to_stdvec(&tree).unwrap();
    assert_eq!(postcard::from_bytes::<Tree>(&stored).unwrap(), tree);
}

proptest! {
    /// Whatever is pushed, the runs over each key are in the order in which they were pushed.
    #[test]
    fn for_every_key_newer_flushes_stand_above_older_ones(
        flushes in prop::collection::vec((0..20u8, 1..8u8), 1..40)
    ) {
        let mut tree = Tree::new();
        let mut over: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
        for (n, (start, width)) in flushes.iter().enumerate() {
            let range = KeyRange::new(vec![*start], Some(vec![start + width].into()));
            tree.push_flush(vec![TableView::new(id(n as u32), range)]).unwrap();
            for key in *start..start + width {
                over.entry(key).or_default().insert(0, n as u32);
            }
        }
        for (key, expected) in &over {
            let found: Vec<u32> = tree.candidates(&[*key]).map(|view| view.table.n).collect();
            prop_assert_eq!(&found, expected);
        }
        prop_assert_eq!(tree.runs_over_max(), over.values().map(Vec::len).max().unwrap());
        for run in tree.runs() {
            prop_assert!(Run::new(run.views().to_vec()).is_ok());
        }
    }
}
