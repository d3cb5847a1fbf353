//! Who of a store answers: asked when calls wait, to say what they wait for.

use std::fmt;

use futures::future::join;
use futures::future::join_all;
use lamina_env::random;
use lamina_env::time::{self, Duration};
use lamina_peers::Network;
use lamina_peers::admin::{ClusterStatus, Identify, Status};
use lamina_peers::view::{GroupView, NodeState, NodeView};
use lamina_types::{Error, GroupId, Kind, NodeId, Reason, RequestContext, Role};

/// What a frontend may take to say who it is.
const IDENTIFY: Duration = Duration::from_secs(1);
/// What a frontend may take to ask all others.
const STATUS: Duration = Duration::from_secs(3);

/// Who answers. Shown, it is one line without an end: "1 of 3 frontends answers (not frontend-1, frontend-2)".
#[derive(Clone, Debug)]
pub struct Reach {
    /// Each address that the client knows.
    asked: Vec<(String, Said)>,
    /// What a frontend knows of all others.
    status: Option<Status>,
}

/// What a frontend said.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Said {
    /// How the store is.
    Status,
    /// That it cannot say, and why.
    Refusal(String),
    Nothing,
}

impl Reach {
    /// Asks everybody at once. Takes three seconds at most.
    pub(crate) async fn look(network: &dyn Network, addresses: Vec<String>) -> Reach {
        let asks = addresses.into_iter().map(|address| async move {
            let (identity, status) = join(identify(network, &address), status(network, &address)).await;
            match (identity, status) {
                (_, Ok(status)) => ((address, Said::Status), Some(status)),
                (Err(error), Err(_)) if is_silence(&error) => ((address, Said::Nothing), None),
                (_, Err(why)) => ((address, Said::Refusal(why.message().to_owned())), None),
            }
        });
        let (asked, statuses): (Vec<_>, Vec<_>) = join_all(asks).await.into_iter().unzip();
        let status = statuses.into_iter().flatten().max_by_key(|status| status.view.epoch);
        Reach { asked, status }
    }

    /// Whether nobody is missing for whom calls might wait.
    pub fn is_whole(&self) -> bool {
        self.missing().is_empty()
    }

    /// What is missing; one part of a sentence each.
    fn missing(&self) -> Vec<String> {
        match &self.status {
            Some(status) => missing_in(status),
            None => vec![self.unreached()],
        }
    }

    fn unreached(&self) -> String {
        let silent: Vec<&str> =
            self.asked.iter().filter(|(_, said)| *said == Said::Nothing).map(|(at, _)| &**at).collect();
        let why = self.asked.iter().find_map(|(_, said)| match said {
            Said::Refusal(why) => Some(why),
            _ => None,
        });
        let Some(why) = why else { return format!("nobody answers at {}", silent.join(", ")) };
        let answering = answer(self.asked.len() - silent.len(), self.asked.len());
        match silent[..] {
            [] => format!("{answering}: {why}"),
            _ => format!("{answering} (not {}): {why}", silent.join(", ")),
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.missing()[..] {
            [] => f.write_str("all frontends answer, and each group has a leader"),
            ref missing => f.write_str(&missing.join("; ")),
        }
    }
}

async fn identify(network: &dyn Network, address: &str) -> Result<(), Error> {
    let peer = network.admin(address);
    let context = RequestContext::new(random::u128(), IDENTIFY.as_millis() as u64);
    match time::timeout(IDENTIFY, peer.call(context, Identify {})).await {
        Ok(identity) => identity.map(|_| ()),
        Err(_) => Err(Error::new(Reason::Unreachable, "no answer within a second")),
    }
}

async fn status(network: &dyn Network, address: &str) -> Result<Status, Error> {
    let peer = network.admin(address);
    let context = RequestContext::new(random::u128(), STATUS.as_millis() as u64);
    match time::timeout(STATUS, peer.call(context, ClusterStatus {})).await {
        Ok(status) => status,
        Err(_) => {
            Err(Error::new(Reason::Unreachable, "it cannot say within three seconds how the others are"))
        }
    }
}

fn is_silence(error: &Error) -> bool {
    error.kind() == Kind::Unavailable && error.reason() != Reason::NotReady
        || error.reason() == Reason::DeadlineExceeded
}

fn missing_in(status: &Status) -> Vec<String> {
    let answers = |node: NodeId| status.nodes.iter().any(|own| own.node == node);
    let of_store: Vec<&NodeView> =
        status.view.nodes_of(Role::Frontend).filter(|node| node.state <= NodeState::Draining).collect();
    let mut silent: Vec<&str> =
        of_store.iter().filter(|node| !answers(node.node)).map(|node| &*node.name).collect();
    silent.sort_unstable();
    let mut missing = Vec::new();
    if !silent.is_empty() {
        let answering = answer(of_store.len() - silent.len(), of_store.len());
        missing.push(format!("{answering} (not {})", silent.join(", ")));
    }
    let data = status.view.groups.iter().filter(|group| group.group != GroupId::META);
    missing.extend(data.filter_map(|group| {
        let led = status.groups.iter().any(|(led, _)| *led == group.group);
        missing_of(group, group.replicas.iter().filter(|replica| answers(replica.node)).count(), led)
    }));
    missing
}

/// What a group lacks, of whose replicas so many are on nodes that answer.
fn missing_of(group: &GroupView, there: usize, led: bool) -> Option<String> {
    let (id, all) = (group.group, group.replicas.len());
    if there * 2 <= all {
        let answers = if there == 1 { "answers" } else { "answer" };
        return Some(format!("group {id} has no majority: {there} of its {all} replicas {answers}"));
    }
    (!led).then(|| format!("no leader of group {id}"))
}

fn answer(answering: usize, all: usize) -> String {
    let frontends = if all == 1 { "frontend" } else { "frontends" };
    format!("{answering} of {all} {frontends} {}", if answering == 1 { "answers" } else { "answer" })
}

#[cfg(test)]
mod tests;
