//! What is kept of a story that failed: objects, events, logs.

use std::path::Path;

use anyhow::Context;
use lamina_env::time::Duration;
use serde_json::Value;

use crate::kube::{Namespace, at, text};
use crate::program;
use crate::world::{OPERATOR_NAMESPACE, World};

/// How long each of these may take.
const EACH: Duration = Duration::from_secs(60);

/// Writes what can be had into `dir`. What cannot be had is said in its place.
///
/// # Errors
/// The files cannot be written.
pub async fn collect(world: &World, namespace: &str, dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let here = world.kube.namespace(namespace);
    let kinds = "stc,sto,sts,pods,pvc,svc,pdb,networkpolicies,configmaps";
    keep(&here, dir, "objects.yaml", &["get", kinds, "-o", "yaml"]).await?;
    keep(&here, dir, "pods.txt", &["get", "pods", "-o", "wide"]).await?;
    keep(&here, dir, "events.txt", &["get", "events", "--sort-by=.lastTimestamp"]).await?;
    keep(&here, dir, "nodes.txt", &["get", "nodes", "-o", "wide"]).await?;
    logs(&here, dir).await?;
    logs(&world.kube.namespace(OPERATOR_NAMESPACE), dir).await
}

async fn logs(namespace: &Namespace, dir: &Path) -> anyhow::Result<()> {
    for pod in namespace.list(&["pods"]).await.unwrap_or_default() {
        let Some(name) = text(&pod, "metadata.name") else { continue };
        keep(namespace, dir, &format!("{name}.log"), &["logs", name]).await?;
        let restarts = at(&pod, "status.containerStatuses.0.restartCount").and_then(Value::as_i64);
        if restarts.is_some_and(|restarts| restarts > 0) {
            keep(namespace, dir, &format!("{name}.previous.log"), &["logs", "--previous", name]).await?;
        }
    }
    Ok(())
}

async fn keep(namespace: &Namespace, dir: &Path, file: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let all = [&["-n", &namespace.name], arguments].concat();
    let said = program::run(&mut namespace.kube.command("kubectl", &all), None, EACH).await;
    let said = said.unwrap_or_else(|error| format!("{error:#}\n"));
    let path = dir.join(file);
    std::fs::write(&path, said).with_context(|| format!("cannot write {}", path.display()))
}
