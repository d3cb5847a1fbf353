//! The type configuration.

use std::any::Any;
use std::fmt;

use bytes::Bytes;
use lamina_engine::wal::{LogPoint, SavedVote};
use openraft::EmptyNode;
use openraft::impls::leader_id_std;
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::runtime::Runtime;

openraft::declare_raft_types!(
    /// One leader per term (rule G7): not the library's default, which allows several.
    pub Types:
        D = Proposal,
        R = Answer,
        NodeId = u64,
        Node = EmptyNode,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = Runtime,
);

/// The library's entry.
pub type Entry = openraft::type_config::alias::EntryOf<Types>;
/// The library's log id: term and index.
pub type LogId = openraft::type_config::alias::LogIdOf<Types>;
/// The library's vote.
pub type Vote = openraft::type_config::alias::VoteOf<Types>;
/// The library's stored members.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
/// The library's members.
pub type Membership = openraft::Membership<u64, EmptyNode>;
/// What the library knows of a snapshot.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;

/// What a client of the log proposes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal(pub Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What apply answers to the proposer: the machine's outcome. The library asks for a type that goes over wires;
/// this one never does.
#[derive(Default)]
pub struct Answer(Mutex<Option<Box<dyn Any + Send>>>);

impl Answer {
    /// An answer that holds an outcome.
    pub fn new<T: Send + 'static>(outcome: T) -> Answer {
        Answer(Mutex::new(Some(Box::new(outcome))))
    }

    /// Takes the outcome out.
    pub fn take<T: 'static>(self) -> Option<T> {
        self.0.into_inner()?.downcast().ok().map(|outcome| *outcome)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Answer, D::Error> {
        <()>::deserialize(deserializer).map(|()| Answer::default())
    }
}

/// The library's log id of a point.
pub fn log_id(at: LogPoint) -> LogId {
    LogId { leader_id: at.term.into(), index: at.index }
}

/// The point of a log id of the library.
pub fn point(id: &LogId) -> LogPoint {
    LogPoint { term: id.leader_id.term, index: id.index }
}

/// The library's vote.
pub fn vote(vote: SavedVote) -> Vote {
    Vote {
        leader_id: leader_id_std::LeaderId { term: vote.term, voted_for: vote.replica },
        committed: vote.committed,
    }
}

/// A vote of the library, as it is saved.
pub fn saved_vote(vote: &Vote) -> SavedVote {
    SavedVote { term: vote.leader_id.term, replica: vote.leader_id.voted_for, committed: vote.committed }
}
