//! How stores begin, side by side and again.

use anyhow::ensure;
use lamina_env::time::Duration;
use serde_json::{Value, json};

use crate::kube::at;
use crate::stage::{BACK, READY, Stage, condition};
use crate::stories::Told;
use crate::wait::until;

/// Conditions that every store has from the first pass on.
const CONDITIONS: [&str; 10] = [
    "Ready",
    "Available",
    "Progressing",
    "Degraded",
    "Reconciled",
    "Stalled",
    "ShardsFullyReplicated",
    "VolumesResized",
    "UpgradeAvailable",
    "Paused",
];

/// A store of one node of each role: for stories that are not about redundancy.
#[must_use]
pub fn single() -> Value {
    json!({
        "profile": "Development",
        "frontend": { "replicas": 1, "replicationFactor": 1 },
        "index": { "replicas": 1, "replicationFactor": 1 },
        "data": { "replicas": 1, "replicationFactor": 1 },
    })
}

/// Install and first write: the quick start of the documentation.
///
/// # Errors
/// What did not hold.
pub async fn install(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    let took = stage.ready_store("orders", &json!({})).await?;
    told.fact(format!("Ready {:.1} s after kubectl apply", took.as_secs_f64()));
    let store = stage.namespace.get(&["stc", "orders"]).await?;
    for wanted in CONDITIONS {
        ensure!(condition(&store, wanted).is_some(), "the store has no condition {wanted}");
    }
    let status = at(&store, "status").map(Value::to_string).unwrap_or_default();
    ensure!(status.len() <= 8192, "the status has {} bytes", status.len());
    told.fact(format!("status of {} bytes", status.len()));
    stage.lamina("orders", &["put", "hello", "world"]).await?;
    let got = stage.lamina("orders", &["get", "hello"]).await?;
    ensure!(got.trim_end() == "world", "hello is {got:?}");
    let events =
        stage.namespace.list(&["events", "--field-selector=involvedObject.kind=StorageCluster"]).await?;
    told.fact(format!("{} events", events.len()));
    let load = stage.load("orders", &[]).await?;
    load.more_writes(500, Duration::from_secs(60)).await?;
    told.operations = load.finish().await?.judge()?;
    Ok(told)
}

/// Two stores in one namespace, with the same keys.
///
/// # Errors
/// What did not hold.
pub async fn two_stores(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    for name in ["left", "right"] {
        stage.apply_store(name, &single()).await?;
    }
    for name in ["left", "right"] {
        stage.ready(name, READY).await?;
    }
    // The same keys in both, so that a value in the wrong store is seen as one that nobody wrote there.
    let left = stage.load("left", &["--prefix", "both"]).await?;
    let right = stage.load("right", &["--prefix", "both"]).await?;
    left.more_writes(300, Duration::from_secs(60)).await?;
    right.more_writes(300, Duration::from_secs(60)).await?;
    told.operations = left.finish().await?.judge()? + right.finish().await?.judge()?;
    stage.namespace.run(&["delete", "stc", "left", "--wait=true"]).await?;
    until("the pods of the deleted store are gone", BACK, async || {
        Ok(stage.pods("left", "").await?.is_empty().then_some(()))
    })
    .await?;
    stage.lamina("right", &["probe"]).await?;
    told.fact("the other one serves on when one is deleted");
    Ok(told)
}

/// Deleted and made again from its volumes.
///
/// # Errors
/// What did not hold.
pub async fn made_again(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    stage.ready_store("orders", &json!({})).await?;
    let load = stage.load("orders", &[]).await?;
    load.more_writes(500, Duration::from_secs(60)).await?;
    stage.lamina("orders", &["flush"]).await?;
    load.more_writes(200, Duration::from_secs(60)).await?;
    let seen = load.finish().await?;
    told.operations = seen.judge()?;
    let uuid = |store: &Value| at(store, "status.clusterUUID").cloned();
    let first = uuid(&stage.namespace.get(&["stc", "orders"]).await?);
    stage.namespace.run(&["delete", "stc", "orders", "--wait=true"]).await?;
    until("the pods of the deleted store are gone", BACK, async || {
        Ok(stage.pods("orders", "").await?.is_empty().then_some(()))
    })
    .await?;
    let volumes = stage.namespace.list(&["pvc"]).await?.len();
    ensure!(volumes >= 6, "only {volumes} volumes are left");
    let took = stage.ready_store("orders", &json!({})).await?;
    told.fact(format!("Ready again after {:.1} s", took.as_secs_f64()));
    let second = uuid(&stage.namespace.get(&["stc", "orders"]).await?);
    ensure!(first.is_some() && first == second, "it is another store: {first:?}, then {second:?}");
    let lost = seen.losses(&stage.rows("orders").await?);
    ensure!(lost.is_empty(), "{} writes were lost, among them {:?}", lost.len(), lost.first());
    told.fact(format!("{} volumes, the same store, nothing lost", volumes));
    let load = stage.load("orders", &["--prefix", "after"]).await?;
    load.more_writes(200, Duration::from_secs(60)).await?;
    told.operations += load.finish().await?.judge()?;
    Ok(told)
}
