//! `status`, `why`.

use kube::Api;
use kube::api::ListParams;
use lamina_crds::{Condition, ConditionType, StorageCluster, StorageClusterStatus, Verdict};

use super::{Failure, Place, say};

/// Shows one store, or all of a namespace, or of all.
pub async fn status(place: &Place, name: Option<String>, all_namespaces: bool) -> Result<(), Failure> {
    let clusters = match name {
        Some(name) => vec![cluster(place, &name).await?],
        None if all_namespaces => {
            let all: Api<StorageCluster> = Api::all(place.client.clone());
            all.list(&ListParams::default()).await?.items
        }
        None => api(place).list(&ListParams::default()).await?.items,
    };
    if clusters.is_empty() && all_namespaces {
        return say("no StorageCluster");
    }
    if clusters.is_empty() {
        return say(&format!("no StorageCluster in namespace {}", place.namespace));
    }
    for cluster in clusters {
        if let Some(namespace) = cluster.metadata.namespace.as_deref().filter(|_| all_namespaces) {
            say(&format!("namespace {namespace}"))?;
        }
        say(&text(&cluster))?;
    }
    Ok(())
}

/// Says what a store is waiting for.
pub async fn why(place: &Place, name: &str) -> Result<(), Failure> {
    say(&reasons(&cluster(place, name).await?))
}

fn api(place: &Place) -> Api<StorageCluster> {
    Api::namespaced(place.client.clone(), &place.namespace)
}

/// A store by its name.
pub async fn cluster(place: &Place, name: &str) -> Result<StorageCluster, Failure> {
    let found = api(place).get_opt(name).await?;
    found.ok_or_else(|| {
        Failure::missing(format!("there is no StorageCluster {name} in namespace {}", place.namespace))
    })
}

/// What a store is waiting for, what stops it first.
pub fn reasons(cluster: &StorageCluster) -> String {
    let status = cluster.status.clone().unwrap_or_default();
    let mut lines = Vec::new();
    if status.observed_generation != cluster.metadata.generation {
        let late = "the operator has not seen the newest spec yet; if that lasts, see its logs, and whether it runs at all";
        lines.push(late.to_owned());
    }
    let mut notable: Vec<&Condition> = status.conditions.iter().filter(|it| is_notable(it)).collect();
    notable.sort_by_key(|it| it.kind != ConditionType::Stalled.as_str());
    for condition in notable {
        lines.push(format!(
            "{} is {} ({})\n    {}",
            condition.kind, condition.status, condition.reason, condition.message
        ));
    }
    if lines.is_empty() {
        lines.push("nothing: the store is ready, and nothing is left to do".to_owned());
    }
    lines.join("\n")
}

/// Whether a condition is otherwise than it should be, or tells of something that is under way.
fn is_notable(condition: &Condition) -> bool {
    let kind = ConditionType::ALL.into_iter().find(|it| it.as_str() == condition.kind);
    match kind.and_then(ConditionType::good) {
        Some(good) => condition.status == Verdict::Unknown || condition.is_true() != good,
        None => condition.is_true(),
    }
}

/// How a store is.
pub fn text(cluster: &StorageCluster) -> String {
    let status = cluster.status.clone().unwrap_or_default();
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    let ready = status.condition(ConditionType::Ready);
    let verdict = match ready {
        Some(it) if it.is_true() => "ready".to_owned(),
        Some(it) => format!("not ready ({}): {}", it.reason, it.message),
        None => "not seen by an operator yet".to_owned(),
    };
    let mut lines = vec![format!("{name} · {verdict}")];
    lines.extend(figures(&status));
    for condition in status.conditions.iter().filter(|it| it.kind != "Ready" && is_notable(it)) {
        lines.push(format!(
            "  {} is {} ({}): {}",
            condition.kind, condition.status, condition.reason, condition.message
        ));
    }
    lines.join("\n")
}

fn figures(status: &StorageClusterStatus) -> Vec<String> {
    let unknown = "?".to_owned();
    let mut lines = vec![
        format!("  store      {}", status.cluster_uuid.as_ref().unwrap_or(&unknown)),
        format!("  version    {}", status.version.as_ref().unwrap_or(&unknown)),
        format!("  clients    {}", status.endpoints.client),
    ];
    let components = &status.components;
    for (name, it) in
        [("frontend", &components.frontend), ("index", &components.index), ("data", &components.data)]
    {
        lines.push(format!(
            "  {name:<10} {} ready, {} caught up, {} of the newest template",
            it.summary, it.caught_up, it.updated
        ));
    }
    lines.push(format!("  shards     {} complete on all their nodes", status.shards.summary));
    for member in &status.members {
        lines.push(format!("    {:<28} {:<10} {}", member.name, member.state, member.zone));
    }
    for operation in &status.operations {
        lines.push(format!(
            "  operation  {} {} {} {} %",
            operation.id, operation.kind, operation.phase, operation.percent
        ));
    }
    lines
}
