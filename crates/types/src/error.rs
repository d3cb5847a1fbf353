//! The one error that crosses borders: a kind that says what the caller may do, a stable reason, a sentence.
//!
//! Inside a module, errors are small enums; at a port they become an [`Error`]. The table from kinds to gRPC
//! codes lives in one file, `crates/proto/src/status.rs`. A message never holds the bytes of a key or a value.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A result at a border.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller may do about a failure.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// The request is wrong whatever the state: correct it.
    InvalidArgument,
    /// The state does not allow it now: do not repeat it blindly. Nothing was done.
    FailedPrecondition,
    /// A condition did not hold, or the map was stale: read again, then repeat. Nothing was done.
    Aborted,
    /// Not now, or not here: repeat with backoff and the same request id.
    Unavailable,
    /// A limit was reached: back off. Nothing was done.
    ResourceExhausted,
    /// The time was over.
    DeadlineExceeded,
    /// Bytes are damaged on all copies: exactly the keys of this request are affected. Never repeat.
    DataLoss,
    /// The caller may not do this.
    PermissionDenied,
    /// What was named is not there (a table on a data node; an absent key is no error).
    NotFound,
    /// Not built, or not enabled, here.
    Unimplemented,
    /// A defect of ours.
    Internal,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal => $kind:ident,)*) => {
        /// Why, as a stable word in capitals: programs compare it, `lamina explain` documents it.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)* }

        impl Reason {
            /// Every reason, in the order of its page.
            pub const ALL: &[Reason] = &[$(Reason::$name,)*];

            /// The stable word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }

            /// The kind that this reason belongs to.
            pub const fn kind(self) -> Kind {
                match self { $(Reason::$name => Kind::$kind,)* }
            }

            /// What the reason means and what to do, as on its page of `docs/errors.md`.
            pub const fn meaning(self) -> &'static str {
                match self { $(Reason::$name => concat!($($doc),+).trim_ascii(),)* }
            }
        }
    };
}

