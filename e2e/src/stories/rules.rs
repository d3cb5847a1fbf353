//! What is refused.

use anyhow::{Context, ensure};
use lamina_env::time::Duration;
use serde_json::{Value, json};

use crate::kube::{at, number, text};
use crate::stage::{BACK, Stage, condition};
use crate::stories::Told;
use crate::stories::begin::single;
use crate::stories::rolling::replicas;

/// Scaling is not there yet: it is said, and nothing changes.
///
/// # Errors
/// What did not hold.
pub async fn scaling(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    stage.ready_store("orders", &single()).await?;
    let before = stage.pods("orders", "").await?;
    let load = stage.load("orders", &[]).await?;
    stage.namespace.run(&["scale", "stc", "orders", "--replicas=3"]).await?;
    stage.condition("orders", ("Stalled", "True", "ScalingUnsupported"), BACK).await?;
    let store = stage.namespace.get(&["stc", "orders"]).await?;
    let message =
        condition(&store, "Stalled").and_then(|it| text(it, "message")).unwrap_or_default().to_owned();
    ensure!(replicas(stage, "orders-frontend").await? == 1, "the StatefulSet was scaled all the same");
    load.more_writes(100, Duration::from_secs(60)).await?;
    stage.namespace.run(&["scale", "stc", "orders", "--replicas=1"]).await?;
    stage.ready("orders", BACK).await?;
    ensure!(stage.pods("orders", "").await? == before, "pods were replaced for nothing");
    told.fact(format!("refused: {message}"));
    told.operations = load.finish().await?.judge()?;
    Ok(told)
}

/// The policies of a store, by their content: whether they are enforced is the network's affair.
///
/// # Errors
/// What did not hold.
pub async fn network(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    stage.ready_store("orders", &single()).await?;
    let policies = stage.namespace.list(&["networkpolicies"]).await?;
    ensure!(!policies.is_empty(), "there are no policies");
    let pods = stage.namespace.list(&["pods", "-l", "app.kubernetes.io/instance=orders"]).await?;
    for pod in &pods {
        let name = text(pod, "metadata.name").unwrap_or("?");
        let labels = at(pod, "metadata.labels").context("a pod without labels")?;
        let mine: Vec<&Value> = policies.iter().filter(|policy| selects(policy, labels)).collect();
        ensure!(!mine.is_empty(), "no policy is about {name}");
        for policy in mine {
            check_policy(policy).with_context(|| format!("a policy about {name}"))?;
        }
    }
    told.fact(format!(
        "{} policies about {} pods; only ports 4700 and 4780, nobody unnamed",
        policies.len(),
        pods.len()
    ));
    // The operator and the clients of this namespace pass them, where they are enforced.
    let load = stage.load("orders", &[]).await?;
    load.more_writes(200, Duration::from_secs(60)).await?;
    told.operations = load.finish().await?.judge()?;
    // The namespace is deleted behind this story with the store in it, protected as it is.
    stage.namespace.patch("stc/orders", &json!({ "spec": { "deletionProtection": true } })).await?;
    let said = stage.namespace.refused(&["delete", "stc", "orders", "--wait=false"], None).await?;
    ensure!(said.contains("deletionProtection is true"), "the refusal says {said:?}");
    told.fact("a protected store is not deleted, its namespace is");
    Ok(told)
}

fn selects(policy: &Value, labels: &Value) -> bool {
    let Some(wanted) = at(policy, "spec.podSelector.matchLabels").and_then(Value::as_object) else {
        // No label is asked for: everybody is meant.
        return at(policy, "spec.podSelector").is_some();
    };
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

/// Ingress is shut, and each opening names a port of ours and who may come.
fn check_policy(policy: &Value) -> anyhow::Result<()> {
    let types = at(policy, "spec.policyTypes").and_then(Value::as_array).context("no policyTypes")?;
    ensure!(types.contains(&json!("Ingress")), "it does not shut Ingress");
    let none = Vec::new();
    for rule in at(policy, "spec.ingress").and_then(Value::as_array).unwrap_or(&none) {
        let from = at(rule, "from").and_then(Value::as_array).unwrap_or(&none);
        ensure!(!from.is_empty(), "an opening for everybody: {rule}");
        let ports = at(rule, "ports").and_then(Value::as_array).unwrap_or(&none);
        ensure!(!ports.is_empty(), "an opening of all ports: {rule}");
        for port in ports {
            let known = matches!(number(port, "port"), Some(4700 | 4780))
                || matches!(text(port, "port"), Some("grpc" | "http" | "admin" | "metrics"));
            ensure!(known, "an opening of {port}");
        }
    }
    Ok(())
}
