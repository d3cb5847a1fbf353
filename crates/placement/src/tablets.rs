//! Which tablet is split next.
//!
//! Two phases, as in YugabyteDB's automatic splitting: while there are few tablets they split early, so that all
//! nodes have work from the first minute; later they split only when they are large, or when one of them carries
//! much more than its share.

use lamina_types::TabletId;

/// How large or busy a tablet may get before it splits.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SplitPolicy {
    /// The early phase lasts until there are this many tablets for each frontend.
    pub early_tablets_per_frontend: u32,
    /// Early: bytes of tables and memtables at which a tablet splits.
    pub early_bytes: u64,
    /// Busy at which a tablet splits, in cores. Later only if it is also twice the mean.
    pub busy_cores: f64,
    /// Later: bytes at which a tablet splits.
    pub later_bytes: u64,
    /// No group ever has more tablets than this.
    pub tablets_max: usize,
}

impl Default for SplitPolicy {
    /// 64 MiB or 0.9 cores until there are four for each frontend; then 8 GiB, or 0.9 cores and twice the mean.
    fn default() -> SplitPolicy {
        SplitPolicy {
            early_tablets_per_frontend: 4,
            early_bytes: 64 << 20,
            busy_cores: 0.9,
            later_bytes: 8 << 30,
            tablets_max: 1024,
        }
    }
}

impl SplitPolicy {
    /// The default for tables of 64 MiB, in proportion for others: a tablet splits early at the size of one table,
    /// and later at that of 128.
    pub fn for_tables_of(table_bytes: u64) -> SplitPolicy {
        SplitPolicy {
            early_bytes: table_bytes,
            later_bytes: table_bytes.saturating_mul(128),
            ..SplitPolicy::default()
        }
    }
}

/// What a tablet carries.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TabletLoad {
    /// The tablet.
    pub tablet: TabletId,
    /// Bytes of its views (clipped, if that is known) and memtables.
    pub bytes: u64,
    /// Cores that it keeps busy, lately: 1.0 is one whole core.
    pub cores: f64,
    /// It is Active and settled, has a key to split at, and is not being compacted as a whole.
    pub splittable: bool,
}

/// The tablet of a group to split now, if any: one at a time, the one that is furthest beyond its limit.
/// `tablets` are all of the group, `frontends` the frontends that could lead.
pub fn split_next(policy: &SplitPolicy, frontends: u32, tablets: &[TabletLoad]) -> Option<TabletId> {
    if tablets.len() >= policy.tablets_max {
        return None;
    }
    let early = tablets.len() < (policy.early_tablets_per_frontend.saturating_mul(frontends)) as usize;
    let bytes_limit = if early { policy.early_bytes } else { policy.later_bytes };
    let mean = tablets.iter().map(|load| load.cores).sum::<f64>() / tablets.len().max(1) as f64;
    let cores_limit = if early { policy.busy_cores } else { policy.busy_cores.max(2.0 * mean) };
    let excess = |load: &TabletLoad| {
        let by_bytes = load.bytes as f64 / bytes_limit.max(1) as f64;
        by_bytes.max(load.cores / cores_limit)
    };
    let over = |load: &&TabletLoad| load.splittable && excess(load) >= 1.0;
    let rank = |a: &&TabletLoad, b: &&TabletLoad| {
        excess(a).total_cmp(&excess(b)).then_with(|| b.tablet.cmp(&a.tablet))
    };
    tablets.iter().filter(over).max_by(rank).map(|load| load.tablet)
}

#[cfg(test)]
mod tests {
    use lamina_types::GroupId;
    use proptest::prelude::*;

    use super::*;

    fn load(index: u64, mib: u64, cores: f64) -> TabletLoad {
        TabletLoad {
            tablet: TabletId { group: GroupId(1), index },
            bytes: mib << 20,
            cores,
            splittable: true,
        }
    }

    fn split(frontends: u32, tablets: &[TabletLoad]) -> Option<u64> {
        split_next(&SplitPolicy::default(), frontends, tablets).map(|tablet| tablet.index)
    }

    #[test]
    fn the_usual_tables_have_the_usual_policy() {
        assert_eq!(SplitPolicy::for_tables_of(64 << 20), SplitPolicy::default());
    }

    #[test]
    fn the_first_tablet_splits_at_64_mib_or_when_it_is_busy() {
        assert_eq!(split(3, &[load(1, 63, 0.5)]), None);
        assert_eq!(split(3, &[load(1, 64, 0.0)]), Some(1));
        assert_eq!(split(3, &[load(1, 0, 0.95)]), Some(1));
        let unsettled = TabletLoad { splittable: false, ..load(1, 640, 2.0) };
        assert_eq!(split(3, &[unsettled]), None);
    }

    #[test]
    fn with_four_for_each_frontend_only_large_or_unequally_busy_ones_split() {
        let many = |last: TabletLoad| (1..12).map(|at| load(at, 100, 0.1)).chain([last]).collect::<Vec<_>>();
        assert_eq!(split(3, &many(load(12, 1000, 0.1))), None);
        assert_eq!(split(3, &many(load(12, 9000, 0.1))), Some(12));
        assert_eq!(split(3, &many(load(12, 100, 1.0))), Some(12));
        let all_busy: Vec<TabletLoad> = (1..13).map(|at| load(at, 100, 1.5)).collect();
        assert_eq!(split(3, &all_busy), None, "a split would help nobody");
    }

    proptest! {
        #[test]
        fn splitting_in_halves_comes_to_an_end(mib in 1u64..5000, frontends in 1u32..6) {
            let mut tablets = vec![load(1, mib, 0.0)];
            let mut splits = 0u64;
            while let Some(index) = split(frontends, &tablets) {
                splits += 1;
                prop_assert!(splits <= 2 * mib / 64 + 1);
                let at = tablets.iter().position(|load| load.tablet.index == index).unwrap();
                tablets[at].bytes /= 2;
                let half = tablets[at].bytes;
                tablets.push(TabletLoad { bytes: half, ..load(1 + splits, 0, 0.0) });
            }
            prop_assert!(tablets.len() <= (4 * frontends) as usize);
        }
    }
}