reasons! {
    /// The key is empty; a key has 1 to 4096 bytes.
    KeyEmpty = "KEY_EMPTY" => InvalidArgument,
    /// The key is longer than 4096 bytes. Shorten it, or use a digest of it.
    KeyTooLarge = "KEY_TOO_LARGE" => InvalidArgument,
    /// The value is longer than 1 MiB. Cut it into several keys.
    ValueTooLarge = "VALUE_TOO_LARGE" => InvalidArgument,
    /// The batch has no operation.
    BatchEmpty = "BATCH_EMPTY" => InvalidArgument,
    /// The batch has more than 1000 operations, or more than 4 MiB of keys and values. Cut it.
    BatchTooLarge = "BATCH_TOO_LARGE" => InvalidArgument,
    /// One key stands twice in a batch. Send the last operation only.
    DuplicateKey = "DUPLICATE_KEY" => InvalidArgument,
    /// An operation, a condition or a request is absent where one of several forms is required.
    OpMissing = "OP_MISSING" => InvalidArgument,
    /// A number stands for no known value of its enumeration. The client may be newer than the store.
    UnknownEnum = "UNKNOWN_ENUM" => InvalidArgument,
    /// A field has the wrong length or form; the message names it.
    FieldInvalid = "FIELD_INVALID" => InvalidArgument,
    /// The limit is above the maximum of 10 000 rows. Read in pages.
    LimitOutOfRange = "LIMIT_OUT_OF_RANGE" => InvalidArgument,
    /// The range ends before it starts. Swap the two keys.
    RangeInverted = "RANGE_INVERTED" => InvalidArgument,
    /// The time to live is zero, or longer than 100 years.
    TtlOutOfRange = "TTL_OUT_OF_RANGE" => InvalidArgument,
    /// The resume token is damaged, or was made by another store or for another range. Start the scan again.
    TokenInvalid = "TOKEN_INVALID" => InvalidArgument,
    /// The version lies ahead of the store's clock.
    VersionInFuture = "VERSION_IN_FUTURE" => InvalidArgument,
    /// Bytes on the wire do not match their checksum; nothing was stored. Send them again.
    ChecksumMismatch = "CHECKSUM_MISMATCH" => InvalidArgument,
    /// The feature is reserved and not built yet.
    NotBuilt = "NOT_BUILT" => Unimplemented,

    /// The keys of the batch lie in more than one group. Split the batch, or run the store with one data group.
    BatchSpansGroups = "BATCH_SPANS_GROUPS" => FailedPrecondition,
    /// The client token is older than what the store remembers. This attempt was not done; the outcome of
    /// earlier ones is unknown. Read, then write with a new token.
    ClientTokenExpired = "CLIENT_TOKEN_EXPIRED" => FailedPrecondition,
    /// The client token was made with a version ahead of the store's clock. Make a new one.
    ClockAhead = "CLOCK_AHEAD" => FailedPrecondition,
    /// The client said that it has the answer to this request already.
    AlreadyAnswered = "ALREADY_ANSWERED" => FailedPrecondition,
    /// The version is older than what the store keeps. Start the scan or the snapshot again.
    SnapshotExpired = "SNAPSHOT_EXPIRED" => FailedPrecondition,
    /// A table of this id exists with other bytes: a defect, nothing was overwritten.
    TableConflict = "TABLE_CONFLICT" => FailedPrecondition,
    /// The copy has a higher stamp than the drop may delete.
    StampTooHigh = "STAMP_TOO_HIGH" => FailedPrecondition,
    /// The store is not in a state that allows this step; the message says which it needs.
    StateRefused = "STATE_REFUSED" => FailedPrecondition,
    /// The node belongs to another store.
    ClusterMismatch = "CLUSTER_MISMATCH" => PermissionDenied,
    /// The message was meant for another node, or comes from an earlier start of its sender.
    NodeMismatch = "NODE_MISMATCH" => FailedPrecondition,
    /// The volume was put back to an earlier state, or two processes use one volume. Replace the node.
    VolumeRolledBackOrInUse = "VOLUME_ROLLED_BACK_OR_IN_USE" => FailedPrecondition,
    /// The node was removed from the store; its volume cannot come back under this name.
    NodeRemoved = "NODE_REMOVED" => FailedPrecondition,

    /// A condition did not hold; nothing was written, and no retry with the same request id will. The answer says
    /// which one (`condition`, counted from 0) and what its key has (`version`; none: no value).
    ConditionFailed = "CONDITION_FAILED" => Aborted,
    /// The state moved on between reading and writing; nothing was written. Repeat.
    StateMoved = "STATE_MOVED" => Aborted,
    /// The request was routed by an older map; the answer has the present epoch.
    StaleEpoch = "STALE_EPOCH" => Aborted,

    /// This node does not lead the group of the key; the hint names who does. Nothing was done.
    NotOwner = "NOT_OWNER" => Unavailable,
    /// The tablet is on its way to another group; nothing was done. Repeat in a moment.
    TabletMoving = "TABLET_MOVING" => Unavailable,
    /// The write may or may not have been done. Repeat it with the same request id.
    OutcomeUnknown = "OUTCOME_UNKNOWN" => Unavailable,
    /// The node does not serve this shard, or has not loaded it yet.
    NotServing = "NOT_SERVING" => Unavailable,
    /// No majority of the group answers; nothing was done.
    NoQuorum = "NO_QUORUM" => Unavailable,
    /// The node starts or stops.
    NotReady = "NOT_READY" => Unavailable,
    /// The other side could not be reached.
    Unreachable = "UNREACHABLE" => Unavailable,

    /// The store takes no more at this rate; nothing was done. Wait as long as the answer says.
    Overloaded = "OVERLOADED" => ResourceExhausted,
    /// The disk is full; nothing was done. Reads go on, and writes do when there is room again.
    DiskFull = "DISK_FULL" => ResourceExhausted,
    /// A memory limit was reached; nothing was done.
    MemoryLimit = "MEMORY_LIMIT" => ResourceExhausted,
    /// The message is larger than the receiver takes.
    MessageTooLarge = "MESSAGE_TOO_LARGE" => ResourceExhausted,
    /// Too many requests of one client, or too many snapshots, are open.
    TooManyOpen = "TOO_MANY_OPEN" => ResourceExhausted,

    /// The deadline passed. A write that had not been answered may have been done.
    DeadlineExceeded = "DEADLINE_EXCEEDED" => DeadlineExceeded,
    /// The bytes of these keys are damaged or absent on all copies. Other keys are not affected.
    DataLoss = "DATA_LOSS" => DataLoss,
    /// The log on this volume is damaged: the node must be replaced under a new identity.
    WalCorrupt = "WAL_CORRUPT" => DataLoss,
    /// The table is not here.
    TableNotFound = "TABLE_NOT_FOUND" => NotFound,
    /// The job, the snapshot or the node that was named is not known.
    NotFound = "NOT_FOUND" => NotFound,
    /// A defect in Lamina. Please report it with the message and the request id.
    Bug = "BUG" => Internal,
}

