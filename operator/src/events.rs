//! Kubernetes events: one for each condition that changed and each change of others that was set back, never one per pass.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use lamina_crds::{Condition, ConditionType, StorageCluster, StorageClusterStatus};

use crate::kinds::Kind;
use crate::names::MANAGER;

/// Conditions whose changes are told.
const TOLD: [ConditionType; 8] = [
    ConditionType::Ready,
    ConditionType::Available,
    ConditionType::Progressing,
    ConditionType::Degraded,
    ConditionType::Stalled,
    ConditionType::VolumesResized,
    ConditionType::UpgradeAvailable,
    ConditionType::Paused,
];

/// Why an object was applied again: somebody else had changed it.
const DRIFT: &str = "DriftCorrected";

/// An object that somebody else had changed.
#[derive(Clone, Debug)]
pub struct Drift {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Where.
    pub at: String,
}

/// Tells what happened.
pub struct Events(Recorder);

impl Events {
    /// Tells it to this API server.
    pub fn new(client: Client) -> Events {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: None };
        Events(Recorder::new(client, reporter))
    }

    /// Tells which conditions are otherwise than they were. An event that is lost is lost: the conditions say the same.
    pub async fn tell(
        &self,
        cluster: &StorageCluster,
        was: &StorageClusterStatus,
        is: &StorageClusterStatus,
    ) {
        for condition in changed(was, is) {
            let bad = ConditionType::ALL
                .into_iter()
                .find(|it| it.as_str() == condition.kind)
                .and_then(ConditionType::good)
                .is_some_and(|good| condition.is_true() != good);
            let note = format!("{} is {}: {}", condition.kind, condition.status, condition.message);
            // Events of one reason and action are counted as one: each condition is an action of its own.
            let event = Event {
                type_: if bad { EventType::Warning } else { EventType::Normal },
                reason: condition.reason.clone(),
                note: Some(note),
                action: condition.kind.clone(),
                secondary: None,
            };
            self.publish(cluster, event).await;
        }
    }

    /// Tells what others had changed and was set back.
    pub async fn drifted(&self, cluster: &StorageCluster, drifts: &[Drift]) {
        for Drift { kind, name, at } in drifts {
            let object = ObjectReference {
                kind: Some(kind.to_string()),
                name: Some(name.clone()),
                namespace: cluster.metadata.namespace.clone(),
                ..ObjectReference::default()
            };
            let event = Event {
                type_: EventType::Warning,
                reason: DRIFT.to_owned(),
                note: Some(format!("{kind} {name} was changed at {at}, and is set back")),
                action: "Apply".to_owned(),
                secondary: Some(object),
            };
            self.publish(cluster, event).await;
        }
    }

    async fn publish(&self, cluster: &StorageCluster, event: Event) {
        if let Err(error) = self.0.publish(&event, &cluster.object_ref(&())).await {
            tracing::debug!(%error, "an event was not published");
        }
    }
}

/// Conditions whose status or reason changed. What is as it should be from the beginning is no news.
fn changed<'a>(was: &StorageClusterStatus, is: &'a StorageClusterStatus) -> Vec<&'a Condition> {
    let news = |kind: ConditionType| {
        let now = is.condition(kind)?;
        let same = match was.condition(kind) {
            Some(before) => before.status == now.status && before.reason == now.reason,
            None => kind.good() != Some(true) && !now.is_true(),
        };
        (!same).then_some(now)
    };
    TOLD.into_iter().filter_map(news).collect()
}
