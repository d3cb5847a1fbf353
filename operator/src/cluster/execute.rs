//! Takes the steps of a plan, in order, each behind its guard. A step that fails stops nothing that comes after it and does not
//! need it; what it was for is planned again at the next pass.

use kube::api::{
    DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use kube::{Api, Client};
use lamina_crds::{Reason, StorageOperation};
use serde_json::{Value, json};

use super::compare;
use super::guard::{Pass, guard};
use super::plan::objects::larger;
use super::plan::{Action, Class};
use super::seen::mark;
use super::validate::Stall;
use crate::events::Drift;
use crate::kinds::Kind;
use crate::names::{GIVES_UP, Key, MANAGER};
use crate::store::Store;

/// What came of a plan.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Steps that were taken.
    pub taken: usize,
    /// What is waited for.
    pub waits: Vec<(Reason, String)>,
    /// What a person has to mend.
    pub stalls: Vec<Stall>,
    /// Steps whose object had moved on: they are planned anew.
    pub moved: usize,
    /// What failed for now.
    pub errors: Vec<String>,
    /// What somebody else had changed, and was set back.
    pub drifts: Vec<Drift>,
}

/// Who takes the steps.
pub struct Executor<'a> {
    /// The API server.
    pub client: &'a Client,
    /// The store.
    pub store: &'a Store,
    /// The store's name.
    pub key: &'a Key,
    /// The UID of the StorageCluster.
    pub owner: &'a str,
}

/// Why a step was not taken.
enum Hitch {
    /// The object moved on meanwhile: look again.
    Moved,
    /// Not now.
    Waits(Reason, String),
    /// Not without a person.
    Stalls(Reason, String),
    /// An error that may pass.
    Failed(String),
}

