//! What an entry brought, for its proposer.

use lamina_peers::view::NodeState;
use lamina_types::{
    ClusterId, Epoch, Error, GroupId, Incarnation, NodeId, Reason, Reign, ReplicaId, ShardId,
};

/// What an entry brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A reign began.
    Began(Reign),
    /// It took effect, at this epoch.
    Done(Epoch),
    /// It held already, since this epoch at the latest.
    Unchanged(Epoch),
    /// The node is registered with this incarnation.
    Registered(Incarnation),
    /// Replicas were placed, in the order of the entry.
    Placed(Vec<ReplicaId>),
    /// It had no effect.
    Refused(Refusal),
}

/// Why an entry had no effect.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Another leader began since.
    #[error("another meta leader began since this was proposed (reign {present}); ask again")]
    StaleReign {
        /// The present reign.
        present: Reign,
    },
    /// There is no store yet.
    #[error("the store is not founded yet; wait for its bootstrap")]
    NotFounded,
    /// It is another store.
    #[error("this is store {present}, not the one that was named")]
    OtherCluster {
        /// This store.
        present: ClusterId,
    },
    /// The same store was founded with other members or settings: its record was changed.
    #[error("the store was founded with other members or settings; a bootstrap record never changes")]
    OtherRecord,
    /// A field is not what it may be.
    #[error("{field} {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No such node.
    #[error("node {0} is not known to the store")]
    NoNode(NodeId),
    /// No such group.
    #[error("group {0} is not known to the store")]
    NoGroup(GroupId),
    /// No such replica in the group.
    #[error("replica {0} is not placed in the group")]
    NoReplica(ReplicaId),
    /// No such shard, or the node has no part in it.
    #[error("shard {shard} has no replica on node {node}")]
    NoShardReplica {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// The node is in another state than this needs.
    #[error("node {node} is {}, which does not allow this step", state.as_str())]
    WrongState {
        /// The node.
        node: NodeId,
        /// Its state.
        state: NodeState,
    },
    /// The node runs another role than this needs.
    #[error("node {0} has another role than this step needs")]
    WrongRole(NodeId),
    /// The incarnation is not higher than the recorded one, and not of the same start.
    #[error(
        "incarnation {recorded} of node {node} is registered by another start: its volume was put back, or two processes use it; replace the node"
    )]
    RolledBackOrInUse {
        /// The node.
        node: NodeId,
        /// The recorded incarnation.
        recorded: Incarnation,
    },
    /// The node was removed, or its volume was released.
    #[error("node {0} was removed from the store; its volume needs a new identity")]
    NodeGone(NodeId),
    /// Another start of the node has registered since.
    #[error("node {node} has started again since (incarnation {recorded})")]
    StaleIncarnation {
        /// The node.
        node: NodeId,
        /// The recorded incarnation.
        recorded: Incarnation,
    },
    /// What was judged is older than what is recorded.
    #[error("this was decided by an older state (now at epoch {present}); look again")]
    StaleEpoch {
        /// The epoch of what is recorded.
        present: Epoch,
    },
    /// An older leader's word.
    #[error("a newer leader of the group was heard (term {present})")]
    StaleTerm {
        /// The recorded term.
        present: u64,
    },
    /// The node was heard of too lately to be declared dead.
    #[error("node {node} was heard of {unseen_ms} ms ago; it may be declared dead after {needed_ms} ms")]
    SeenLately {
        /// The node.
        node: NodeId,
        /// How long ago.
        unseen_ms: u64,
        /// How long it must be.
        needed_ms: u64,
    },
    /// Another grant is out.
    #[error("node {node} is being stopped already (grant {grant:?}); end that grant first")]
    GrantOut {
        /// The grant.
        grant: String,
        /// Its node.
        node: NodeId,
    },
    /// The node's next start has not registered or caught up.
    #[error("node {0} has not come back since the grant was given")]
    NotBack(NodeId),
    /// Something names the node still.
    #[error("node {0} cannot be forgotten: {1} still names it")]
    StillNamed(NodeId, &'static str),
    /// The group has a replica there already.
    #[error("group {group} has a replica on node {node} already")]
    AlreadyPlaced {
        /// The group.
        group: GroupId,
        /// The node.
        node: NodeId,
    },
    /// The replica is wanted: only one that others replace is dropped.
    #[error("replica {0} is not being replaced and cannot be dropped")]
    NotLeaving(ReplicaId),
    /// Groups are numbered without gaps.
    #[error("the next group is {next}")]
    NotNext {
        /// The next group.
        next: GroupId,
    },
    /// The first shard map is there.
    #[error("the index shards are assigned already")]
    AlreadyAssigned,
    /// The level does not follow the present one.
    #[error("the store is at level {present}; it is raised one step at a time")]
    WrongLevel {
        /// The present level.
        present: u16,
    },
    /// A registered node runs a program that does not support the level.
    #[error("node {node} does not support level {to}; upgrade it first")]
    LevelUnsupported {
        /// The node.
        node: NodeId,
        /// The level.
        to: u16,
    },
}

impl Refusal {
    /// The stable reason at a border.
    pub const fn reason(&self) -> Reason {
        match self {
            Refusal::StaleReign { .. }
            | Refusal::WrongState { .. }
            | Refusal::StaleTerm { .. }
            | Refusal::NotNext { .. } => Reason::StateMoved,
            Refusal::NotFounded => Reason::NotReady,
            Refusal::OtherCluster { .. } => Reason::ClusterMismatch,
            Refusal::Invalid { .. } => Reason::FieldInvalid,
            Refusal::NoNode(_)
            | Refusal::NoGroup(_)
            | Refusal::NoReplica(_)
            | Refusal::NoShardReplica { .. } => Reason::NotFound,
            Refusal::RolledBackOrInUse { .. } => Reason::VolumeRolledBackOrInUse,
            Refusal::NodeGone(_) => Reason::NodeRemoved,
            Refusal::StaleIncarnation { .. } => Reason::NodeMismatch,
            Refusal::StaleEpoch { .. } => Reason::StaleEpoch,
            Refusal::OtherRecord
            | Refusal::WrongRole(_)
            | Refusal::SeenLately { .. }
            | Refusal::GrantOut { .. }
            | Refusal::NotBack(_)
            | Refusal::StillNamed(..)
            | Refusal::AlreadyPlaced { .. }
            | Refusal::NotLeaving(_)
            | Refusal::AlreadyAssigned
            | Refusal::WrongLevel { .. }
            | Refusal::LevelUnsupported { .. } => Reason::StateRefused,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        let error = Error::new(refusal.reason(), refusal.to_string());
        match refusal {
            Refusal::StaleEpoch { present } => error.with("epoch", present),
            Refusal::SeenLately { unseen_ms, needed_ms, .. } => {
                error.retry_after_ms(needed_ms.saturating_sub(unseen_ms))
            }
            _ => error,
        }
    }
}
