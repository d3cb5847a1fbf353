//! What only the meta leader answers: registrations, heartbeats, grants, node states.

use lamina_group::meta::entry::{GrantEnd, Registration};
use lamina_group::meta::guard::{can_stop, down_data_nodes, down_with, release_volume};
use lamina_group::meta::{Change, MetaState, Outcome, Refusal};
use lamina_node::Links;
use lamina_peers::admin::{
    CanStop, EndGrant, GrantEnded, Heartbeat, HeartbeatSeen, NodeRegistered, NodeStateSet, NodeZoneSet,
    RegisterNode, ReleaseVolume, SetNodeState, SetNodeZone, StopGranted, VolumeReleased,
};
use lamina_peers::view::NodeState;
use lamina_types::{Epoch, Error, NodeId, Reason, Result};

use crate::meta::host::{MetaHost, MetaReign};
use crate::meta::lead::answers;

/// The detail of a refusal that says of which group a volume has lost entries.
pub const LOST_ENTRIES: &str = "lost_entries_of";

/// Registers a start.
pub async fn register(
    host: &MetaHost,
    request: RegisterNode,
    cluster: lamina_types::ClusterId,
) -> Result<NodeRegistered> {
    let reign = host.reigning()?;
    let node = request.node;
    refuse_if_shut_out(host, &reign, node)?;
    let change = Change::Register(Registration::new(cluster, request));
    match propose(host, &reign, change).await? {
        Outcome::Registered(incarnation) => {
            reign.observer.lock().registered(node, incarnation, host.now_ms());
            host.news.notify_one();
            let view = host.state().view().ok_or_else(not_founded)?;
            Ok(NodeRegistered { incarnation, view })
        }
        other => Err(unexpected(&other)),
    }
}

/// Hears a heartbeat.
pub fn heartbeat(host: &MetaHost, heartbeat: Heartbeat) -> Result<HeartbeatSeen> {
    let reign = host.reigning()?;
    let state = host.state();
    state.admits(heartbeat.node, heartbeat.incarnation).map_err(Error::from)?;
    refuse_if_shut_out(host, &reign, heartbeat.node)?;
    let newer = state.epoch() > heartbeat.epoch;
    reign.observer.lock().heartbeat(heartbeat, host.now_ms());
    host.news.notify_one();
    Ok(HeartbeatSeen { view: if newer { state.view() } else { None } })
}

/// A node whose volume lost what it had acknowledged takes part in nothing any more, in no group: it must come back
/// under a new identity, as one whose log is damaged (rule G7, protocols §8.1).
fn refuse_if_shut_out(host: &MetaHost, reign: &MetaReign, node: NodeId) -> Result<()> {
    match reign.observer.lock().shut_out_on(&host.state(), node) {
        None => Ok(()),
        Some(group) => Err(Error::new(
            Reason::VolumeRolledBackOrInUse,
            format!(
                "the volume of this node has lost entries of group {group} that it had acknowledged; \
                 the node must be replaced under a new identity"
            ),
        )
        .with(LOST_ENTRIES, group)),
    }
}

/// Whether a node may be stopped.
pub async fn stop(host: &MetaHost, links: &Links, request: CanStop) -> Result<StopGranted> {
    let reign = host.reigning()?;
    let state = confirmed_state(host).await?;
    let observed = reign.observer.lock().observed(host.now_ms());
    let down = down_with(&state, &observed, request.node);
    let answers = answers(host, links, &down_data_nodes(&state, &down)).await;
    if let Err(reasons) = can_stop(&state, &observed, &request.grant, request.node, &answers) {
        return Ok(StopGranted::Refused { reasons });
    }
    let change = Change::GrantStop { grant: request.grant, node: request.node };
    match host.propose(reign.term, &change.in_reign(reign.reign)).await? {
        Outcome::Refused(refusal) => Ok(StopGranted::Refused { reasons: vec![refusal.to_string()] }),
        _ => Ok(StopGranted::Granted),
    }
}

/// Ends a grant that is not wanted any more.
pub async fn end_grant(host: &MetaHost, request: EndGrant) -> Result<GrantEnded> {
    let reign = host.reigning()?;
    let state = confirmed_state(host).await?;
    if state.grant().is_some_and(|grant| grant.id == request.grant) {
        propose(host, &reign, Change::EndGrant { grant: request.grant, because: GrantEnd::Unwanted }).await?;
    }
    Ok(GrantEnded {})
}

/// Declares a node lost.
pub async fn set_state(host: &MetaHost, request: SetNodeState) -> Result<NodeStateSet> {
    if request.to != NodeState::Dead {
        return Err(Error::new(
            Reason::NotBuilt,
            format!("a node cannot be set to {:?} yet; only dead is built", request.to.as_str()),
        ));
    }
    let reign = host.reigning()?;
    let unseen_ms = reign.observer.lock().unseen_ms(request.node, host.now_ms());
    let change = Change::DeclareDead { node: request.node, from: request.from, unseen_ms };
    epoch_of(propose(host, &reign, change).await?).map(|epoch| NodeStateSet { epoch })
}

/// Tells a node's failure domain.
pub async fn set_zone(host: &MetaHost, request: SetNodeZone) -> Result<NodeZoneSet> {
    let reign = host.reigning()?;
    propose(host, &reign, Change::SetZone { node: request.node, zone: request.zone }).await?;
    Ok(NodeZoneSet {})
}

/// Whether the volume of a dead node may be thrown away.
pub async fn release(host: &MetaHost, links: &Links, request: ReleaseVolume) -> Result<VolumeReleased> {
    let reign = host.reigning()?;
    let state = confirmed_state(host).await?;
    let observed = reign.observer.lock().observed(host.now_ms());
    let answers = answers(host, links, &[request.node]).await;
    if let Err(reasons) = release_volume(&state, &observed, request.node, &answers) {
        return Ok(VolumeReleased::Refused { reasons });
    }
    let epoch = state.node(request.node).map_or(Epoch::ZERO, |node| node.state_epoch);
    let change = Change::ReleaseVolume { node: request.node, epoch };
    match host.propose(reign.term, &change.in_reign(reign.reign)).await? {
        Outcome::Refused(refusal) => Ok(VolumeReleased::Refused { reasons: vec![refusal.to_string()] }),
        _ => Ok(VolumeReleased::Released),
    }
}

/// The state after a leadership round: no newer leader has changed it meanwhile.
async fn confirmed_state(host: &MetaHost) -> Result<std::sync::Arc<MetaState>> {
    let index = host.replica.round().await.map_err(|_| crate::meta::host::not_meta_leader())?;
    host.replica.wait_applied(index).await;
    Ok(host.state())
}

async fn propose(host: &MetaHost, reign: &MetaReign, change: Change) -> Result<Outcome> {
    match host.propose(reign.term, &change.in_reign(reign.reign)).await? {
        Outcome::Refused(refusal) => Err(refused(refusal)),
        outcome => Ok(outcome),
    }
}

fn refused(refusal: Refusal) -> Error {
    Error::from(refusal)
}

fn epoch_of(outcome: Outcome) -> Result<Epoch> {
    match outcome {
        Outcome::Done(epoch) | Outcome::Unchanged(epoch) => Ok(epoch),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(outcome: &Outcome) -> Error {
    Error::new(Reason::Bug, format!("the meta group answered with {outcome:?}"))
}

fn not_founded() -> Error {
    Error::new(Reason::NotReady, "the store is not founded yet; try again in a moment")
}
