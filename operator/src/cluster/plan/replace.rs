//! A node that is given up with its volume (protocols §10.5).
//!
//! ```text
//! declared dead ─► its claim says whose volume it is ─► the store releases the volume ─► the claim goes, the pod goes
//!   ─► the StatefulSet makes both anew ─► a node with a new identity
//! ```
//!
//! What the claim says is never guessed again, so a crash between any two steps leads on and not astray. The volume is deleted only
//! after the store has said, at that moment, of every node whose volume it is, that it can do without.
//!
//! An index node has no volume: once it is declared dead its pod goes, without waiting for its host, and the StatefulSet makes another.

use lamina_crds::Reason;
use lamina_crds::operation::{Component, OperationType, StorageOperation};
use lamina_peers::admin::Status;
use lamina_peers::view::{NodeState, NodeView};
use lamina_types::NodeId;

use super::nodes::{node_at, nodes_of};
use super::{Action, Input, Plan, asked};
use crate::cluster::seen::{Claim, Place};

/// A node that is still heard of so long after its replacement was asked for is not given up any more.
const LOST_WITHIN_SECONDS: i64 = 600;

/// How a replacement goes.
pub enum Replacement {
    /// It has not begun, because.
    Waits(String),
    /// So much is done, and this is next.
    Runs(u32, String),
    /// The new node takes part.
    Done,
    /// It cannot be, because.
    Fails(String),
}

/// Plans the next step of every replacement that has begun, and of the operation that asks for one.
pub fn plan(input: &Input<'_>, plan: &mut Plan) {
    let Some(status) = input.seen.store() else { return };
    for (place, claim) in &input.seen.claims {
        if let Some(nodes) = &claim.gives_up {
            go_on(input, plan, status, *place, claim, nodes);
        }
    }
    for operation in asked::open(input).filter(|it| it.spec.kind == OperationType::ReplaceNode) {
        if let Some(place) = place_of(input, operation) {
            begin(input, plan, status, operation, place);
        }
    }
}

fn place_of(input: &Input<'_>, operation: &StorageOperation) -> Option<Place> {
    input.key.parse_pod(&operation.spec.replace_node.as_ref()?.node)
}

/// Declares the node dead, and marks its claim; the pod of a dead index node goes at once.
fn begin(input: &Input<'_>, plan: &mut Plan, status: &Status, operation: &StorageOperation, place: Place) {
    if hindrance(input, plan, status, operation, place).is_some() {
        return;
    }
    let nodes: Vec<&NodeView> = nodes_of(input, status, place).collect();
    for node in nodes.iter().filter(|node| node.state != NodeState::Dead) {
        plan.add(Action::DeclareDead { node: node.node, name: node.name.clone(), from: node.state });
    }
    if nodes.iter().any(|node| node.state != NodeState::Dead) {
        return;
    }
    if let (Component::Index, Some(pod)) = (place.0, input.seen.pods.get(&place)) {
        // If its host still runs it, its next registration is refused: there is a later one.
        let (name, uid) = (pod.name.clone(), pod.uid.clone());
        plan.add(Action::DeletePod { name, uid, force: true, why: "its node is lost".to_owned() });
    }
    if let Some(claim) = input.seen.claims.get(&place) {
        let nodes = nodes.iter().map(|node| node.node).collect();
        plan.add(Action::MarkClaim { name: claim.name.clone(), uid: claim.uid.clone(), nodes: Some(nodes) });
    }
}

