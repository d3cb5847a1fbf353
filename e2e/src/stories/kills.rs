//! What comes without asking: pods killed, nodes stopped.

use anyhow::{Context, ensure};
use lamina_env::time::{self, Duration};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::kube::{at, text};
use crate::loading::Loading;
use crate::program;
use crate::stage::{BACK, READY, Stage};
use crate::stories::Told;
use crate::wait::until;

/// How long writes may wait for a new leader, and much more than that.
const GOES_ON: Duration = Duration::from_secs(60);

/// One pod of each kind is killed, the frontend that leads first.
///
/// # Errors
/// What did not hold.
pub async fn each_kind(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    stage.ready_store("orders", &json!({})).await?;
    let mut load = stage.load("orders", &[]).await?;
    load.more_writes(200, GOES_ON).await?;
    stage.lamina("orders", &["flush"]).await?;
    for role in ["frontend", "index", "data"] {
        let victim = match role {
            "frontend" => stage.pod(&leader(stage).await?).await?,
            _ => stage.pods("orders", role).await?.into_iter().next().context("there is no such pod")?,
        };
        load.mark().await?;
        let killed = time::now();
        stage.kill(&[&victim.name]).await?;
        load.more_writes(100, GOES_ON).await?;
        stage.replaced(&victim, BACK).await?;
        stage.ready("orders", BACK).await?;
        let progress = load.progress();
        told.fact(format!(
            "{role} killed: longest gap between acknowledged writes {} ms, {} calls failed, healed after {:.0} s",
            progress.gap_ms_max,
            progress.failed,
            killed.elapsed().as_secs_f64()
        ));
    }
    told.operations = load.finish().await?.judge()?;
    Ok(told)
}

/// All index pods are killed at once: reads go on through the tails of data files.
///
/// # Errors
/// What did not hold.
pub async fn all_index(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    stage.ready_store("orders", &json!({})).await?;
    let mut load = stage.load("orders", &["--keys", "400"]).await?;
    load.more_writes(1000, Duration::from_secs(90)).await?;
    stage.lamina("orders", &["flush"]).await?;
    let before = stage.pods("orders", "index").await?;
    let names: Vec<&str> = before.iter().map(|pod| pod.name.as_str()).collect();
    load.mark().await?;
    stage.kill(&names).await?;
    load.more_reads(200, GOES_ON).await?;
    let meanwhile = load.progress();
    for pod in &before {
        stage.replaced(pod, BACK).await?;
    }
    stage.ready("orders", BACK).await?;
    stage.condition("orders", ("ShardsFullyReplicated", "True", "AsExpected"), BACK).await?;
    load.more_writes(100, GOES_ON).await?;
    told.fact(format!(
        "200 reads within {} ms of the kill, {} calls failed; all shards back in full",
        meanwhile.took_ms,
        load.progress().failed
    ));
    told.operations = load.finish().await?.judge()?;
    Ok(told)
}

/// A data node whose worker takes no pods any more is given up with its volume, and an empty one takes its place elsewhere.
///
/// # Errors
/// What did not hold.
pub async fn replaced(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    stage.ready_store("orders", &json!({})).await?;
    let load = stage.load("orders", &[]).await?;
    load.more_writes(300, GOES_ON).await?;
    stage.lamina("orders", &["flush"]).await?;
    let before = stage.pod("orders-data-1").await?;
    let kube = &stage.world.kube;
    // Its volume is on this worker, so its pod can start nowhere.
    kube.run(&["cordon", &before.node]).await?;
    let replaced = replaced_elsewhere(stage, &before.name).await;
    kube.run(&["uncordon", &before.node]).await?;
    let took = replaced?;
    let after = stage.replaced(&before, BACK).await?;
    ensure!(after.node != before.node, "the new node has the old one's worker");
    stage.ready("orders", BACK).await?;
    told.fact(format!(
        "lost, given up, and replaced by another with all copies after {:.0} s",
        took.as_secs_f64()
    ));
    told.operations = load.finish().await?.judge()?;
    Ok(told)
}

