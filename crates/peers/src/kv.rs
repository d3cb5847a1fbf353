//! Client → frontend, and frontend → frontend to forward. Keys are the user's, without a keyspace.

use bytes::Bytes;
use lamina_types::{KeyRange, RequestId, SnapshotId, Version};
use serde::{Deserialize, Serialize};

crate::port::port! {
    /// A door for keys and values.
    KvPeer: KvRequest => KvAnswer {
        Get => Got,
        BatchGet => BatchGot,
        Write => Written,
        Scan => Page,
        TakeSnapshot => SnapshotTaken,
        ReleaseSnapshot => SnapshotReleased,
        Hello => Welcome,
    }
}

/// The newest value of a key (linearizable), or the value at a version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Get {
    /// The key, 1 to 4096 bytes.
    pub key: Bytes,
    /// Which state to read.
    pub at: ReadAt,
}

/// Which state a read sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum ReadAt {
    /// The newest: every write that was acknowledged before the call is seen.
    #[default]
    Newest,
    /// Exactly the writes up to this version.
    Version(Version),
    /// The version that a snapshot pins.
    Snapshot(SnapshotId),
}

/// What a key has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Got {
    /// The value; `None`: the key is absent.
    pub value: Option<Found>,
    /// The version at which was read.
    pub read_at: Version,
}

/// A value with the version of the write that made it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Found {
    /// The user's bytes.
    pub value: Bytes,
    /// The version of the write.
    pub version: Version,
    /// The entry is absent from this millisecond on.
    pub expires_ms: Option<u64>,
}

/// Several keys at one version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BatchGet {
    /// 1 to 1000 keys.
    pub keys: Vec<Bytes>,
    /// Which state to read.
    pub at: ReadAt,
}

/// What the keys have, in the order of the request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BatchGot {
    /// One for each key.
    pub values: Vec<Option<Found>>,
    /// The version at which was read.
    pub read_at: Version,
}

/// An atomic write: all of it or nothing, iff all conditions hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Write {
    /// Makes a retry take effect at most once. A write without one is not protected.
    pub request_id: Option<RequestId>,
    /// 1 to 1000 operations on different keys.
    pub operations: Vec<WriteOperation>,
    /// What must hold for the write to be done.
    pub conditions: Vec<Condition>,
}

/// What to do with one key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WriteOperation {
    /// The key.
    pub key: Bytes,
    /// Put or delete.
    pub action: WriteAction,
}

/// Put or delete.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WriteAction {
    /// The key gets this value.
    Put {
        /// 0 bytes to 1 MiB.
        value: Bytes,
        /// Milliseconds after which the key is absent again.
        ttl_ms: Option<u64>,
    },
    /// The key becomes absent.
    Delete,
}

/// What must hold of a key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Condition {
    /// The key; it need not be written.
    pub key: Bytes,
    /// What it must have.
    pub expected: Expected,
}

/// What a key must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Expected {
    /// No value.
    Absent,
    /// A value, whichever.
    Present,
    /// The value of the write with this version.
    Version(Version),
}

/// The write is done, on stable storage of a majority.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Written {
    /// The version of all its operations.
    pub version: Version,
}

/// One page of a range.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Scan {
    /// The keys to read.
    pub range: KeyRange,
    /// From the last key to the first.
    pub reverse: bool,
    /// Rows of this page; 0: the default of 1000.
    pub limit: u32,
    /// Leaves the values out.
    pub keys_only: bool,
    /// Which state to read. A scan that goes on by a token reads the version of its first page.
    pub at: ReadAt,
    /// The token of the page before.
    pub resume: Option<Bytes>,
}

/// Rows in the order of the scan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// How to go on; `None`: the range is at its end.
    pub resume: Option<Bytes>,
    /// The version at which was read.
    pub read_at: Version,
}

/// A key with its value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The key.
    pub key: Bytes,
    /// The value; empty if only keys were asked for.
    pub value: Bytes,
    /// The version of the write.
    pub version: Version,
}

/// Keeps a version readable for a time, over all groups and over changes of leaders.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TakeSnapshot {
    /// 1 ms to 5 minutes.
    pub ttl_ms: u64,
}

/// The snapshot stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotTaken {
    /// Its name.
    pub snapshot: SnapshotId,
    /// What it reads.
    pub version: Version,
    /// It ends at this millisecond of the store's clock.
    pub expires_ms: u64,
}

/// Gives a snapshot up. Done already, or never taken: also well.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReleaseSnapshot {
    /// Its name.
    pub snapshot: SnapshotId,
}

/// The snapshot is given up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotReleased {}

/// The first call of a client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the protocol that the client speaks; 1.
    pub protocol: u32,
    /// The store that the client wants, if it knows.
    pub cluster: Option<lamina_types::ClusterId>,
    /// Features without which the client cannot work.
    pub required_features: Vec<String>,
}

/// Whom the client reached, and what it needs to begin.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The frontend.
    pub node: lamina_types::NodeId,
    /// A version for the base of a client token (protocols §5.3).
    pub version: Version,
    /// What the frontend knows of the cluster.
    pub view: crate::view::ClusterView,
}
