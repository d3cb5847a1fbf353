//! What does not happen.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use lamina_env::time::{self, Duration};
use serde_json::{Value, json};

use crate::kube::{at, number, text};
use crate::stage::Stage;
use crate::stories::Told;
use crate::stories::begin::single;
use crate::wait::until;
use crate::world::OPERATOR_NAMESPACE;

/// How long nothing may be written, in seconds, unless [`QUIET_VARIABLE`] says more. The operator looks at a store more than once
/// in this time.
const QUIET_SECONDS: u64 = 90;
/// The variable that names a longer time.
const QUIET_VARIABLE: &str = "LAMINA_E2E_QUIET_SECONDS";
/// What the operator may hold in memory.
const MEMORY_MAX: i64 = 30 << 20;
/// Pods and secrets of others.
const OTHERS: usize = 1000;
/// What the operator makes or changes. Pods, events and leases are written by others all the time.
const RESOURCES: [&str; 8] = [
    "storageclusters",
    "storageoperations",
    "statefulsets",
    "services",
    "poddisruptionbudgets",
    "networkpolicies",
    "configmaps",
    "persistentvolumeclaims",
];

/// A store that is as it should be costs no write: by the counters of the API server, which count also those that
/// changed nothing, and by the resourceVersions of its objects.
///
/// # Errors
/// What did not hold.
pub async fn steady(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    stage.ready_store("orders", &single()).await?;
    let load = stage.load("orders", &[]).await?;
    // What follows the start (the last condition, a disruption budget) may still come; then there is an end of it.
    let before = until("a stretch without any write", Duration::from_secs(120), async || {
        let before = versions(stage).await?;
        time::sleep(Duration::from_secs(5)).await;
        Ok((versions(stage).await? == before).then_some(before))
    })
    .await?;
    let counted = writes(stage).await?;
    let named = std::env::var(QUIET_VARIABLE).ok().and_then(|seconds| seconds.parse().ok());
    let quiet = Duration::from_secs(named.unwrap_or(QUIET_SECONDS));
    let begun = time::now();
    while begun.elapsed() < quiet {
        load.more_writes(50, Duration::from_secs(60)).await?;
        let now = versions(stage).await?;
        ensure!(now == before, "objects were written though nothing was to do: {}", changed(&before, &now));
    }
    let more: BTreeMap<String, u64> = writes(stage)
        .await?
        .into_iter()
        .map(|(what, count)| (what.clone(), count - counted.get(&what).copied().unwrap_or(0)))
        .filter(|(_, count)| *count > 0)
        .collect();
    ensure!(more.is_empty(), "the API server counted writes: {more:?}");
    told.fact(format!("{} objects, no write in {} s under load", before.len(), quiet.as_secs()));
    told.operations = load.finish().await?.judge()?;
    Ok(told)
}

/// Names and resourceVersions of what the operator makes in the namespace of the story.
async fn versions(stage: &Stage<'_>) -> anyhow::Result<BTreeMap<String, String>> {
    let objects = stage.namespace.list(&[&RESOURCES.join(",")]).await?;
    let one = |object: &Value| {
        let name = format!("{}/{}", text(object, "kind")?, text(object, "metadata.name")?);
        Some((name, text(object, "metadata.resourceVersion")?.to_owned()))
    };
    objects.iter().map(one).collect::<Option<_>>().context("an object lacks a field")
}

