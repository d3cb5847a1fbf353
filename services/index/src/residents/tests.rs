use lamina_engine::{Entry, TableBuilder, TableSpec};
use lamina_peers::index::LookupKey;
use lamina_types::{KeyRange, TabletId, Version};

use super::*;

const SHARD: ShardId = ShardId(3);

fn table(n: u32) -> TableId {
    TableId { group: GroupId(1), reign: Reign(5), n }
}

/// The index part of a table with these keys, in several blocks.
fn part(n: u32, keys: std::ops::Range<u32>) -> Part {
    let mut spec = TableSpec::new(table(n), TabletId { group: GroupId(1), index: 0 });
    spec.block_bytes = 256;
    let mut builder = TableBuilder::new(spec);
    for key in keys {
        let entry = Entry::put(format!("key-{key:05}").into_bytes(), Version(7), vec![b'x'; 40]);
        builder.add(&entry).unwrap();
    }
    Part { table: table(n), bytes: builder.finish().unwrap().index_part }
}

fn lookup(residents: &Residents, key: &str, candidates: Vec<TableId>) -> Vec<Candidate> {
    let key = LookupKey { candidates: 0, key: key.as_bytes().to_vec().into(), at: Version::MAX };
    residents.lookup(&Lookup { candidates: vec![candidates], keys: vec![key] }).remove(0)
}

#[test]
fn a_lookup_names_the_block_leaves_out_what_the_filter_refuses_and_names_what_is_missing() {
    let residents = Residents::new(1 << 20);
    residents.install(SHARD, &[part(1, 0..100), part(2, 100..200)]).unwrap();
    let candidates = vec![table(2), table(9), table(1)];
    let found = lookup(&residents, "key-00042", candidates);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], Candidate::Missing(table(9)));
    assert!(matches!(found[1], Candidate::Block(handle) if handle.table == table(1)));
    assert_eq!(residents.counts().missing, 1);
}

#[test]
fn a_part_that_does_not_fit_is_refused_and_nothing_of_it_stays() {
    let one = part(1, 0..1000);
    let room = one.bytes.len() as u64 + 2000;
    let residents = Residents::new(room);
    residents.install(SHARD, std::slice::from_ref(&one)).unwrap();
    let before = residents.counts();
    assert!(matches!(residents.install(SHARD, &[part(2, 0..1000)]), Err(NotInstalled::MemoryLimit { .. })));
    assert_eq!(residents.counts(), before);
    residents.install(SHARD, &[one]).unwrap();
    assert_eq!(residents.counts(), before, "what is there already costs nothing again");
}

#[test]
fn damaged_bytes_are_refused() {
    let residents = Residents::new(1 << 20);
    let mut damaged = part(1, 0..10);
    let mut bytes = damaged.bytes.to_vec();
    bytes[20] ^= 1;
    damaged.bytes = bytes.into();
    assert!(matches!(residents.install(SHARD, &[damaged]), Err(NotInstalled::Corrupt(_))));
    assert_eq!(residents.counts().tables, 0);
}

#[test]
fn a_part_stays_as_long_as_some_shard_needs_it_and_its_memory_goes_with_it() {
    let residents = Residents::new(1 << 20);
    let other = ShardId(4);
    residents.install(SHARD, &[part(1, 0..10)]).unwrap();
    assert!(residents.claim(other, table(1)));
    residents.release(SHARD, &[table(1)]);
    assert_eq!(residents.counts().tables, 1);
    residents.keep_only(&BTreeSet::from([SHARD]));
    assert_eq!(residents.counts(), Counts { lookups: 0, ..Counts::default() });
}

#[test]
fn a_comparison_drops_what_is_dead_and_spares_what_is_newer_than_the_list() {
    let residents = Residents::new(1 << 20);
    residents.install(SHARD, &[part(1, 0..10), part(2, 0..10), part(3, 0..10)]).unwrap();
    let dropped = residents.compare(SHARD, GroupId(1), &BTreeSet::from([table(1)]), (Reign(5), 3));
    assert_eq!(dropped, 1, "table 2 is dead, table 3 lies at the mark");
    assert!(residents.bytes(table(2)).is_none() && residents.bytes(table(3)).is_some());
    let other_group = residents.compare(SHARD, GroupId(2), &BTreeSet::new(), (Reign(9), 0));
    assert_eq!(other_group, 0, "another group's list says nothing of this group's tables");
}

#[test]
fn a_seek_gives_consecutive_blocks_and_says_when_they_end() {
    let residents = Residents::new(1 << 20);
    residents.install(SHARD, &[part(1, 0..100)]).unwrap();
    let seek = |limit, reverse| SeekRange { table: table(1), range: KeyRange::all(), reverse, limit };
    let SoughtRun::Blocks { handles: all, exhausted: true } = residents.seek(&seek(1000, false)) else {
        panic!("the whole table")
    };
    assert!(all.len() > 3);
    let SoughtRun::Blocks { handles: some, exhausted: false } = residents.seek(&seek(2, false)) else {
        panic!("a part of the table")
    };
    assert_eq!(some, all[..2]);
    let SoughtRun::Blocks { handles: backward, .. } = residents.seek(&seek(1000, true)) else {
        panic!("backward")
    };
    assert_eq!(backward, all.iter().rev().copied().collect::<Vec<_>>());
    let exactly = residents.seek(&seek(u32::try_from(all.len()).unwrap(), false));
    assert!(matches!(exactly, SoughtRun::Blocks { exhausted: true, .. }));
    assert_eq!(residents.seek(&SeekRange { table: table(9), ..seek(1, false) }), SoughtRun::Missing);
}
