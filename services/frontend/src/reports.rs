//! What readers found wrong, waiting for the leader that can mend it: one list for each group, each thing once.

use std::collections::{BTreeMap, BTreeSet};

use lamina_types::{GroupId, NodeId, ShardId, TableId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::hand::blocks::DamagedCopy;
use crate::hand::index::AbsentPart;

/// Reports of all groups of a frontend.
#[derive(Default)]
pub struct Reports {
    lists: Mutex<Lists>,
    /// Wakes the flows that mend.
    pub news: Notify,
}

#[derive(Default)]
struct Lists {
    copies: BTreeMap<GroupId, BTreeMap<(TableId, NodeId), bool>>,
    parts: BTreeMap<GroupId, BTreeSet<(TableId, ShardId, NodeId)>>,
}

impl Reports {
    /// A copy is damaged, or absent where it is listed.
    pub fn copy(&self, report: DamagedCopy) {
        let mut lists = self.lists.lock();
        lists
            .copies
            .entry(report.table.group)
            .or_default()
            .insert((report.table, report.node), report.absent);
        drop(lists);
        self.news.notify_waiters();
    }

    /// An index part is absent where the map says it is.
    pub fn part(&self, report: AbsentPart) {
        let mut lists = self.lists.lock();
        let group = report.table.group;
        lists.parts.entry(group).or_default().insert((report.table, report.shard, report.node));
        drop(lists);
        self.news.notify_waiters();
    }

    /// Takes the reports of copies of a group.
    pub fn take_copies(&self, group: GroupId) -> Vec<DamagedCopy> {
        let taken = self.lists.lock().copies.remove(&group).unwrap_or_default();
        taken.into_iter().map(|((table, node), absent)| DamagedCopy { table, node, absent }).collect()
    }

    /// Takes the reports of index parts of a group.
    pub fn take_parts(&self, group: GroupId) -> Vec<AbsentPart> {
        let taken = self.lists.lock().parts.remove(&group).unwrap_or_default();
        taken.into_iter().map(|(table, shard, node)| AbsentPart { shard, table, node }).collect()
    }
}
