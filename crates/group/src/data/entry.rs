//! The log entries of a data group (protocols §3) and their bytes (`docs/formats/entries.md`).
//!
//! An entry is one tag byte and a payload. A tag fixes the form of its payload for ever; a new form gets a new
//! tag. `Writes` is written by hand ([`writes`]), because most bytes of a log are client writes and decoding hands
//! out slices; the rare entries are postcard. What is not understood to the last byte stops the replica (rule G3).

pub mod writes;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use lamina_engine::tree::{TableRecord, TableView};
use lamina_types::wire::{Reader, WireError};
use lamina_types::{
    CopyStamp, Epoch, Incarnation, KeyRange, Level, LogIndex, NodeId, Reign, ShardId, SnapshotId, TableId,
    TabletId, Version, limits,
};
use serde::{Deserialize, Serialize};

use super::config::GroupConfig;
pub use writes::{Action, ClientWrite, Condition, Expected, Operation, Seen, Writes};

/// Why bytes are no entry, or an entry has no bytes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EntryError {
    /// No tag at all.
    #[error("the entry is empty")]
    Empty,
    /// A tag that this binary does not know.
    #[error("entry tag {0} is not known to this binary")]
    UnknownTag(u8),
    /// The payload of a known tag has another form.
    #[error("the payload of an entry with tag {tag} cannot be understood: {why}")]
    Malformed {
        /// The tag.
        tag: u8,
        /// What is wrong.
        why: String,
    },
    /// The entry would be larger than the log takes.
    #[error("the entry has {bytes} bytes, the log takes {max}", max = limits::ENTRY_BYTES_MAX)]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
}

macro_rules! entries {
    ($($(#[doc = $doc:literal])+ $tag:literal => $name:ident,)*) => {
        /// One entry of a data group's log.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum Entry {
            /// Client writes, in the order in which they take effect (tag 2).
            Writes(Writes),
            $($(#[doc = $doc])+ $name($name),)*
        }

        impl Entry {
            /// The first byte of the entry.
            pub const fn tag(&self) -> u8 {
                match self {
                    Entry::Writes(_) => writes::TAG,
                    $(Entry::$name(_) => $tag,)*
                }
            }

            /// The entry's name, for logs and metrics.
            pub const fn name(&self) -> &'static str {
                match self {
                    Entry::Writes(_) => "Writes",
                    $(Entry::$name(_) => stringify!($name),)*
                }
            }

            fn encode_payload(&self, out: &mut BytesMut) -> Result<(), postcard::Error> {
                match self {
                    Entry::Writes(writes) => writes.encode(out),
                    $(Entry::$name(payload) => out.extend_from_slice(&postcard::to_stdvec(payload)?),)*
                }
                Ok(())
            }

            fn decode_payload(tag: u8, payload: Bytes) -> Result<Entry, EntryError> {
                let malformed = |why: String| EntryError::Malformed { tag, why };
                match tag {
                    writes::TAG => Writes::decode(Reader::new(payload))
                        .map(Entry::Writes)
                        .map_err(|error| malformed(error.to_string())),
                    $($tag => postcard::take_from_bytes(&payload)
                        .map_err(|error| malformed(error.to_string()))
                        .and_then(|(value, rest): ($name, &[u8])| match rest {
                            [] => Ok(Entry::$name(value)),
                            _ => Err(malformed(WireError::Trailing.to_string())),
                        }),)*
                    unknown => Err(EntryError::UnknownTag(unknown)),
                }
            }
        }

        $(impl From<$name> for Entry {
            fn from(payload: $name) -> Entry {
                Entry::$name(payload)
            }
        })*
    };
}

entries! {
    /// A leader begins; it proposes this first and starts no flow before it has applied it (tag 1).
    1 => BeginReign,
    /// Moves the group's clock without a write (tag 3).
    3 => Tick,
    /// Keeps a version readable (tag 4).
    4 => PinSnapshot,
    /// Gives pins up (tag 5).
    5 => UnpinSnapshots,
    /// Raises the read floor (tag 6).
    6 => RaiseFloor,
    /// Turns the active memtable of a tablet into a memory view (tag 7).
    7 => RotateMemtable,
    /// Replaces a memory view by tables (tag 8).
    8 => CommitFlush,
    /// Replaces views of tables by others (tag 9).
    9 => CommitCompaction,
    /// Replaces the list of a table's copies (tag 10).
    10 => SetCopies,
    /// Cuts a tablet in two (tag 11).
    11 => SplitTablet,
    /// Forbids, or allows again, new copies on a data node (tag 12).
    12 => SetBan,
    /// Gives a tablet another index shard (tag 13).
    13 => SetShard,
    /// Replaces the configuration (tag 14).
    14 => SetConfig,
    /// Raises the level by one (tag 15).
    15 => SetLevel,
}

impl From<Writes> for Entry {
    fn from(writes: Writes) -> Entry {
        Entry::Writes(writes)
    }
}

impl Entry {
    /// The bytes of the entry, as they go into the log.
    ///
    /// # Errors
    /// [`EntryError::TooLarge`] above [`limits::ENTRY_BYTES_MAX`].
    pub fn encode(&self) -> Result<Bytes, EntryError> {
        let tag = self.tag();
        let mut out = BytesMut::with_capacity(match self {
            Entry::Writes(writes) => writes.encoded_len() + 1,
            _ => 256,
        });
        out.extend_from_slice(&[tag]);
        self.encode_payload(&mut out)
            .map_err(|error| EntryError::Malformed { tag, why: error.to_string() })?;
        if out.len() > limits::ENTRY_BYTES_MAX {
            return Err(EntryError::TooLarge { bytes: out.len() });
        }
        Ok(out.freeze())
    }

    /// Reads an entry. Keys and values of `Writes` are slices of `bytes`, not copies.
    ///
    /// # Errors
    /// The bytes are not an entry that this binary knows, to the last byte (rule G3).
    pub fn decode(mut bytes: Bytes) -> Result<Entry, EntryError> {
        let tag = *bytes.first().ok_or(EntryError::Empty)?;
        Entry::decode_payload(tag, bytes.split_off(1))
    }
}

/// A leader begins: the reign becomes the index of this entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BeginReign {
    /// The leader's node.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

/// Raises the last version to the hint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tick {
    /// The leader's clock (§4).
    pub hint: Version,
}

/// Keeps a version readable until the pin expires or is given up. The law's `Pin`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PinSnapshot {
    /// Names the pin; a known one is answered as it stands.
    pub snapshot: SnapshotId,
    /// The version to keep readable.
    pub at: Version,
    /// How long, in milliseconds of the group's clock.
    pub ttl_ms: u64,
    /// The leader's clock (§4).
    pub hint: Version,
}

