//! Wakes passes: when a StorageCluster or something of it changes, and from time to time. What woke a pass is not told to it.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ObjectMeta;
use kube::runtime::controller::{Action, Config, Controller, Error};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use lamina_crds::{StorageCluster, StorageOperation};
use lamina_env::time::{self, Duration};
use serde::Deserialize;

use crate::cluster::pass::{Context, pass};
use crate::names::{Key, managed};

/// Passes at the same time.
const CONCURRENCY: u16 = 4;
/// Changes that come together wake one pass.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// After a pass that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Runs passes until `stop` is done.
pub async fn run(
    context: Arc<Context>,
    namespace: &str,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let client = context.client.clone();
    let all = context.clone();
    let labelled = watcher::Config::default().labels(&managed());
    let stream = Controller::new(api::<StorageCluster>(&client, namespace), watcher::Config::default())
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .owns(api::<StatefulSet>(&client, namespace), labelled.clone())
        .watches(api::<NamedPod>(&client, namespace), labelled.clone(), |pod: NamedPod| cluster_of_pod(&pod))
        .watches(
            api::<StorageOperation>(&client, namespace),
            watcher::Config::default(),
            |operation: StorageOperation| {
                let namespace = operation.namespace().unwrap_or_default();
                Some(ObjectRef::new(&operation.spec.cluster).within(&namespace))
            },
        )
        .graceful_shutdown_on(stop)
        .run(reconcile, |_, _, _| Action::requeue(AGAIN), context);
    stream
        .for_each(|result| {
            // No pass is made for a store that is gone: what is remembered of it goes here.
            if let Err(Error::ObjectNotFound(gone)) = &result {
                let namespace = gone.namespace.clone().unwrap_or_default();
                all.forget(&Key { namespace, name: gone.name.clone() });
            }
            futures::future::ready(())
        })
        .await;
}

fn api<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    if namespace.is_empty() { Api::all(client.clone()) } else { Api::namespaced(client.clone(), namespace) }
}

/// A pod of which nothing is read but its metadata.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "Pod")]
struct NamedPod {
    metadata: ObjectMeta,
}

fn cluster_of_pod(pod: &NamedPod) -> Option<ObjectRef<StorageCluster>> {
    let name = pod.labels().get("app.kubernetes.io/instance")?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

async fn reconcile(cluster: Arc<StorageCluster>, context: Arc<Context>) -> Result<Action, kube::Error> {
    let key = Key { namespace: cluster.namespace().unwrap_or_default(), name: cluster.name_any() };
    let begun = time::now();
    let result = pass(&context, &key).await;
    context.metrics.passed(begun.elapsed(), result.is_err());
    match result {
        Ok(Some(again)) => Ok(Action::requeue(again)),
        Ok(None) => Ok(Action::await_change()),
        Err(error) => {
            tracing::warn!(store = %key, %error, "a pass failed");
            Err(error)
        }
    }
}
