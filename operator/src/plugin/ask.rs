//! `restart`, `replace`: StorageOperations.

use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use lamina_crds::operation::{
    Component, OperationType, ReplaceNode, RollingRestart, StorageOperation, StorageOperationSpec,
};

use super::options::Role;
use super::{Failure, Place, say};

/// How long an operation is kept when it is done, in seconds.
const KEPT: u32 = 86_400;

/// Asks for a rolling restart.
pub async fn restart(place: &Place, name: &str, component: Option<Role>) -> Result<(), Failure> {
    let components = component.map(Role::component).into_iter().collect();
    let spec = StorageOperationSpec {
        cluster: name.to_owned(),
        kind: OperationType::RollingRestart,
        rolling_restart: Some(RollingRestart { components }),
        replace_node: None,
        ttl_seconds_after_finished: KEPT,
    };
    create(place, &format!("{name}-restart-"), spec).await
}

/// Asks for the replacement of a node.
pub async fn replace(place: &Place, pod: &str) -> Result<(), Failure> {
    let store = store_of(pod).ok_or_else(|| {
        Failure::input(format!("{pod:?} is no pod of a store; one is called like orders-data-1"))
    })?;
    let spec = StorageOperationSpec {
        cluster: store.to_owned(),
        kind: OperationType::ReplaceNode,
        rolling_restart: None,
        replace_node: Some(ReplaceNode { node: pod.to_owned() }),
        ttl_seconds_after_finished: KEPT,
    };
    create(place, &format!("{store}-replace-"), spec).await
}

/// The store of a pod's name, if it is one.
fn store_of(pod: &str) -> Option<&str> {
    let (set, ordinal) = pod.rsplit_once('-')?;
    let (store, role) = set.rsplit_once('-')?;
    let is_role = Component::ALL.iter().any(|it| it.as_str() == role);
    (is_role && ordinal.parse::<u32>().is_ok() && !store.is_empty()).then_some(store)
}

async fn create(place: &Place, prefix: &str, spec: StorageOperationSpec) -> Result<(), Failure> {
    super::show::cluster(place, &spec.cluster).await?;
    let api: Api<StorageOperation> = Api::namespaced(place.client.clone(), &place.namespace);
    let metadata = ObjectMeta { generate_name: Some(prefix.to_owned()), ..ObjectMeta::default() };
    let operation = StorageOperation { metadata, spec, status: None };
    let made = api.create(&PostParams::default(), &operation).await?;
    let name = made.metadata.name.unwrap_or_default();
    say(&format!(
        "storageoperation {name} created; follow it with: kubectl get storageoperation {name} --namespace {} --watch",
        place.namespace
    ))
}
