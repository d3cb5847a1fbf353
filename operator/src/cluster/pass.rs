//! One pass over one store.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use lamina_crds::{ConditionType, StorageCluster, StorageClusterStatus};
use lamina_env::Clock;
use lamina_env::random;
use lamina_env::time::Duration;
use lamina_peers::Network;
use lamina_types::ClusterId;
use parking_lot::Mutex;
use serde_json::json;

use super::build::Counts;
use super::execute::{Executor, Outcome};
use super::plan::{Input, plan};
use super::{observe, status};
use crate::events::Events;
use crate::metrics::Metrics;
use crate::names::{Key, MANAGER};
use crate::options::Images;
use crate::store::Store;

/// A store that is as it should be is looked at again after this time.
const CALM: Duration = Duration::from_secs(30);
/// One on which something is under way or waited for.
const BUSY: Duration = Duration::from_secs(5);
/// One on which a step was just taken.
const NOW: Duration = Duration::from_secs(1);

/// Gives each store a network of its own, whose connections end with it.
pub type Networks = Box<dyn Fn() -> Arc<dyn Network> + Send + Sync>;

/// What all passes share. There is nothing in it that a restarted operator would miss.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Images of stores that name none.
    pub images: Images,
    /// Where the operator runs.
    pub namespace: String,
    /// Tells what happened.
    pub events: Events,
    /// Counts.
    pub metrics: Metrics,
    networks: Networks,
    open: Mutex<BTreeMap<Key, Arc<dyn Network>>>,
}

impl Context {
    /// A context. `networks` makes the network of a store.
    pub fn new(
        client: Client,
        clock: Arc<dyn Clock>,
        images: Images,
        namespace: String,
        metrics: Metrics,
        networks: Networks,
    ) -> Context {
        let events = Events::new(client.clone());
        Context { client, clock, images, namespace, events, metrics, networks, open: Mutex::default() }
    }

    /// The store, through all frontends that it may have.
    pub fn store(&self, key: &Key, counts: &Counts) -> Store {
        let network = self.open.lock().entry(key.clone()).or_insert_with(|| (self.networks)()).clone();
        let component = lamina_crds::operation::Component::Frontend;
        Store::new(network, (0..counts.frontend).map(|n| key.address(component, n)).collect())
    }

    /// The store is gone.
    pub fn forget(&self, key: &Key) {
        self.open.lock().remove(key);
        self.metrics.forget(key);
    }
}

/// Looks, plans, acts, and says so. Gives when to look again; `None`: the store is gone.
///
/// # Errors
/// The API server could not be read from.
pub async fn pass(context: &Context, key: &Key) -> kube::Result<Option<Duration>> {
    let clusters: Api<StorageCluster> = Api::namespaced(context.client.clone(), &key.namespace);
    let Some(cluster) = clusters.get_opt(&key.name).await? else {
        context.forget(key);
        return Ok(None);
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        return Ok(Some(BUSY));
    }
    let counts = Counts::from(&cluster.spec.shape().settings);
    let store = context.store(key, &counts);
    let now = i64::try_from(context.clock.now_ms() / 1000).unwrap_or_default();
    let seen = observe::observe(&context.client, &store, key, &cluster, now).await?;
    let input = Input {
        key,
        cluster: &cluster,
        seen: &seen,
        images: &context.images,
        operator_namespace: &context.namespace,
        now,
        fresh: ClusterId(random::u128()),
    };
    let plan = plan(&input);
    let executor = Executor { client: &context.client, store: &store, key, owner: input.owner() };
    let outcome = executor.run(&plan.actions).await;
    for error in &outcome.errors {
        tracing::warn!(store = %key, "{error}");
    }
    context.events.drifted(&cluster, &outcome.drifts).await;
    context.metrics.steps(outcome.taken, outcome.waits.len(), outcome.errors.len());
    let said = status::status(&input, &plan, &outcome);
    context.metrics.conditions(key, &said);
    tell(context, &clusters, &cluster, &said).await?;
    Ok(Some(again(&plan.actions, &outcome, &said)))
}

fn again(actions: &[super::plan::Action], outcome: &Outcome, said: &StorageClusterStatus) -> Duration {
    let is = |kind: ConditionType| said.condition(kind).is_some_and(lamina_crds::Condition::is_true);
    if outcome.taken > 0 {
        NOW
    } else if actions.is_empty() && is(ConditionType::Ready) && is(ConditionType::Reconciled) {
        CALM
    } else {
        BUSY
    }
}

/// Writes the status if it changed, and tells what changed as events.
async fn tell(
    context: &Context,
    clusters: &Api<StorageCluster>,
    cluster: &StorageCluster,
    said: &StorageClusterStatus,
) -> kube::Result<()> {
    let was = cluster.status.clone().unwrap_or_default();
    if was == *said {
        return Ok(());
    }
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    let body = json!({
        "apiVersion": format!("{}/{}", lamina_crds::GROUP, lamina_crds::VERSION),
        "kind": "StorageCluster",
        // Of this one, not of one that has its name since.
        "metadata": { "name": name, "uid": cluster.metadata.uid },
        "status": said,
    });
    let params = PatchParams::apply(MANAGER).force();
    match clusters.patch_status(name, &params, &Patch::Apply(&body)).await {
        Ok(_) => {
            context.events.tell(cluster, &was, said).await;
            Ok(())
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}
