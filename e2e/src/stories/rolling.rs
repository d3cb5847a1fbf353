//! What is asked for: restarts, versions, images.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use lamina_env::time::{self, Duration};
use serde_json::{Value, json};

use crate::kube::{at, number, text};
use crate::loading::Loading;
use crate::stage::{BACK, Pod, Stage};
use crate::stories::Told;
use crate::stories::kills::{finished, operation};
use crate::wait::until;
use crate::world::OPERATOR_NAMESPACE;

/// How long all pods of a store may take to be replaced, one after the other.
const ROLL: Duration = Duration::from_secs(480);
/// How long writes may take to come.
const GOES_ON: Duration = Duration::from_secs(60);
/// The longest time without an acknowledged write while pods are replaced on purpose.
const GAP_MS_MAX: u64 = 3000;

/// Writers waited for too long.
#[derive(Debug, thiserror::Error)]
#[error("no write was acknowledged for {0} ms")]
pub struct TooSlow(u64);

/// A rolling restart by a StorageOperation, under load.
///
/// # Errors
/// What did not hold.
pub async fn restart(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    stage.ready_store("orders", &json!({})).await?;
    let mut load = stage.load("orders", &[]).await?;
    load.more_writes(200, GOES_ON).await?;
    let before = stage.pods("orders", "").await?;
    load.mark().await?;
    let begun = time::now();
    operation(stage, "restart", json!({ "type": "RollingRestart" })).await?;
    finished(stage, "restart", ROLL).await?;
    stage.ready("orders", BACK).await?;
    told.fact(format!("{} pods restarted in {:.0} s", before.len(), begun.elapsed().as_secs_f64()));
    let after = stage.pods("orders", "").await?;
    ensure!(uids(&before).is_disjoint(&uids(&after)), "a pod was not restarted");
    ensure!(before.len() == after.len(), "{} pods became {}", before.len(), after.len());
    no_harm(&mut told, &load)?;
    told.operations = load.finish().await?.judge()?;
    Ok(told)
}

/// Another version of the same source, under load.
///
/// # Errors
/// What did not hold.
pub async fn version(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    stage.ready_store("orders", &json!({})).await?;
    let version = |store: &Value| text(store, "status.version").map(str::to_owned);
    let first = version(&stage.namespace.get(&["stc", "orders"]).await?);
    let mut load = stage.load("orders", &[]).await?;
    load.more_writes(200, GOES_ON).await?;
    load.mark().await?;
    let begun = time::now();
    let next = &stage.world.next_tag;
    stage.namespace.patch("stc/orders", &json!({ "spec": { "image": { "tag": next } } })).await?;
    let image = format!("{}:{next}", stage.world.repository);
    until("all pods have the new image", ROLL, async || {
        let pods = stage.pods("orders", "").await?;
        let done = pods.iter().filter(|pod| pod.ready && pod.image.ends_with(&image)).count();
        ensure!(done == pods.len(), "{done} of {}", pods.len());
        Ok(Some(()))
    })
    .await?;
    stage.ready("orders", BACK).await?;
    let second = version(&stage.namespace.get(&["stc", "orders"]).await?);
    ensure!(
        first.is_some() && second.is_some() && first != second,
        "the version went from {first:?} to {second:?}"
    );
    told.fact(format!(
        "{} to {} in {:.0} s",
        first.unwrap_or_default(),
        second.unwrap_or_default(),
        begun.elapsed().as_secs_f64()
    ));
    no_harm(&mut told, &load)?;
    told.operations = load.finish().await?.judge()?;
    Ok(told)
}

/// An image that is not there, then the right one: nobody deletes a pod by hand.
///
/// # Errors
/// What did not hold.
pub async fn bad_image(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    stage.ready_store("orders", &json!({})).await?;
    let mut load = stage.load("orders", &[]).await?;
    load.more_writes(200, GOES_ON).await?;
    load.mark().await?;
    stage.namespace.patch("stc/orders", &json!({ "spec": { "image": { "tag": "not-there" } } })).await?;
    until("a pod cannot find its image", BACK, async || {
        let list = stage.namespace.list(&["pods", "-l", "app.kubernetes.io/instance=orders"]).await?;
        let waits = |pod: &Value| {
            let why = text(pod, "status.containerStatuses.0.state.waiting.reason");
            why.is_some_and(|why| why.contains("ImagePull") || why.contains("ErrImage"))
        };
        Ok((list.iter().filter(|pod| waits(pod)).count() > 0).then_some(()))
    })
    .await?;
    load.more_writes(200, GOES_ON).await?;
    let down = stage.pods("orders", "").await?.iter().filter(|pod| !pod.ready).count();
    ensure!(down == 1, "{down} pods are down for one bad image");
    stage.namespace.patch("stc/orders", &json!({ "spec": { "image": { "tag": null } } })).await?;
    stage.ready("orders", ROLL).await?;
    told.fact("one pod waited for its image, and was replaced by the operator");
    no_harm(&mut told, &load)?;
    told.operations = load.finish().await?.judge()?;
    Ok(told)
}

