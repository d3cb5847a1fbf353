//! One step, and its class.

use lamina_crds::StorageOperationStatus;
use lamina_crds::operation::Component;
use lamina_peers::admin::Bootstrap;
use lamina_peers::view::NodeState;
use lamina_types::NodeId;
use serde_json::Value;

use crate::cluster::seen::Place;
use crate::kinds::Kind;

/// What a step may cost, and so what it has to ask first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// Takes nothing away. Never waits for the store to be well.
    Heal,
    /// Stops a node that runs: needs the store's grant, and goes through an eviction.
    Disrupt,
    /// Throws a volume away: needs the store's word that it can do without, and a fresh look at the object.
    Destroy,
}

/// One step. Whoever takes it twice, or takes it late, does no harm: it names what it means by UID, node id or state.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Brings an object to what it should be. `uid`: of the one that was seen.
    Apply {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// The one that was seen, if any.
        uid: Option<String>,
        /// What it should be.
        object: Value,
        /// Where somebody else has changed it since it was applied as it should be.
        drift: Option<String>,
    },
    /// Removes an object of ours that is not wanted any more.
    Remove {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// The one that was seen.
        uid: String,
    },
    /// Creates the bootstrap record, unless there is one.
    CreateRecord {
        /// The ConfigMap.
        object: Value,
    },
    /// Makes a node a first member of the store.
    Bootstrap {
        /// The pod.
        place: Place,
        /// Where it answers.
        address: String,
        /// The node that has to be there.
        node: NodeId,
        /// The record.
        record: Bootstrap,
    },
    /// Tells a node's failure domain.
    SetZone {
        /// The node.
        node: NodeId,
        /// Its zone.
        zone: String,
    },
    /// Ends a grant that nobody wants any more.
    EndGrant {
        /// Its id.
        grant: String,
    },
    /// Declares a node lost. The store refuses as long as it hears of it.
    DeclareDead {
        /// The node.
        node: NodeId,
        /// Its name.
        name: String,
        /// The state that it has.
        from: NodeState,
    },
    /// Tells the store that the volume of a dead node is gone already.
    Bury {
        /// The node.
        node: NodeId,
        /// Its name.
        name: String,
    },
    /// Deletes a pod that does not run anyway, or that belongs to a volume which was given up.
    DeletePod {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// Without waiting for its host, which may be gone: its node can never take part again.
        force: bool,
        /// Why.
        why: String,
    },
    /// Lets a volume grow.
    GrowClaim {
        /// The claim.
        name: String,
        /// Its UID.
        uid: String,
        /// The new size.
        size: String,
    },
    /// Deletes a StatefulSet and leaves its pods, so that it can be made anew with larger claims.
    RecreateSet {
        /// The role.
        component: Component,
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
    /// Writes on a claim that it is to be given up, and whose volume it is; or that it is not, after all.
    MarkClaim {
        /// The claim.
        name: String,
        /// Its UID.
        uid: String,
        /// The nodes; `None`: it is kept.
        nodes: Option<Vec<NodeId>>,
    },
    /// Stops a pod that runs.
    Evict {
        /// Its name.
        name: String,
        /// Its UID, from which the name of the grant is made.
        uid: String,
        /// The node.
        node: NodeId,
        /// It is ready. (One that is not is no part of what disruption budgets keep, and they may forbid its eviction for ever.)
        ready: bool,
        /// Why.
        why: String,
    },
    /// Throws a volume away.
    GiveUp {
        /// The claim.
        name: String,
        /// Its UID.
        uid: String,
        /// The nodes whose volume it is: all have to be released.
        nodes: Vec<NodeId>,
    },
    /// Says how an operation goes.
    TellOperation {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// Its new status.
        status: StorageOperationStatus,
    },
    /// Removes an operation that is over for long enough.
    DropOperation {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
}

impl Action {
    /// Its class.
    pub fn class(&self) -> Class {
        match self {
            Action::Evict { .. } => Class::Disrupt,
            Action::GiveUp { .. } => Class::Destroy,
            _ => Class::Heal,
        }
    }

    /// Its place in a plan: what heals first, then what destroys, what disrupts last. No two steps of a plan have the same.
    pub fn rank(&self) -> (u8, String) {
        match self {
            Action::Apply { kind, name, .. } => (order(*kind), name.clone()),
            Action::CreateRecord { .. } => (20, String::new()),
            Action::Bootstrap { place, .. } => (21, format!("{} {:06}", place.0.as_str(), place.1)),
            Action::EndGrant { grant } => (30, grant.clone()),
            Action::DeclareDead { node, .. } => (31, node.to_string()),
            Action::Bury { node, .. } => (32, node.to_string()),
            Action::SetZone { node, .. } => (33, node.to_string()),
            Action::GrowClaim { name, .. } => (40, name.clone()),
            Action::RecreateSet { name, .. } => (41, name.clone()),
            Action::MarkClaim { name, .. } => (50, name.clone()),
            Action::GiveUp { name, .. } => (51, name.clone()),
            Action::DeletePod { name, .. } => (60, name.clone()),
            Action::Remove { kind, name, .. } => (70 + order(*kind), name.clone()),
            Action::TellOperation { name, .. } => (90, name.clone()),
            Action::DropOperation { name, .. } => (91, name.clone()),
            Action::Evict { name, .. } => (100, name.clone()),
        }
    }

    /// The step in words, for logs and `kubectl lamina plan`.
    pub fn says(&self) -> String {
        match self {
            Action::Apply { kind, name, uid: None, .. } => format!("create {kind} {name}"),
            Action::Apply { kind, name, .. } => format!("change {kind} {name}"),
            Action::Remove { kind, name, .. } => format!("remove {kind} {name}"),
            Action::CreateRecord { .. } => "write the bootstrap record".to_owned(),
            Action::Bootstrap { address, .. } => format!("make the node at {address} a first member"),
            Action::SetZone { node, zone } => format!("tell the store that node {node} is in zone {zone}"),
            Action::EndGrant { grant } => format!("end grant {grant}"),
            Action::DeclareDead { node, name, .. } => format!("declare node {node} ({name}) dead"),
            Action::Bury { node, name } => {
                format!("tell the store that the volume of node {node} ({name}) is gone")
            }
            Action::DeletePod { name, why, .. } => format!("delete pod {name}: {why}"),
            Action::GrowClaim { name, size, .. } => format!("let volume {name} grow to {size}"),
            Action::RecreateSet { name, .. } => format!("make StatefulSet {name} anew, its pods stay"),
            Action::MarkClaim { name, nodes: Some(_), .. } => format!("mark volume {name} as given up"),
            Action::MarkClaim { name, .. } => format!("keep volume {name} after all"),
            Action::Evict { name, why, .. } => format!("restart pod {name}: {why}"),
            Action::GiveUp { name, .. } => {
                format!("throw volume {name} away, once the store can do without it")
            }
            Action::TellOperation { name, status, .. } => format!("operation {name}: {:?}", status.phase),
            Action::DropOperation { name, .. } => format!("remove operation {name}, which is over"),
        }
    }
}

fn order(kind: Kind) -> u8 {
    let at = Kind::ALL.iter().position(|it| *it == kind).unwrap_or(Kind::ALL.len());
    u8::try_from(at).unwrap_or(u8::MAX)
}

/// The name of the grant to stop a pod: made from its UID, so that whoever operates asks for the same.
pub fn grant_of(uid: &str) -> String {
    format!("{GRANT}{uid}")
}

/// The UID of the pod that a grant was asked for; `None`: it is somebody else's grant.
pub fn granted_pod(grant: &str) -> Option<&str> {
    grant.strip_prefix(GRANT)
}

const GRANT: &str = "pod-";