/// Gives pins up. Unknown ones count as given up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnpinSnapshots {
    /// Which.
    pub snapshots: Vec<SnapshotId>,
    /// On whose word.
    pub by: UnpinBy,
}

/// On whose word a pin is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum UnpinBy {
    /// The client's: at once.
    Client,
    /// The leader's: only those that have expired by the group's clock.
    Expiry,
}

/// Raises the floor below which nothing can be read any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RaiseFloor {
    /// The proposer's reign.
    pub reign: Reign,
    /// As high as pins and the last version allow, at most this.
    pub to: Version,
}

/// Turns the active memtable into the newest memory view.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RotateMemtable {
    /// The proposer's reign.
    pub reign: Reign,
    /// The tablet.
    pub tablet: TabletId,
}

/// A table that is to become live.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NewTable {
    /// Its id, of the proposer's reign.
    pub table: TableId,
    /// What is known of it. Copies on banned nodes are struck at apply; the revision begins at 0.
    pub record: TableRecord,
}

/// A memory view was written out as tables (§7.2).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommitFlush {
    /// The proposer's reign.
    pub reign: Reign,
    /// The tablet.
    pub tablet: TabletId,
    /// Which memory view: the index of the entry that made it,
    pub rotated_at: LogIndex,
    /// and the range that it had when it was written out.
    pub range: KeyRange,
    /// Versions hidden at this floor were dropped.
    pub floor: Version,
    /// What it became, ascending by keys. None if nothing was left in the range.
    pub tables: Vec<NewTable>,
}

/// Views of tables were merged into others (§7.3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommitCompaction {
    /// The proposer's reign.
    pub reign: Reign,
    /// The tablet.
    pub tablet: TabletId,
    /// What was merged.
    pub inputs: Vec<TableView>,
    /// What it became, ascending by keys. None if nothing was left.
    pub outputs: Vec<NewTable>,
    /// Versions hidden at this floor were dropped.
    pub floor: Version,
    /// Tombstones were dropped, because nothing lay below.
    pub bottom: bool,
}

/// Replaces the list of a table's copies (§7.5).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetCopies {
    /// The proposer's reign.
    pub reign: Reign,
    /// The table.
    pub table: TableId,
    /// The revision that the list has now.
    pub rev: u64,
    /// The new list.
    pub copies: BTreeMap<NodeId, CopyStamp>,
}

/// Cuts a tablet in two: the left part keeps the id, the right part is named by this entry's index (§9.1).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SplitTablet {
    /// The proposer's reign.
    pub reign: Reign,
    /// The tablet.
    pub tablet: TabletId,
    /// The generation that it has now.
    pub generation: u64,
    /// The first key of the right part.
    pub at: Bytes,
}

/// Forbids, or allows again, new copies on a data node (§10.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetBan {
    /// The data node.
    pub node: NodeId,
    /// The drain epoch; an older word is refused.
    pub epoch: Epoch,
    /// Whether the node is banned.
    pub banned: bool,
}

/// Gives a tablet another index shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetShard {
    /// The proposer's reign.
    pub reign: Reign,
    /// The tablet.
    pub tablet: TabletId,
    /// The generation that it has now.
    pub generation: u64,
    /// The new index shard.
    pub shard: ShardId,
}

/// Replaces the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetConfig {
    /// The new configuration.
    pub config: GroupConfig,
}

/// Raises the level by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetLevel {
    /// The new level.
    pub level: Level,
}