impl Executor<'_> {
    /// Takes the steps. At most one of them disrupts, and only if all before it went well.
    pub async fn run(&self, actions: &[Action]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut templates_stand = true;
        for action in actions {
            // A volume that cannot grow is no reason to leave pods as they are.
            let stalls = outcome.stalls.iter().any(|it| it.reason != Reason::ResizeUnsupported);
            let clean = outcome.errors.is_empty() && outcome.moved == 0 && !stalls;
            // What was accepted has to stand before pods are made by it.
            let makes_pods = matches!(action, Action::Apply { kind: Kind::StatefulSet, .. });
            if (action.class() == Class::Disrupt && !clean) || (makes_pods && !templates_stand) {
                continue;
            }
            let result = self.guarded(action).await;
            templates_stand &=
                result.is_ok() || !matches!(action, Action::Apply { kind: Kind::ConfigMap, .. });
            match result {
                Ok(()) => {
                    tracing::info!(store = %self.key, class = ?action.class(), "{}", action.says());
                    outcome.taken += 1;
                    if let Action::Apply { kind, name, drift: Some(at), .. } = action {
                        outcome.drifts.push(Drift { kind: *kind, name: name.clone(), at: at.clone() });
                    }
                }
                Err(Hitch::Moved) => {
                    tracing::debug!(store = %self.key, "moved on: {}", action.says());
                    outcome.moved += 1;
                }
                Err(Hitch::Waits(reason, message)) => {
                    tracing::debug!(store = %self.key, message, "waits: {}", action.says());
                    outcome.waits.push((reason, message));
                }
                Err(Hitch::Stalls(reason, message)) => {
                    tracing::warn!(store = %self.key, %reason, "stalls: {message}");
                    outcome.stalls.push(Stall { reason, message });
                }
                Err(Hitch::Failed(why)) => outcome.errors.push(format!("{}: {why}", action.says())),
            }
        }
        outcome
    }

    async fn guarded(&self, action: &Action) -> Result<(), Hitch> {
        match guard(self.store, action).await {
            Pass::Granted => self.take(action).await,
            Pass::Refused(reasons) => {
                let reason = if action.class() == Class::Destroy {
                    Reason::ReplacingNode
                } else {
                    Reason::WaitingForGrant
                };
                Err(Hitch::Waits(reason, reasons.join("; ")))
            }
        }
    }

    async fn take(&self, action: &Action) -> Result<(), Hitch> {
        match action {
            Action::Apply { kind, name, uid, object, .. } => {
                self.apply(*kind, name, uid.as_deref(), object).await
            }
            Action::Remove { kind, name, uid } => self.delete(*kind, name, with_uid(uid)).await,
            Action::CreateRecord { object } => self.create_record(object).await,
            Action::Bootstrap { address, node, record, .. } => {
                told(self.store.bootstrap(address, *node, record.clone()).await)
            }
            Action::SetZone { node, zone } => told(self.store.set_zone(*node, zone.clone()).await),
            Action::EndGrant { grant } => told(self.store.end_grant(grant.clone()).await),
            Action::DeclareDead { node, from, name } => {
                let said = self.store.declare_dead(*node, *from).await;
                said.map_err(|error| {
                    Hitch::Waits(Reason::ReplacingNode, format!("{name} is not declared dead yet: {error}"))
                })
            }
            Action::Bury { node, name } => match self.store.release(*node).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(reasons)) => {
                    let why = format!("what {name} held is still needed: {}", reasons.join("; "));
                    Err(Hitch::Waits(Reason::ReplacingNode, why))
                }
                Err(error) => told(Err(error)),
            },
            Action::DeletePod { name, uid, force, .. } => {
                let grace = force.then_some(0);
                let params = DeleteParams { grace_period_seconds: grace, ..with_uid(uid) };
                self.delete(Kind::Pod, name, params).await
            }
            Action::GrowClaim { name, uid, size } => self.grow(name, uid, size).await,
            Action::RecreateSet { name, uid, .. } => {
                let orphan = Some(PropagationPolicy::Orphan);
                let params = DeleteParams { propagation_policy: orphan, ..with_uid(uid) };
                self.delete(Kind::StatefulSet, name, params).await
            }
            Action::MarkClaim { name, uid, nodes } => {
                let mark = nodes.as_deref().map(mark);
                let patch = json!({ "metadata": { "uid": uid, "annotations": { GIVES_UP: mark } } });
                self.merge(Kind::Claim, name, &patch).await.map_err(hitch)
            }
            Action::Evict { name, uid, ready: true, .. } => self.evict(name, uid).await,
            Action::Evict { name, uid, .. } => self.delete(Kind::Pod, name, with_uid(uid)).await,
            Action::GiveUp { name, uid, nodes } => self.give_up(name, uid, nodes).await,
            Action::TellOperation { name, uid, status } => {
                let patch = json!({ "metadata": { "uid": uid }, "status": status });
                let params =
                    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
                self.operations()
                    .patch_status(name, &params, &Patch::Merge(&patch))
                    .await
                    .map(|_| ())
                    .map_err(hitch)
            }
            Action::DropOperation { name, uid } => {
                self.operations().delete(name, &with_uid(uid)).await.map(|_| ()).map_err(hitch)
            }
        }
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.key.namespace, &kind.resource())
    }

    fn operations(&self) -> Api<StorageOperation> {
        Api::namespaced(self.client.clone(), &self.key.namespace)
    }

    async fn apply(&self, kind: Kind, name: &str, uid: Option<&str>, object: &Value) -> Result<(), Hitch> {
        let api = self.api(kind);
        let mut object = object.clone();
        match uid {
            // Another object of this name is not the one that was looked at.
            Some(uid) => set(&mut object, "uid", json!(uid)),
            None => {
                // Nothing bears our labels; what has our name anyway is somebody else's.
                if let Some(there) = api.get_opt(name).await.map_err(hitch)? {
                    return self.who_is_it(kind, &there, &object).await;
                }
            }
        }
        let params = PatchParams::apply(MANAGER).force();
        match api.patch(name, &params, &Patch::Apply(&object)).await {
            Ok(applied) => kept(kind, name, &applied, &object),
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => Err(Hitch::Stalls(
                Reason::ApiRefused,
                format!("{kind} {name} is refused: {}", status.message),
            )),
            Err(error) => Err(hitch(error)),
        }
    }

    /// There is an object of the name, and no list had it.
    async fn who_is_it(&self, kind: Kind, there: &DynamicObject, object: &Value) -> Result<(), Hitch> {
        let name = there.metadata.name.as_deref().unwrap_or_default();
        let owners = there.metadata.owner_references.iter().flatten();
        let controller = owners.clone().find(|it| it.controller == Some(true));
        if controller.is_some_and(|it| it.uid == self.owner) {
            // It is ours, and the list was late; or somebody has taken away the labels by which it is found.
            let labels = object.pointer("/metadata/labels");
            let patch = json!({ "metadata": { "uid": there.metadata.uid, "labels": labels } });
            let live = json!({ "metadata": { "uid": there.metadata.uid, "labels": there.metadata.labels } });
            return match compare::has(&live, &patch) {
                true => Err(Hitch::Moved),
                false => self.merge(kind, name, &patch).await.map_err(hitch),
            };
        }
        if controller.is_some_and(|it| it.kind == "StorageCluster" && it.name == self.key.name) {
            let why = format!("{kind} {name} of the deleted store of this name is still being removed");
            return Err(Hitch::Waits(Reason::Applying, why));
        }
        let message = format!(
            "{kind} {name} exists and is not the operator's; remove or rename it, or choose another name"
        );
        Err(Hitch::Stalls(Reason::NameConflict, message))
    }

    async fn create_record(&self, object: &Value) -> Result<(), Hitch> {
        let object: DynamicObject =
            serde_json::from_value(object.clone()).map_err(|error| Hitch::Failed(error.to_string()))?;
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match self.api(Kind::ConfigMap).create(&params, &object).await {
            Ok(_) => Ok(()),
            // Somebody else was first: theirs counts.
            Err(kube::Error::Api(status)) if status.code == 409 => Err(Hitch::Moved),
            Err(error) => Err(hitch(error)),
        }
    }

    async fn delete(&self, kind: Kind, name: &str, params: DeleteParams) -> Result<(), Hitch> {
        self.api(kind).delete(name, &params).await.map(|_| ()).map_err(hitch)
    }

    async fn merge(&self, kind: Kind, name: &str, patch: &Value) -> Result<(), kube::Error> {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        self.api(kind).patch(name, &params, &Patch::Merge(patch)).await.map(|_| ())
    }

    async fn grow(&self, name: &str, uid: &str, size: &str) -> Result<(), Hitch> {
        match self.merge(Kind::Claim, name, &larger(uid, size)).await {
            Ok(()) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => Err(Hitch::Stalls(
                Reason::ResizeUnsupported,
                format!(
                    "volume {name} cannot grow to {size}: {}; set the old size, or allow expansion in its StorageClass",
                    status.message
                ),
            )),
            Err(error) => Err(hitch(error)),
        }
    }

    /// The eviction call, so that disruption budgets count it; only this very pod. (kube's own `evict` writes the options under a
    /// name that the API server does not know, and so would evict whatever bears the name.)
    async fn evict(&self, name: &str, uid: &str) -> Result<(), Hitch> {
        let eviction = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": { "name": name, "namespace": self.key.namespace },
            "deleteOptions": { "preconditions": { "uid": uid } },
        });
        let body = serde_json::to_vec(&eviction).map_err(|error| Hitch::Failed(error.to_string()))?;
        let path = format!("/api/v1/namespaces/{}/pods/{name}/eviction", self.key.namespace);
        let request = http::Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| Hitch::Failed(error.to_string()))?;
        match self.client.request::<Value>(request).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 429 => Err(Hitch::Waits(
                Reason::WaitingForGrant,
                format!("{name} is not evicted yet: {}", status.message),
            )),
            Err(error) => Err(hitch(error)),
        }
    }

    /// The guard has the store's word. A fresh look, and the deletion names what was looked at.
    async fn give_up(&self, name: &str, uid: &str, nodes: &[lamina_types::NodeId]) -> Result<(), Hitch> {
        let claim = self.api(Kind::Claim).get(name).await.map_err(hitch)?;
        let marked = claim.metadata.annotations.as_ref().and_then(|all| all.get(GIVES_UP));
        let wanted = mark(nodes);
        if claim.metadata.uid.as_deref() != Some(uid) || marked != Some(&wanted) {
            return Err(Hitch::Moved);
        }
        let preconditions = Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: claim.metadata.resource_version,
        });
        self.delete(Kind::Claim, name, DeleteParams { preconditions, ..DeleteParams::default() }).await
    }
}