fn changed(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> String {
    let names = now.iter().filter(|(name, version)| before.get(*name) != Some(version)).map(|(name, _)| name);
    names.cloned().collect::<Vec<_>>().join(", ")
}

/// Writes of [`RESOURCES`] that the API server has counted, by verb and resource. The status of others' kinds is written by
/// their controllers.
async fn writes(stage: &Stage<'_>) -> anyhow::Result<BTreeMap<String, u64>> {
    let metrics = stage.world.kube.run(&["get", "--raw", "/metrics"]).await?;
    Ok(writes_in(&metrics))
}

fn writes_in(metrics: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in metrics.lines() {
        let Some((labels, count)) =
            line.strip_prefix("apiserver_request_total{").and_then(|rest| rest.split_once("} "))
        else {
            continue;
        };
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        let (verb, resource) = (label("verb").unwrap_or_default(), label("resource").unwrap_or_default());
        let writes = matches!(verb, "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE");
        let ours = resource.starts_with("storage");
        if !writes || !RESOURCES.contains(&resource) || (label("subresource") == Some("status") && !ours) {
            continue;
        }
        let count = count.trim().parse::<f64>().unwrap_or_default() as u64;
        *counts.entry(format!("{verb} {resource}")).or_default() += count;
    }
    counts
}

/// A thousand pods that fit nowhere and a thousand secrets: the operator does not hold what is not its own.
///
/// # Errors
/// What did not hold.
pub async fn memory(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    stage.ready_store("orders", &single()).await?;
    let load = stage.load("orders", &[]).await?;
    let before = resident(stage).await?;
    let secret = |number| {
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": format!("other-{number}"), "namespace": stage.namespace.name },
            "stringData": { "value": "x".repeat(512) }
        })
    };
    let secrets: Vec<Value> = (0..OTHERS).map(secret).collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": secrets });
    stage.world.kube.create(&list.to_string()).await?;
    stage.world.kube.create(&crowd(&stage.namespace.name).to_string()).await?;
    until("the thousand pods are there", Duration::from_secs(240), async || {
        let set = stage.namespace.get(&["replicaset", "-l", "app=crowd"]).await?;
        Ok((number(&set, "items.0.status.replicas") == i64::try_from(OTHERS).ok()).then_some(()))
    })
    .await?;
    // The store is served beside them: a pass over it is made with all of them there.
    stage.namespace.run(&["annotate", "stc", "orders", "lamina.dev/e2e=crowded"]).await?;
    load.more_writes(50, Duration::from_secs(60)).await?;
    let after = until("the figures after the crowd came", Duration::from_secs(120), async || {
        let now = resident(stage).await?;
        Ok((now.1 != before.1).then_some(now))
    })
    .await?;
    told.fact(format!("working set: {} before, {} with them", mib(before.0), mib(after.0)));
    ensure!(after.0 < MEMORY_MAX, "the operator holds {}", mib(after.0));
    told.operations = load.finish().await?.judge()?;
    Ok(told)
}

/// Bytes that the operator holds, as its kubelet sees them, and when it looked; the largest of its pods.
async fn resident(stage: &Stage<'_>) -> anyhow::Result<(i64, String)> {
    let mut largest: Option<(i64, String)> = None;
    for pod in stage.world.operators().await? {
        let Some(node) = text(&pod, "spec.nodeName") else { continue };
        let raw = stage
            .world
            .kube
            .run(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/stats/summary")])
            .await?;
        let summary: Value = serde_json::from_str(&raw).context("the kubelet's summary is no JSON")?;
        let pods = at(&summary, "pods").and_then(Value::as_array).context("a summary without pods")?;
        let name = text(&pod, "metadata.name");
        let mine = pods.iter().find(|it| {
            text(it, "podRef.name") == name && text(it, "podRef.namespace") == Some(OPERATOR_NAMESPACE)
        });
        let memory =
            mine.and_then(|it| at(it, "containers.0.memory")).context("no memory of the operator")?;
        let bytes = number(memory, "workingSetBytes").context("no working set")?;
        let time = text(memory, "time").unwrap_or_default().to_owned();
        if largest.as_ref().is_none_or(|(most, _)| *most < bytes) {
            largest = Some((bytes, time));
        }
    }
    largest.context("there is no operator")
}

fn crowd(namespace: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "crowd", "namespace": namespace, "labels": { "app": "crowd" } },
        "spec": {
            "replicas": OTHERS,
            "selector": { "matchLabels": { "app": "crowd" } },
            "template": {
                "metadata": { "labels": { "app": "crowd" } },
                "spec": {
                    "automountServiceAccountToken": false,
                    "nodeSelector": { "e2e.lamina.dev/nowhere": "true" },
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" }
                    },
                    "containers": [{
                        "name": "none", "image": "none.invalid/none:0",
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }
                        }
                    }]
                }
            }
        }
    })
}

fn mib(bytes: i64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_counted_by_verb_and_resource_and_those_of_other_controllers_left_out() {
        let line = |verb: &str, resource: &str, subresource: &str, count: u64| {
            format!(
                "apiserver_request_total{{code=\"200\",component=\"apiserver\",dry_run=\"\",group=\"g\",resource=\"{resource}\",\
                 scope=\"resource\",subresource=\"{subresource}\",verb=\"{verb}\",version=\"v1\"}} {count}\n"
            )
        };
        let metrics = [
            line("PATCH", "statefulsets", "", 3),
            line("PUT", "statefulsets", "status", 50),
            line("APPLY", "storageclusters", "status", 2),
            line("LIST", "storageclusters", "", 9),
            line("PUT", "leases", "", 1000),
            "apiserver_request_duration_seconds_count{verb=\"PATCH\",resource=\"services\"} 5\n".to_owned(),
        ]
        .concat();
        let counts = writes_in(&metrics);
        let wanted = [("PATCH statefulsets".to_owned(), 3), ("APPLY storageclusters".to_owned(), 2)];
        assert_eq!(counts, BTreeMap::from(wanted));
    }
}
