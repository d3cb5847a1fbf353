//! What has to be asked before a step, at the moment of the step.

use lamina_types::NodeId;

use super::plan::Action;
use super::plan::action::grant_of;
use crate::store::Store;

/// Whether a step may be taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pass {
    /// It may.
    Granted,
    /// Not now, because of these.
    Refused(Vec<String>),
}

/// Asks. A store that does not answer refuses.
pub async fn guard(store: &Store, action: &Action) -> Pass {
    match action {
        Action::Evict { uid, node, .. } => match store.can_stop(grant_of(uid), *node).await {
            Ok(Ok(())) => Pass::Granted,
            Ok(Err(reasons)) => Pass::Refused(reasons),
            Err(error) => Pass::Refused(vec![format!("the store was asked and did not answer: {error}")]),
        },
        Action::GiveUp { nodes, .. } => released(store, nodes).await,
        _ => Pass::Granted,
    }
}

/// Every node has to be released. None is no proof.
async fn released(store: &Store, nodes: &[NodeId]) -> Pass {
    if nodes.is_empty() {
        return Pass::Refused(vec!["nobody says whose volume it is".to_owned()]);
    }
    for node in nodes {
        match store.release(*node).await {
            Ok(Ok(())) => {}
            Ok(Err(reasons)) => return Pass::Refused(reasons),
            Err(error) => {
                return Pass::Refused(vec![format!("the store was asked and did not answer: {error}")]);
            }
        }
    }
    Pass::Granted
}