/// Whether the API server has kept what was applied. What it has not would be applied again at each pass: that is said, and the
/// pace is that of waiting.
fn kept(kind: Kind, name: &str, applied: &DynamicObject, object: &Value) -> Result<(), Hitch> {
    let applied = serde_json::to_value(applied).map_err(|error| Hitch::Failed(error.to_string()))?;
    match compare::difference(&applied, object) {
        None => Ok(()),
        Some(at) => Err(Hitch::Waits(
            Reason::Applying,
            format!(
                "the API server does not keep {at} of {kind} {name} as it is applied; look for an admission webhook that changes it"
            ),
        )),
    }
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert(field.to_owned(), value);
    }
}

fn with_uid(uid: &str) -> DeleteParams {
    let preconditions = Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
    DeleteParams { preconditions, ..DeleteParams::default() }
}

fn told(said: lamina_types::Result<()>) -> Result<(), Hitch> {
    said.map_err(|error| Hitch::Failed(error.to_string()))
}

fn hitch(error: kube::Error) -> Hitch {
    match error {
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => Hitch::Moved,
        kube::Error::Api(status) if status.code == 403 => {
            Hitch::Stalls(Reason::ApiRefused, status.message.clone())
        }
        error => Hitch::Failed(error.to_string()),
    }
}
