use proptest::prelude::*;

use super::*;

fn vote() -> impl Strategy<Value = SavedVote> {
    any::<(u64, u64, bool)>().prop_map(|(term, replica, committed)| SavedVote { term, replica, committed })
}

fn point() -> impl Strategy<Value = LogPoint> {
    (any::<u64>(), 0..u64::MAX / 2).prop_map(|(term, index)| LogPoint { term, index })
}

fn payload() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn append() -> impl Strategy<Value = Append> {
    let entries = prop::collection::vec((any::<u64>(), payload()), 0..5);
    (vote(), prop::option::of(point()), prop::option::of(point()), entries).prop_map(
        |(vote, previous, committed, entries)| {
            let first = previous.map_or(0, |previous| previous.index + 1);
            let entries = entries
                .into_iter()
                .zip(first..)
                .map(|((term, payload), index)| EntryRecord { at: LogPoint { term, index }, payload });
            Append { vote, previous, committed, entries: entries.collect() }
        },
    )
}

fn ask() -> impl Strategy<Value = Ask> {
    let candidacy = (vote(), prop::option::of(point()), any::<bool>())
        .prop_map(|(vote, last, transfer)| Candidacy { vote, last, transfer })
        .boxed();
    let transfer = (any::<u64>(), point()).prop_map(|(term, at)| Transfer { term, at }).boxed();
    prop_oneof![
        append().prop_map(Ask::Append),
        candidacy.clone().prop_map(Ask::Vote),
        candidacy.prop_map(Ask::PreVote),
        (vote(), any::<u64>(), prop::option::of(point())).prop_map(|(from, to, last)| Ask::Transfer {
            from,
            to,
            last
        }),
        (transfer.clone(), vote(), any::<u64>()).prop_map(|(transfer, vote, length)| Ask::SnapshotBegin {
            transfer,
            vote,
            length
        }),
        (transfer.clone(), any::<u64>(), payload())
            .prop_map(|(transfer, offset, bytes)| Ask::SnapshotPiece { transfer, offset, bytes }),
        (transfer, vote()).prop_map(|(transfer, vote)| Ask::SnapshotEnd { transfer, vote }),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let outcome = prop_oneof![
        Just(Appended::All),
        prop::option::of(point()).prop_map(Appended::UpTo),
        Just(Appended::Conflict),
        vote().prop_map(Appended::HigherVote),
    ];
    prop_oneof![
        (outcome, any::<u64>()).prop_map(|(outcome, clock_ms)| Answer::Appended { outcome, clock_ms }),
        (vote(), prop::option::of(point()), any::<bool>()).prop_map(|(vote, last, granted)| Answer::Voted {
            vote,
            last,
            granted
        }),
        any::<bool>().prop_map(|accepted| Answer::Transferred { accepted }),
        prop::option::of(any::<u64>()).prop_map(Answer::SnapshotAt),
        vote().prop_map(|vote| Answer::SnapshotDone { vote }),
        Just(Answer::SnapshotDamaged),
    ]
}

proptest! {
    #[test]
    fn a_frame_reads_back(ask in ask(), answer in answer()) {
        prop_assert_eq!(Ask::decode(ask.encode()), Ok(ask));
        prop_assert_eq!(Answer::decode(answer.encode()), Ok(answer));
    }

    #[test]
    fn a_frame_that_was_cut_or_changed_never_panics(ask in ask(), cut in any::<usize>(), at in any::<usize>(), bit in 0..8u8) {
        let frame = ask.encode();
        let cut = cut % frame.len();
        prop_assert!(Ask::decode(frame.slice(..cut)).is_err());
        let mut changed = frame.to_vec();
        changed[at % frame.len()] ^= 1 << bit;
        drop(Ask::decode(Bytes::from(changed.clone())));
        drop(Answer::decode(Bytes::from(changed)));
    }
}

/// Fence c of research/openraft.md trap 2.2.
#[test]
fn entries_with_a_hole_before_or_between_them_are_refused() {
    let entry = |index| EntryRecord { at: LogPoint { term: 2, index }, payload: Bytes::from_static(b"x") };
    let append = |previous: Option<u64>, indexes: &[u64]| {
        Ask::Append(Append {
            vote: SavedVote { term: 2, replica: 1, committed: true },
            previous: previous.map(|index| LogPoint { term: 1, index }),
            committed: None,
            entries: indexes.iter().map(|index| entry(*index)).collect(),
        })
        .encode()
    };
    assert_eq!(
        Ask::decode(append(Some(9194), &[9203])),
        Err(FrameError::Hole { expected: 9195, found: 9203 })
    );
    assert_eq!(Ask::decode(append(None, &[1])), Err(FrameError::Hole { expected: 0, found: 1 }));
    assert_eq!(Ask::decode(append(Some(4), &[5, 7])), Err(FrameError::Hole { expected: 6, found: 7 }));
    assert!(Ask::decode(append(Some(4), &[5, 6])).is_ok());
}