async fn replaced_elsewhere(stage: &Stage<'_>, pod: &str) -> anyhow::Result<Duration> {
    let begun = time::now();
    stage.kill(&[pod]).await?;
    operation(stage, "replace", json!({ "type": "ReplaceNode", "replaceNode": { "node": pod } })).await?;
    finished(stage, "replace", Duration::from_secs(300)).await?;
    Ok(begun.elapsed())
}

/// A worker is switched off under load, and on again.
///
/// # Errors
/// What did not hold.
pub async fn worker(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    stage.ready_store("orders", &json!({})).await?;
    let mut load = stage.load("orders", &[]).await?;
    load.more_writes(200, GOES_ON).await?;
    // The worst one: that of the leader.
    let worker = stage.pod(&leader(stage).await?).await?.node;
    load.mark().await?;
    docker(&["pause", &worker]).await?;
    // Whatever happens from here on, the worker has to come back for the stories behind this one.
    let without = without_worker(stage, &load, &worker).await;
    docker(&["unpause", &worker]).await?;
    let progress = load.progress();
    without?;
    told.fact(format!(
        "worker of the leader stopped: longest gap {} ms, {} calls failed until it was noticed as lost",
        progress.gap_ms_max, progress.failed
    ));
    node_is(stage, &worker, "True").await?;
    stage.ready("orders", READY).await?;
    load.more_writes(100, GOES_ON).await?;
    told.operations = load.finish().await?.judge()?;
    Ok(told)
}

async fn without_worker(stage: &Stage<'_>, load: &Loading, worker: &str) -> anyhow::Result<()> {
    load.more_writes(100, GOES_ON).await?;
    node_is(stage, worker, "Unknown").await?;
    load.more_writes(100, GOES_ON).await
}

async fn node_is(stage: &Stage<'_>, node: &str, wanted: &str) -> anyhow::Result<()> {
    until(&format!("the node {node} is {wanted}"), Duration::from_secs(150), async || {
        let node = stage.world.kube.get(&["node", node]).await?;
        let ready = crate::stage::condition(&node, "Ready").and_then(|it| text(it, "status"));
        Ok((ready == Some(wanted)).then_some(()))
    })
    .await
}

async fn docker(arguments: &[&str]) -> anyhow::Result<()> {
    program::run(Command::new("docker").args(arguments), None, Duration::from_secs(60)).await.map(drop)
}

/// The frontend that leads the group of the data.
///
/// # Errors
/// Nobody does.
pub async fn leader(stage: &Stage<'_>) -> anyhow::Result<String> {
    until("a leader", GOES_ON, async || {
        let status = stage.status("orders").await?;
        let groups = at(&status, "groups").and_then(Value::as_array).context("a status without groups")?;
        Ok(groups.iter().rev().find_map(|group| text(group, "leader")).map(str::to_owned))
    })
    .await
}

/// Makes a StorageOperation on the store `orders`.
///
/// # Errors
/// The API server refuses it.
pub async fn operation(stage: &Stage<'_>, name: &str, mut spec: Value) -> anyhow::Result<()> {
    if let Some(fields) = spec.as_object_mut() {
        fields.insert("cluster".to_owned(), json!("orders"));
    }
    let object = json!({
        "apiVersion": "lamina.dev/v1alpha1", "kind": "StorageOperation",
        "metadata": { "name": name, "namespace": stage.namespace.name }, "spec": spec
    });
    stage.world.kube.apply(&object.to_string()).await.map(drop)
}

/// Waits until a StorageOperation has succeeded.
///
/// # Errors
/// It failed, or did not end within the time.
pub async fn finished(stage: &Stage<'_>, name: &str, within: Duration) -> anyhow::Result<Value> {
    let ended = until(&format!("the operation {name} ends"), within, async || {
        let operation = stage.namespace.get(&["sto", name]).await?;
        let phase = text(&operation, "status.phase").unwrap_or("Pending");
        if matches!(phase, "Succeeded" | "Failed") {
            return Ok(Some(operation));
        }
        anyhow::bail!("{phase}: {}", text(&operation, "status.message").unwrap_or("no message"))
    })
    .await?;
    let phase = text(&ended, "status.phase");
    ensure!(
        phase == Some("Succeeded"),
        "it failed: {}",
        text(&ended, "status.message").unwrap_or("no message")
    );
    Ok(ended)
}