/// The operator is killed when a rolling restart has begun: it goes on, and restarts no pod twice.
///
/// # Errors
/// What did not hold.
pub async fn operator_killed(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    stage.ready_store("orders", &json!({})).await?;
    let mut load = stage.load("orders", &[]).await?;
    load.more_writes(200, GOES_ON).await?;
    let mut ever = uids(&stage.pods("orders", "").await?);
    let pods = ever.len();
    load.mark().await?;
    let spec = json!({ "type": "RollingRestart", "rollingRestart": { "components": ["Index", "Data"] } });
    operation(stage, "restart", spec).await?;
    until("the first pod is another one", BACK, async || {
        ever.extend(uids(&stage.pods("orders", "").await?));
        Ok((ever.len() > pods).then_some(()))
    })
    .await?;
    let operators: Vec<String> = stage
        .world
        .operators()
        .await?
        .iter()
        .filter_map(|pod| text(pod, "metadata.name").map(str::to_owned))
        .collect();
    let names: Vec<&str> = operators.iter().map(String::as_str).collect();
    let kill = [&["delete", "pod", "--force", "--grace-period=0"], &names[..]].concat();
    stage.world.kube.namespace(OPERATOR_NAMESPACE).run(&kill).await?;
    until("the rolling restart ends", ROLL, async || {
        ever.extend(uids(&stage.pods("orders", "").await?));
        let operation = stage.namespace.get(&["sto", "restart"]).await?;
        let phase = text(&operation, "status.phase").unwrap_or("Pending").to_owned();
        ensure!(
            phase == "Succeeded",
            "{phase}: {}",
            text(&operation, "status.message").unwrap_or("no message")
        );
        Ok(Some(()))
    })
    .await?;
    stage.ready("orders", BACK).await?;
    let restarted = ever.len() - pods;
    let wanted = restartable(&stage.pods("orders", "").await?);
    ensure!(restarted == wanted, "{restarted} pods were made for {wanted} restarts");
    told.fact(format!("{} operator pods killed; {restarted} restarts, none twice", names.len()));
    no_harm(&mut told, &load)?;
    told.operations = load.finish().await?.judge()?;
    Ok(told)
}

fn restartable(pods: &[Pod]) -> usize {
    pods.iter().filter(|pod| pod.name.contains("-index-") || pod.name.contains("-data-")).count()
}

fn uids(pods: &[Pod]) -> BTreeSet<String> {
    pods.iter().map(|pod| pod.uid.clone()).collect()
}

/// What is done on purpose fails no call and holds up no writer.
fn no_harm(told: &mut Told, load: &Loading) -> anyhow::Result<()> {
    let progress = load.progress();
    told.fact(format!(
        "{} writes and {} reads meanwhile, {} failed; longest call {} ms, longest gap between acknowledged writes {} ms",
        progress.acknowledged, progress.read, progress.failed, progress.call_ms_max, progress.gap_ms_max
    ));
    ensure!(progress.failed == 0, "{} calls failed: {:?}", progress.failed, load.failures());
    if progress.gap_ms_max > GAP_MS_MAX {
        return Err(TooSlow(progress.gap_ms_max).into());
    }
    Ok(())
}

/// Replicas that a StatefulSet wants.
///
/// # Errors
/// There is no such StatefulSet.
pub async fn replicas(stage: &Stage<'_>, name: &str) -> anyhow::Result<i64> {
    let set = stage.namespace.get(&["sts", name]).await?;
    ensure!(at(&set, "spec").is_some(), "no StatefulSet");
    number(&set, "spec.replicas").context("a StatefulSet without replicas")
}
