//! Leaders of groups.

use lamina_peers::group::{
    CompactGroup, GroupAnswer, GroupCompacted, GroupProbed, GroupRequest, GroupStat, GroupStats,
    GroupVersion, GroupVersionIs, ListShard, PinVersion, ProbeGroup, ShardListed, ShardTable, TabletStat,
    UnpinVersion, VersionPinned, VersionUnpinned,
};
use lamina_types::{Reign, Result};

use super::{Twin, absent, in_field, port_twins, twins};
use crate::group;

twins! {
    ListShard => group::ListShardRequest { group, shard }
    ShardListed => group::ListShardResponse { tables, mark, epoch }
    ShardTable => group::ShardTable { table, index_bytes, index_crc, copies }
    GroupStat => group::GroupStatRequest { group, nodes }
    GroupStats => group::GroupStatResponse {
        leader, reign, last_version, applied, caught_up, voters, tablets, tables, table_bytes, under_replicated,
        only_on_named, naming, verified, memtable_bytes, memtable_bytes_max, writes_per_second, write_p99_us,
    }
    TabletStat => group::TabletStat { tablet, range, shard, runs, tables, table_bytes, memtable_bytes }
    ProbeGroup => group::ProbeGroupRequest { group }
    GroupProbed => group::ProbeGroupResponse { index, table_read }
    GroupVersion => group::GroupVersionRequest { group }
    GroupVersionIs => group::GroupVersionResponse { version }
    PinVersion => group::PinVersionRequest { group, snapshot, at, ttl_ms }
    VersionPinned => group::PinVersionResponse { at, expires_ms }
    UnpinVersion => group::UnpinVersionRequest { group, snapshot }
    VersionUnpinned => group::UnpinVersionResponse {}
    CompactGroup => group::CompactGroupRequest { group, compact }
    GroupCompacted => group::CompactGroupResponse { tables, table_bytes }
}

port_twins!(GroupRequest, GroupAnswer => group::op::Request, group::answer::Answer {
    ListShard, GroupStat, ProbeGroup, GroupVersion, PinVersion, UnpinVersion, CompactGroup,
});

impl Twin<Option<group::ShardMark>> for (Reign, u32) {
    fn into_wire(self) -> Option<group::ShardMark> {
        Some(group::ShardMark { reign: self.0.into_wire(), n: self.1 })
    }
    fn from_wire(wire: Option<group::ShardMark>) -> Result<(Reign, u32)> {
        match wire {
            Some(mark) => Ok((Twin::from_wire(mark.reign).map_err(in_field("reign"))?, mark.n)),
            None => absent(),
        }
    }
}
