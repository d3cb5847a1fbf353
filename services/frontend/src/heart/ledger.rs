//! The names that a leader's process has given to tables, copies and jobs in its reign, and what became of them.
//!
//! The ledger is what lets the leader say that a table of its own reign will never become live (protocols §7.4):
//! as long as the outcome of a proposal is unknown the table stays open, and nothing that it names is deleted
//! (rule G4). It lives and dies with the reign; the next one needs no memory of it.

use std::collections::{BTreeMap, BTreeSet};

use lamina_types::{CopyStamp, GroupId, NodeId, Reign, ShardId, TableId};
use parking_lot::Mutex;

/// The names given in one reign.
pub struct Ledger {
    group: GroupId,
    reign: Reign,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tables: u32,
    stamps: u32,
    jobs: u32,
    named: BTreeMap<TableId, Named>,
    /// Copies that are being made: the stamp of the order.
    copying: BTreeMap<(TableId, NodeId), CopyStamp>,
}

/// What is known of a table that this process has named, or that was live and left.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Named {
    fate: Fate,
    /// Where its bytes may be.
    nodes: BTreeSet<NodeId>,
    /// The index shard that may have its part.
    shard: ShardId,
}

/// What became of a table that is not live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It may still become live.
    Open,
    /// It never became live, and never will.
    Refused,
    /// It was live, and left.
    Left,
}

/// A table that may be deleted as soon as no view of this process names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deletable {
    /// The table.
    pub table: TableId,
    /// The data nodes to tell.
    pub nodes: BTreeSet<NodeId>,
    /// The index shard to tell.
    pub shard: ShardId,
}

impl Ledger {
    /// An empty ledger for a reign that has just begun.
    pub fn new(group: GroupId, reign: Reign) -> Ledger {
        Ledger { group, reign, state: Mutex::new(State::default()) }
    }

    /// The reign.
    pub fn reign(&self) -> Reign {
        self.reign
    }

    /// A new name for a table whose bytes will go to these nodes, and its index part to this shard.
    pub fn open_table(&self, nodes: impl IntoIterator<Item = NodeId>, shard: ShardId) -> TableId {
        let mut state = self.state.lock();
        state.tables += 1;
        let table = TableId { group: self.group, reign: self.reign, n: state.tables };
        state.named.insert(table, Named { fate: Fate::Open, nodes: nodes.into_iter().collect(), shard });
        table
    }

    /// A new stamp for a copy.
    pub fn stamp(&self) -> CopyStamp {
        let mut state = self.state.lock();
        state.stamps += 1;
        CopyStamp { reign: self.reign, n: state.stamps }
    }

    /// A new number for a job.
    pub fn job(&self) -> u32 {
        let mut state = self.state.lock();
        state.jobs += 1;
        state.jobs
    }

    /// The table is live: the group's state speaks for it from now on.
    pub fn became_live(&self, table: TableId) {
        self.state.lock().named.remove(&table);
    }

    /// The name was never used: nothing was written under it, and nothing will be.
    pub fn unused(&self, table: TableId) {
        self.state.lock().named.remove(&table);
    }

    /// The table will never become live: its commit was refused for certain, or was never proposed.
    pub fn refused(&self, table: TableId) {
        if let Some(named) = self.state.lock().named.get_mut(&table)
            && named.fate == Fate::Open
        {
            named.fate = Fate::Refused;
        }
    }

    /// The table was live and is not any more. Also for tables of earlier reigns.
    pub fn left(&self, table: TableId, nodes: impl IntoIterator<Item = NodeId>, shard: ShardId) {
        let named = Named { fate: Fate::Left, nodes: nodes.into_iter().collect(), shard };
        self.state.lock().named.insert(table, named);
    }

    /// Tables that may be deleted as soon as no view of this process names them.
    pub fn deletable(&self) -> Vec<Deletable> {
        let state = self.state.lock();
        let gone = state.named.iter().filter(|(_, named)| named.fate != Fate::Open);
        gone.map(|(table, named)| Deletable { table: *table, nodes: named.nodes.clone(), shard: named.shard })
            .collect()
    }

    /// The table was deleted on this node; after the last one the ledger forgets it.
    pub fn deleted(&self, table: TableId, node: NodeId) {
        let mut state = self.state.lock();
        let last = match state.named.get_mut(&table) {
            Some(named) if named.fate != Fate::Open => {
                named.nodes.remove(&node);
                named.nodes.is_empty()
            }
            _ => false,
        };
        if last {
            state.named.remove(&table);
        }
    }

    /// Whether this leader may delete a table that is not live and that no view of the process names.
    pub fn may_delete(&self, table: TableId) -> bool {
        if table.group != self.group || table.reign > self.reign {
            return false;
        }
        if table.reign < self.reign {
            return true;
        }
        // A name of this reign that the ledger does not know: it was live and left, and was forgotten after it was
        // deleted where it was known to be; or it was never used. An open one may still become live.
        self.state.lock().named.get(&table).is_none_or(|named| named.fate != Fate::Open)
    }

    /// Tables of this reign that may still become live and belong to an index shard.
    pub fn open_tables(&self, shard: ShardId) -> Vec<TableId> {
        let state = self.state.lock();
        let open = state.named.iter().filter(|(_, named)| named.fate == Fate::Open && named.shard == shard);
        open.map(|(table, _)| *table).collect()
    }

    /// The next name that will be given: all names below it have been.
    pub fn mark(&self) -> (Reign, u32) {
        (self.reign, self.state.lock().tables + 1)
    }

    /// A copy of the table is being made on this node; `None`: one is already.
    pub fn begin_copy(&self, table: TableId, node: NodeId) -> Option<CopyStamp> {
        let stamp = self.stamp();
        let mut state = self.state.lock();
        if state.copying.contains_key(&(table, node)) {
            return None;
        }
        state.copying.insert((table, node), stamp);
        Some(stamp)
    }

    /// The outcome of the copy is known.
    pub fn end_copy(&self, table: TableId, node: NodeId) {
        self.state.lock().copying.remove(&(table, node));
    }

    /// Whether a copy with this stamp or a higher one is being made on this node.
    pub fn is_copying(&self, table: TableId, node: NodeId) -> bool {
        self.state.lock().copying.contains_key(&(table, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(GroupId(1), Reign(7))
    }

    #[test]
    fn a_table_whose_fate_is_open_is_never_deleted() {
        let ledger = ledger();
        let table = ledger.open_table([NodeId(1)], ShardId(0));
        assert!(!ledger.may_delete(table));
        assert!(ledger.deletable().is_empty());
        ledger.refused(table);
        assert!(ledger.may_delete(table));
        assert_eq!(ledger.deletable().len(), 1);
    }

    #[test]
    fn names_of_later_reigns_and_other_groups_are_not_ours_to_delete() {
        let ledger = ledger();
        let id = |group, reign| TableId { group: GroupId(group), reign: Reign(reign), n: 1 };
        assert!(ledger.may_delete(id(1, 6)));
        assert!(!ledger.may_delete(id(1, 8)));
        assert!(!ledger.may_delete(id(2, 6)));
    }

    #[test]
    fn a_table_is_forgotten_once_every_node_has_deleted_it() {
        let ledger = ledger();
        let table = ledger.open_table([NodeId(1)], ShardId(0));
        ledger.became_live(table);
        ledger.left(table, [NodeId(1), NodeId(2)], ShardId(0));
        ledger.deleted(table, NodeId(1));
        assert_eq!(ledger.deletable().len(), 1);
        ledger.deleted(table, NodeId(2));
        assert!(ledger.deletable().is_empty());
    }
}