/// Why a replacement does not begin; it has, or is done, if the claim is marked or younger than the operation.
fn hindrance(
    input: &Input<'_>,
    plan: &Plan,
    status: &Status,
    operation: &StorageOperation,
    place: Place,
) -> Option<Replacement> {
    let pod = input.key.pod(place.0, place.1);
    if place.1 >= plan.verdict.counts.of(place.0) {
        return Some(Replacement::Fails(format!("the store has no node {pod}")));
    }
    let made = match place.0 {
        Component::Index => made_anew(operation, input.seen.pods.get(&place), |it| it.created, "pod", &pod),
        Component::Data | Component::Frontend => {
            let claim = input.seen.claims.get(&place);
            let made = made_anew(operation, claim, |it| it.created, "volume for", &pod);
            let goes = claim.filter(|it| it.deleting || it.gives_up.is_some());
            made.or_else(|| Some(Made::Goes(&goes?.name)))
        }
    };
    match made {
        Some(Made::Anew) => return Some(after(input, status, place)),
        Some(Made::Not(why)) => return Some(Replacement::Runs(60, why)),
        Some(Made::Goes(claim)) => {
            let why = format!("volume {claim} is given up once the store can do without it");
            return Some(Replacement::Runs(40, why));
        }
        None => {}
    }
    let alive = |node: &NodeView| node.seen && node.state != NodeState::Dead;
    if nodes_of(input, status, place).any(alive) {
        let why = format!(
            "the store hears of {pod}; only a node that is lost can be given up. Move it off its Kubernetes node (kubectl \
             drain), or bring it to a stop, for at least 30 seconds"
        );
        // Who asked may have forgotten by the time the node is away for another reason.
        let late = input.now - asked::created(operation) > LOST_WITHIN_SECONDS;
        return Some(if late { Replacement::Fails(why) } else { Replacement::Waits(why) });
    }
    if nodes_of(input, status, place).next().is_none() {
        let by_hand = match place.0 {
            Component::Index => "if its pod hangs, delete that by hand".to_owned(),
            Component::Data | Component::Frontend => {
                let claim = input.key.claim(place.0, place.1);
                format!("if its volume is to be emptied, delete claim {claim} and the pod by hand")
            }
        };
        return Some(Replacement::Waits(format!("the store knows no node {pod}; {by_hand}")));
    }
    None
}

/// What of a node was made since its replacement was asked for.
enum Made<'a> {
    /// It is younger than the operation.
    Anew,
    /// It is not there at all: waiting for it.
    Not(String),
    /// The old one is on its way out: its name.
    Goes(&'a str),
}

/// Whether a pod or claim is younger than the operation; `None`: it is the old one.
fn made_anew<'a, T>(
    operation: &StorageOperation,
    object: Option<&T>,
    created: impl Fn(&T) -> i64,
    what: &str,
    pod: &str,
) -> Option<Made<'a>> {
    match object.map(created) {
        None => Some(Made::Not(format!("waiting for a new {what} {pod}"))),
        Some(at) if at > asked::created(operation) => Some(Made::Anew),
        Some(_) => None,
    }
}

/// The claim is new: the node takes part, or is about to.
fn after(input: &Input<'_>, status: &Status, place: Place) -> Replacement {
    let pod = input.key.pod(place.0, place.1);
    let ready = input.seen.pods.get(&place).is_some_and(|pod| pod.ready && !pod.deleting);
    let active =
        node_at(input, status, place).is_some_and(|node| node.state == NodeState::Active && node.seen);
    if ready && active {
        Replacement::Done
    } else {
        Replacement::Runs(80, format!("{pod} starts under a new identity"))
    }
}

/// How the operation's replacement goes.
pub fn progress(input: &Input<'_>, plan: &Plan, operation: &StorageOperation) -> Replacement {
    let Some(place) = place_of(input, operation) else {
        return Replacement::Fails("the operation names no node of this store".to_owned());
    };
    let Some(status) = input.seen.store() else {
        return Replacement::Waits(
            "no frontend answers, and without the store's word no volume is given up".to_owned(),
        );
    };
    let begun = || Replacement::Runs(20, format!("{} is declared dead", input.key.pod(place.0, place.1)));
    hindrance(input, plan, status, operation, place).unwrap_or_else(begun)
}

/// The claim is marked: it goes, with its pod; or it stays, if its node has come back before the store released it.
fn go_on(input: &Input<'_>, plan: &mut Plan, status: &Status, place: Place, claim: &Claim, nodes: &[NodeId]) {
    let back = |id: &NodeId| status.view.node(*id).is_some_and(|node| node.state != NodeState::Dead);
    if !claim.deleting && nodes.iter().any(back) {
        plan.add(Action::MarkClaim { name: claim.name.clone(), uid: claim.uid.clone(), nodes: None });
        return;
    }
    plan.waits(Reason::ReplacingNode, format!("volume {} is given up", claim.name));
    if !claim.deleting {
        let (name, uid) = (claim.name.clone(), claim.uid.clone());
        plan.add(Action::GiveUp { name, uid, nodes: nodes.to_vec() });
    } else if let Some(pod) = input.seen.pods.get(&place) {
        // The claim waits for the pod, and no other pod can be made before the claim is gone. The node can never register
        // again, so it does no harm if a lost host still runs it.
        plan.add(Action::DeletePod {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            force: pod.deleting,
            why: "its volume was given up".to_owned(),
        });
    }
}