/// A failure at a border.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Inner {
    reason: Reason,
    message: String,
    retry_after_ms: Option<u64>,
    details: BTreeMap<String, String>,
}

impl Error {
    /// A failure with a sentence that says what happened, to what, and what to do.
    pub fn new(reason: Reason, message: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            reason,
            message: message.into(),
            retry_after_ms: None,
            details: BTreeMap::new(),
        }))
    }

    /// The same failure that also says when to try again.
    #[must_use]
    pub fn retry_after_ms(mut self, ms: u64) -> Error {
        self.0.retry_after_ms = Some(ms);
        self
    }

    /// The same failure with one more detail, for programs (`limit`, `leader`, `epoch`, `version`).
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Error {
        self.0.details.insert(name.to_owned(), value.to_string());
        self
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.0.reason.kind()
    }

    /// The stable reason.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// How long to wait before the next attempt, if the store said so.
    pub fn retry_after(&self) -> Option<u64> {
        self.0.retry_after_ms
    }

    /// A detail by its name.
    pub fn detail(&self, name: &str) -> Option<&str> {
        self.0.details.get(name).map(String::as_str)
    }

    /// All details, for the wire.
    pub fn details(&self) -> &BTreeMap<String, String> {
        &self.0.details
    }

    /// Whether a write that failed so may nevertheless have been done. The transport says of a call that never left
    /// (detail `sent` is `no`): that one was not.
    pub fn outcome_unknown(&self) -> bool {
        match self.0.reason {
            Reason::DeadlineExceeded | Reason::Unreachable => self.detail("sent") != Some("no"),
            Reason::OutcomeUnknown => true,
            _ => self.kind() == Kind::Internal,
        }
    }
}

impl Reason {
    /// The reason with this stable word; `None` if there is none, as when the other side is newer.
    pub fn parse(text: &str) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.message, self.0.reason)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_word_of_its_own_and_a_meaning() {
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
            assert!(reason.meaning().ends_with('.'), "{reason}: {:?}", reason.meaning());
            let word = reason.as_str();
            assert!(word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{word}");
            assert!(Reason::ALL.iter().skip(at + 1).all(|other| other.as_str() != word), "{word} twice");
        }
    }

    #[test]
    fn an_error_reads_as_a_sentence_with_its_reason() {
        let error = Error::new(Reason::KeyEmpty, "the key is empty").with("limit", 4096);
        assert_eq!(error.to_string(), "the key is empty (KEY_EMPTY)");
        assert_eq!(error.detail("limit"), Some("4096"));
        assert_eq!(error.kind(), Kind::InvalidArgument);
    }
}
