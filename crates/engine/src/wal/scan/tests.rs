use lamina_types::{GroupId, ReplicaId};
use proptest::prelude::*;

use super::*;
use crate::wal::{BatchWriter, EntryRecord, LogPoint, Replica, SavedVote};

const OWNER: Replica = Replica { group: GroupId(3), replica: ReplicaId(50) };

/// A volume as a writer leaves it: segments with their files, and what is synced.
#[derive(Clone, Default)]
struct Volume {
    segments: Vec<(u64, Vec<u8>)>,
    durable: Position,
    number: u64,
}

impl Volume {
    /// Goes on in a new segment of 4 KiB, allocated ahead.
    fn open(&mut self, id: u64) {
        let previous = (self.durable != Position::default()).then_some(self.durable);
        self.open_after(id, previous);
    }

    fn open_after(&mut self, id: u64, previous: Option<Position>) {
        self.segments.push((id, vec![0; 4096]));
        self.number = 0;
        let end = self.write(&[Record::Opens { previous }], 0);
        self.durable = end;
    }

    /// Writes a batch and syncs it.
    fn append(&mut self, records: &[Record]) {
        self.durable = self.write(records, self.end());
    }

    /// Writes a batch that is not synced, and says where it begins.
    fn append_unsynced(&mut self, records: &[Record]) -> usize {
        let at = self.end();
        self.write(records, at);
        at
    }

    fn end(&self) -> usize {
        let (id, _) = self.segments.last().unwrap();
        assert_eq!(self.durable.segment, *id);
        usize::try_from(self.durable.offset).unwrap()
    }

    fn write(&mut self, records: &[Record], at: usize) -> Position {
        let (id, file) = self.segments.last_mut().unwrap();
        let mut batch = BatchWriter::new(*id, self.number, self.durable);
        for record in records {
            batch.push(record);
        }
        let bytes = batch.finish();
        let end = at + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[at..end].copy_from_slice(&bytes);
        self.number += 1;
        Position { segment: *id, offset: end as u64 }
    }

    fn scans(&self) -> Result<Vec<SegmentScan>, WalCorrupt> {
        self.segments.iter().map(|(id, bytes)| scan(*id, &Bytes::from(bytes.clone()))).collect()
    }

    /// All records that count.
    fn recover(&self) -> Result<Vec<Record>, WalCorrupt> {
        let ends = join(&self.scans()?)?;
        let mut records = Vec::new();
        for ((id, bytes), end) in self.segments.iter().zip(ends) {
            let bytes = Bytes::from(bytes.clone());
            for batch in batches_of(*id, &bytes).take_while(|batch| batch.end <= end.end) {
                records.extend(batch.records().unwrap().into_iter().map(|(record, _)| record));
            }
        }
        records.retain(|record| !matches!(record, Record::Opens { .. }));
        Ok(records)
    }
}

fn entry(index: u64) -> Record {
    let payload = Bytes::from(vec![index as u8; 40]);
    Record::Entry(OWNER, EntryRecord { at: LogPoint { term: 2, index }, payload })
}

/// Three batches in each of three segments.
fn volume() -> Volume {
    let mut volume = Volume::default();
    for segment in [10, 20, 30] {
        volume.open(segment);
        for number in 0..3 {
            volume.append(&[entry(segment + number)]);
        }
    }
    volume
}

