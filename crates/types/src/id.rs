//! Who and what: the names of things. Protocols §2 says who raises each number and who checks it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::Reign;

/// The name of one store, made once at bootstrap (a UUID of 128 bits). Every receiver compares it with its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

/// The name of one node: a ULID. Frontend and data nodes make theirs once, on an empty volume; an index node
/// derives it from the cluster and its own name, so that it survives the loss of its memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u128);

/// A Raft group of frontends: one log, one leader. [`GroupId::META`] is the group that knows the cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u32);

/// One replica of one group on one volume, for ever (invariant Q1). Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId(pub u64);

/// A key range with its own tree. `index` is the log index of the entry that made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TabletId {
    /// The group whose log holds the entry that made the tablet.
    pub group: GroupId,
    /// The index of that entry.
    pub index: u64,
}

/// The name of one sorted table. Unique for ever (invariant T1): `n` is counted by one process within one reign.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableId {
    /// The one group that the table belongs to.
    pub group: GroupId,
    /// The reign in which it was made, the only one in which it may become live.
    pub reign: Reign,
    /// Counted by the leader's process.
    pub n: u32,
}

/// Says which order made a copy of a table on a data node; a drop names the highest stamp that it may delete.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CopyStamp {
    /// The reign of the leader that gave the order.
    pub reign: Reign,
    /// Counted by the leader's process.
    pub n: u32,
}

/// The unit of placement on index nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId(pub u16);

/// A snapshot that a client holds: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SnapshotId(pub u128);

/// The first four bytes of every internal key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Keyspace(pub u32);

/// Which of the three services a node runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Memtables and the replicated log.
    Frontend,
    /// Index blocks and filters in memory.
    Index,
    /// Data blocks on disk.
    Data,
}

impl GroupId {
    /// Group 0: cluster id, nodes, groups, index shard map.
    pub const META: GroupId = GroupId(0);
}

impl Keyspace {
    /// The store's own records.
    pub const SYSTEM: Keyspace = Keyspace(0);
    /// Users' keys.
    pub const DEFAULT: Keyspace = Keyspace(1);
}

impl Role {
    /// All roles, in the order in which a store is described.
    pub const ALL: [Role; 3] = [Role::Frontend, Role::Index, Role::Data];

    /// The role in lower case, as in names of nodes, metrics and commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Frontend => "frontend",
            Role::Index => "index",
            Role::Data => "data",
        }
    }
}

impl TableId {
    /// The number of bytes of [`TableId::to_bytes`].
    pub const BYTES: usize = 16;

    /// Big-endian bytes, which sort as the id does.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        let (group, rest) = out.split_at_mut(4);
        let (reign, n) = rest.split_at_mut(8);
        group.copy_from_slice(&self.group.0.to_be_bytes());
        reign.copy_from_slice(&self.reign.0.to_be_bytes());
        n.copy_from_slice(&self.n.to_be_bytes());
        out
    }

    /// The inverse of [`TableId::to_bytes`].
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> TableId {
        let wide = u128::from_be_bytes(bytes);
        TableId { group: GroupId((wide >> 96) as u32), reign: Reign((wide >> 32) as u64), n: wide as u32 }
    }
}

/// A name that does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be read from {text:?}")]
pub struct ParseIdError {
    what: &'static str,
    text: String,
}

impl FromStr for TableId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let bad =
            || ParseIdError { what: "a table id (group-reign-n, in hexadecimal)", text: text.to_owned() };
        let mut parts = text.split('-').map(|part| u64::from_str_radix(part, 16).map_err(|_| bad()));
        let mut next = || parts.next().unwrap_or_else(|| Err(bad()));
        let (group, reign, n) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(bad());
        }
        let narrow = |value: u64| u32::try_from(value).map_err(|_| bad());
        Ok(TableId { group: GroupId(narrow(group)?), reign: Reign(reign), n: narrow(n)? })
    }
}

impl FromStr for CopyStamp {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let bad = || ParseIdError { what: "a copy stamp (reign-n, in hexadecimal)", text: text.to_owned() };
        let (reign, n) = text.split_once('-').ok_or_else(bad)?;
        Ok(CopyStamp {
            reign: Reign(u64::from_str_radix(reign, 16).map_err(|_| bad())?),
            n: u32::from_str_radix(n, 16).map_err(|_| bad())?,
        })
    }
}

impl FromStr for NodeId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let bad = |_| ParseIdError { what: "a node id (a ULID)", text: text.to_owned() };
        Ok(NodeId(Ulid::from_string(text).map_err(bad)?.0))
    }
}

impl FromStr for ClusterId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let bad = || ParseIdError { what: "a cluster id (a UUID)", text: text.to_owned() };
        let digits: String = text.split('-').collect();
        if digits.len() != 32 {
            return Err(bad());
        }
        Ok(ClusterId(u128::from_str_radix(&digits, 16).map_err(|_| bad())?))
    }
}

impl FromStr for Role {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Role::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| ParseIdError { what: "a role (frontend, index or data)", text: text.to_owned() })
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.0;
        let (a, b, c, d) = ((v >> 96) as u32, (v >> 80) as u16, (v >> 64) as u16, (v >> 48) as u16);
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{:012x}", v & 0xffff_ffff_ffff)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Ulid(self.0), f)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for TabletId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.group, self.index)
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:x}", self.group.0, self.reign.0, self.n)
    }
}

impl fmt::Display for CopyStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.reign.0, self.n)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An id in a log line or an assertion reads as it does on the command line.
macro_rules! debug_as_display {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    )*};
}
debug_as_display!(ClusterId NodeId GroupId ReplicaId ShardId SnapshotId TabletId TableId CopyStamp Role);

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyspace({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_reads_back_from_its_own_text() {
        let table = TableId { group: GroupId(7), reign: Reign(0xde_adbe_ef01), n: 42 };
        assert_eq!(table.to_string().parse(), Ok(table));
        assert_eq!(TableId::from_bytes(table.to_bytes()), table);
        let stamp = CopyStamp { reign: Reign(9), n: 3 };
        assert_eq!(stamp.to_string().parse(), Ok(stamp));
        let node = NodeId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(node.to_string().parse(), Ok(node));
        let cluster = ClusterId(0xfedc_ba98_7654_3210_0000_0000_0000_0001);
        assert_eq!(cluster.to_string().parse(), Ok(cluster));
    }

    #[test]
    fn table_bytes_sort_as_the_ids_do() {
        let id = |group, reign, n| TableId { group: GroupId(group), reign: Reign(reign), n };
        let mut ids = [id(1, 2, 3), id(1, 300, 1), id(0, 900, 9), id(1, 2, 2), id(2, 0, 0)];
        let mut by_bytes = ids;
        ids.sort();
        by_bytes.sort_by_key(|id| id.to_bytes());
        assert_eq!(ids, by_bytes);
    }

    #[test]
    fn a_text_that_is_no_id_says_what_it_should_have_been() {
        let error = "1-2".parse::<TableId>().unwrap_err();
        assert!(error.to_string().contains("group-reign-n"), "{error}");
        assert!("1-2-3-4".parse::<TableId>().is_err());
        assert!("1-2-1ffffffff".parse::<TableId>().is_err());
        assert!("nonsense".parse::<NodeId>().is_err());
    }
}
