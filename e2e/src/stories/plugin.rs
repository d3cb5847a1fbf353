//! `kubectl lamina`, beside a store and through the port-forwards that it opens.

use std::path::Path;

use anyhow::{Context, ensure};
use lamina_env::time::Duration;
use serde_json::json;

use crate::program;
use crate::stage::{BACK, Stage};
use crate::stories::Told;
use crate::stories::begin::single;
use crate::stories::kills::finished;

/// How long one command may take.
const COMMAND: Duration = Duration::from_secs(60);

/// Every command, on a store under load.
///
/// # Errors
/// What did not hold.
pub async fn commands(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    stage.ready_store("orders", &single()).await?;
    let load = stage.load("orders", &[]).await?;
    keys(stage).await?;
    told.fact("a key written, read and deleted through port-forwards of its own");
    says(stage, &["status", "orders"], "orders · ready").await?;
    says(stage, &["why", "orders"], "nothing: the store is ready").await?;
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    let mut larger = single();
    if let Some(index) = larger.get_mut("index").and_then(serde_json::Value::as_object_mut) {
        index.insert("replicas".to_owned(), json!(3));
    }
    for (name, spec, wanted) in [
        ("same.yaml", single(), "nothing would be done"),
        ("larger.yaml", larger, "refused (ScalingUnsupported)"),
    ] {
        let file = dir.path().join(name);
        write(&file, &stage.store("orders", &spec).to_string())?;
        let file = file.to_str().context("a path that is no text")?;
        says(stage, &["plan", "-f", file], wanted).await?;
    }
    let before = stage.pods("orders", "index").await?.pop().context("there is no index node")?;
    let said = says(stage, &["restart", "orders", "index"], "storageoperation").await?;
    let name = said.split_whitespace().nth(1).context("the operation has no name")?;
    finished(stage, name, BACK).await?;
    stage.replaced(&before, BACK).await?;
    stage.ready("orders", BACK).await?;
    told.fact("the same spec plans nothing, a larger one is refused, one role was restarted");
    for (arguments, why) in [
        (&["why", "nobody"][..], "there is no StorageCluster nobody"),
        (&["get", "orders", "nothing-here"], "no such key"),
        (&["replace", "pods"], "is no pod of a store"),
    ] {
        let said = program::refused(&mut command(stage, arguments), None, COMMAND).await?;
        ensure!(said.contains(why), "{arguments:?} says {said:?}, and not {why:?}");
    }
    told.operations = load.finish().await?.judge()?;
    Ok(told)
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

async fn keys(stage: &Stage<'_>) -> anyhow::Result<()> {
    run(stage, &["put", "orders", "hello", "world"]).await?;
    let got = run(stage, &["get", "orders", "hello"]).await?;
    ensure!(got.trim_end() == "world", "hello is {got:?}");
    run(stage, &["delete", "orders", "hello"]).await?;
    let said = program::refused(&mut command(stage, &["get", "orders", "hello"]), None, COMMAND).await?;
    ensure!(said.contains("no such key"), "a deleted key: {said:?}");
    Ok(())
}

async fn says(stage: &Stage<'_>, arguments: &[&str], wanted: &str) -> anyhow::Result<String> {
    let said = run(stage, arguments).await?;
    ensure!(said.contains(wanted), "{arguments:?} says {said:?}, and not {wanted:?}");
    Ok(said)
}

async fn run(stage: &Stage<'_>, arguments: &[&str]) -> anyhow::Result<String> {
    program::run(&mut command(stage, arguments), None, COMMAND).await
}

fn command(stage: &Stage<'_>, arguments: &[&str]) -> tokio::process::Command {
    let namespace = ["--namespace", &stage.namespace.name];
    let mut command = stage.world.kube.command("kubectl", &["lamina"]);
    command.args(arguments).args(namespace);
    stage.world.with_plugin(&mut command);
    command
}