fn indexes(records: &[Record]) -> Vec<u64> {
    records
        .iter()
        .map(|record| match record {
            Record::Entry(_, entry) => entry.at.index,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn every_record_reads_back_with_the_place_of_its_payload() {
    let records = vec![
        Record::Opens { previous: Some(Position { segment: 7, offset: 1 << 40 }) },
        Record::Opens { previous: None },
        Record::Made(OWNER),
        Record::Deleted(OWNER),
        Record::Initialised(OWNER),
        Record::Vote(OWNER, SavedVote { term: u64::MAX, replica: 9, committed: true }),
        entry(300),
        Record::Truncate(OWNER, None),
        Record::Truncate(OWNER, Some(0)),
        Record::Purge(OWNER, LogPoint { term: 1, index: 200 }),
        Record::Committed(OWNER, LogPoint { term: 1, index: 299 }),
        Record::Checkpoint(OWNER, LogPoint { term: 0, index: 0 }),
    ];
    let mut batch = BatchWriter::new(5, 0, Position { segment: 4, offset: 77 });
    for record in &records {
        let before = batch.bytes();
        batch.push(record);
        assert!(batch.bytes() - before <= record.encoded_bytes_max());
    }
    let bytes = batch.finish();
    let read = batches_of(5, &bytes).next().unwrap();
    assert_eq!(read.durable, Position { segment: 4, offset: 77 });
    let with_places = read.records().unwrap();
    for (record, place) in &with_places {
        if let Record::Entry(_, entry) = record {
            let place = usize::try_from(*place).unwrap();
            assert_eq!(bytes.slice(place..place + entry.payload.len()), entry.payload);
        }
    }
    assert_eq!(with_places.into_iter().map(|(record, _)| record).collect::<Vec<_>>(), records);
    assert!(batches_of(6, &bytes).next().is_none(), "a batch counts in no segment but its own");
}

#[test]
fn the_format_does_not_change() {
    let golden = include_bytes!("../../../tests/golden/wal-1.bin");
    let mut volume = Volume::default();
    volume.open(0x0123_4567);
    volume.append(&[
        Record::Made(OWNER),
        Record::Vote(OWNER, SavedVote { term: 3, replica: 50, committed: false }),
    ]);
    volume.append(&[entry(0), entry(1), Record::Committed(OWNER, LogPoint { term: 2, index: 0 })]);
    let end = volume.end();
    assert_eq!(&volume.segments[0].1[..end], golden.as_slice());
    assert_eq!(volume.recover().unwrap().len(), 5);
}

#[test]
fn whole_segments_join_to_one_log() {
    assert_eq!(indexes(&volume().recover().unwrap()), [10, 11, 12, 20, 21, 22, 30, 31, 32]);
}

#[test]
fn a_torn_tail_ends_the_log_there() {
    let mut volume = volume();
    let at = volume.append_unsynced(&[entry(33)]);
    for cut in at..volume.segments[2].1.len().min(at + 80) {
        let mut torn = volume.clone();
        torn.segments[2].1[cut..].fill(0);
        let found = indexes(&torn.recover().unwrap());
        assert!(found.starts_with(&[10, 11, 12, 20, 21, 22, 30, 31, 32]), "cut at {cut}: {found:?}");
    }
}

#[test]
fn a_segment_that_was_only_allocated_holds_nothing() {
    let mut volume = volume();
    volume.segments.push((40, vec![0; 4096]));
    assert_eq!(volume.recover().unwrap().len(), 9);
}

#[test]
fn damage_before_a_durable_mark_is_corruption_in_whatever_segment_the_mark_is() {
    let volume = volume();
    // The last batch of the last segment is under no mark: only there damage passes for a torn tail.
    let scans = volume.scans().unwrap();
    let last_marked = scans[2].ends[scans[2].ends.len() - 2];
    for (segment, scan) in scans.iter().enumerate().take(3) {
        let end = if segment == 2 { last_marked } else { scan.end };
        for at in 0..usize::try_from(end).unwrap() {
            let mut damaged = volume.clone();
            damaged.segments[segment].1[at] ^= 0x10;
            assert!(damaged.recover().is_err(), "byte {at} of segment {segment}");
        }
    }
}

#[test]
fn a_missing_segment_is_seen_and_a_removed_beginning_is_not_missed() {
    let mut middle = volume();
    middle.segments.remove(1);
    assert_eq!(middle.recover(), Err(WalCorrupt::Missing { segment: 30, missing: 20 }));
    let mut beginning = volume();
    beginning.segments.remove(0);
    assert_eq!(indexes(&beginning.recover().unwrap()), [20, 21, 22, 30, 31, 32]);
}

#[test]
fn bytes_behind_the_end_that_the_next_segment_names_do_not_count() {
    let mut volume = volume();
    // An append that failed half way, though all its bytes are there; the writer went on in a new segment.
    volume.append_unsynced(&[entry(99)]);
    volume.open(40);
    volume.append(&[entry(33)]);
    assert_eq!(indexes(&volume.recover().unwrap()), [10, 11, 12, 20, 21, 22, 30, 31, 32, 33]);
    // If the new segment was never written, the bytes count: they were complete, and nobody was told they are not.
    volume.segments.pop();
    assert_eq!(volume.recover().unwrap().len(), 10);
}

#[test]
fn a_segment_that_repeats_the_last_one_takes_its_place() {
    let mut volume = volume();
    let named = Position { segment: 20, offset: volume.scans().unwrap()[1].end };
    let names = Some(named);
    volume.segments.push((40, vec![0; 4096]));
    volume.number = 0;
    let copied: Vec<_> = [Record::Opens { previous: names }, entry(30), entry(31), entry(32)].into();
    volume.durable = Position { segment: 20, offset: named.offset };
    let end = volume.write(&copied, 0);
    assert_eq!(indexes(&volume.recover().unwrap()), [10, 11, 12, 20, 21, 22, 30, 31, 32]);
    // A crash while the copy was written: the old one counts.
    let mut torn = volume.clone();
    torn.segments[3].1[usize::try_from(end.offset).unwrap() - 1] ^= 1;
    assert_eq!(indexes(&torn.recover().unwrap()), [10, 11, 12, 20, 21, 22, 30, 31, 32]);
    // With a mark over the copy the old one may be removed, and damage to the copy is damage.
    volume.durable = end;
    volume.append(&[]);
    volume.segments.remove(2);
    assert_eq!(indexes(&volume.recover().unwrap()), [10, 11, 12, 20, 21, 22, 30, 31, 32]);
    volume.segments[2].1[60] ^= 1;
    assert!(volume.recover().is_err());
}

#[test]
fn what_a_crash_left_of_a_segment_whose_place_is_taken_is_no_damage() {
    let mut volume = volume();
    // At a start the last segment was copied to 50, and removed; a crash came before the one that had been allocated
    // ahead was removed too. Then the log went on.
    let names = Some(Position { segment: 20, offset: volume.scans().unwrap()[1].end });
    volume.segments.pop();
    volume.segments.push((40, vec![0; 4096]));
    volume.open_after(50, names);
    volume.append(&[entry(30)]);
    volume.append(&[entry(31)]);
    assert_eq!(indexes(&volume.recover().unwrap()), [10, 11, 12, 20, 21, 22, 30, 31]);
}

#[test]
fn records_of_another_format_stop_the_reader() {
    let mut volume = Volume::default();
    volume.open(1);
    let (id, file) = volume.segments.last_mut().unwrap();
    let batch = BatchWriter::new(*id, 0, Position::default());
    let body = [&batch.finish()[..], &[1, 9, 0]].concat();
    // The same batch with a record of format 9, and its crc made right.
    let length = (body.len() - 12) as u32;
    let mut hasher = crc32fast::Hasher::new_with_initial(crc32fast::hash(&id.to_le_bytes()));
    hasher.update(&length.to_le_bytes());
    hasher.update(&body[12..]);
    file[..body.len()].copy_from_slice(&body);
    file[4..8].copy_from_slice(&length.to_le_bytes());
    file[8..12].copy_from_slice(&hasher.finalize().to_le_bytes());
    assert!(matches!(volume.recover(), Err(WalCorrupt::Unknown { .. })));
}

/// One step of a writer's life.
#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Rotate,
}

proptest! {
    /// Invariant L1: whatever happens to bytes that were not synced, no synced record is cut; and whatever happens
    /// to synced ones, the log is refused, or ends in a batch that no mark covers.
    #[test]
    fn no_synced_record_is_ever_cut(
        steps in prop::collection::vec(prop_oneof![4 => (1..4u8).prop_map(Step::Append), 1 => Just(Step::Rotate)], 1..25),
        torn in 0..300usize, noise in any::<Vec<u8>>(), flip in any::<prop::sample::Index>(),
    ) {
        let mut volume = Volume::default();
        volume.open(16);
        let (mut synced, mut covered) = (0u64, 0u64);
        for step in &steps {
            covered = synced;
            match step {
                Step::Append(count) => {
                    let records: Vec<_> = (synced..synced + u64::from(*count)).map(entry).collect();
                    volume.append(&records);
                    synced += u64::from(*count);
                }
                Step::Rotate => {
                    let id = volume.segments.last().unwrap().0 + 16;
                    volume.open(id);
                }
            }
        }
        // A crash: of the last write any bytes are there, and behind them noise.
        let mut crashed = volume.clone();
        let at = crashed.append_unsynced(&[entry(synced), entry(synced + 1)]);
        let file = &mut crashed.segments.last_mut().unwrap().1;
        let cut = (at + torn).min(file.len());
        file.truncate(cut);
        file.extend_from_slice(&noise);
        let found = indexes(&crashed.recover().unwrap());
        prop_assert!(found.len() as u64 >= synced);
        prop_assert!(found.iter().zip(0..).all(|(index, at)| *index == at));

        // A flipped bit somewhere.
        let mut damaged = volume.clone();
        let sizes: Vec<usize> = damaged.segments.iter().map(|(_, bytes)| bytes.len()).collect();
        let mut at = flip.index(sizes.iter().sum());
        for (_, bytes) in &mut damaged.segments {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 0x40;
                break;
            }
            at -= bytes.len();
        }
        if let Ok(records) = damaged.recover() {
            let found = indexes(&records);
            prop_assert!(found.len() as u64 >= covered, "{} of {synced} entries, {covered} under a mark", found.len());
            prop_assert!(found.iter().zip(0..).all(|(index, at)| *index == at));
        }
    }

    #[test]
    fn bytes_that_are_no_log_never_panic(id in any::<u64>(), bytes in any::<Vec<u8>>()) {
        let mut noise = b"LWB1".to_vec();
        noise.extend(bytes);
        if let Ok(found) = scan(id, &Bytes::from(noise)) {
            drop(join(&[found]));
        }
    }
}
