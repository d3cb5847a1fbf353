//! The table of manifests (`crds/tests/manifests.yaml`) on a real API server.

use anyhow::{Context, bail, ensure};
use futures::StreamExt;
use lamina_env::time::Duration;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kube::text;
use crate::program;
use crate::stage::{Stage, condition};
use crate::stories::Told;
use crate::wait::until;
use crate::world::{OPERATOR, OPERATOR_NAMESPACE};

/// Entries that are asked at the same time.
const AT_ONCE: usize = 3;
/// How long an operator may take to come and go.
const OPERATOR_MOVES: Duration = Duration::from_secs(120);
/// How long one call may take.
const CALL: Duration = Duration::from_secs(60);

/// One entry of the table.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    called: Option<String>,
    #[serde(default)]
    spec: Option<Value>,
    #[serde(default)]
    old: Option<Value>,
    /// Of the old object.
    #[serde(default)]
    status: Option<Value>,
    #[serde(default)]
    field: Option<String>,
    #[serde(default)]
    refused: Option<String>,
}

/// The API server takes and refuses what the table says. The operator is away meanwhile: objects that are changed have to be
/// there, and no store is wanted for them.
///
/// # Errors
/// What did not hold.
pub async fn crds(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let path = &stage.world.table;
    let table = std::fs::read_to_string(path);
    let table = table.with_context(|| format!("cannot read {}", path.display()))?;
    let table: Vec<Entry> = serde_yaml::from_str(&table).context("the table is no YAML")?;
    ensure!(table.len() > 50, "the table has {} entries only", table.len());
    operators(stage, 0).await?;
    let judged = judge(stage, &table).await;
    let gone = stage.namespace.run(&["delete", "stc,sto", "--all", "--wait=true"]).await;
    operators(stage, 1).await?;
    judged?;
    gone?;
    let mut told = Told::new();
    let refused = table.iter().filter(|entry| entry.refused.is_some()).count();
    let taken = table.len() - refused;
    told.fact(format!("{} manifests: {taken} taken, {refused} refused in the right words", table.len()));
    Ok(told)
}

async fn judge(stage: &Stage<'_>, table: &[Entry]) -> anyhow::Result<()> {
    let entries = futures::stream::iter(table.iter().enumerate());
    let judged = entries.map(|(number, entry)| entry.judge(stage, number)).buffered(AT_ONCE);
    let results: Vec<anyhow::Result<()>> = judged.collect().await;
    let wrong: Vec<String> = results
        .iter()
        .zip(table)
        .filter_map(|(result, entry)| result.as_ref().err().map(|error| format!("{}: {error:#}", entry.name)))
        .collect();
    ensure!(wrong.is_empty(), "{} of {} entries are wrong:\n{}", wrong.len(), table.len(), wrong.join("\n"));
    Ok(())
}

impl Entry {
    async fn judge(&self, stage: &Stage<'_>, number: usize) -> anyhow::Result<()> {
        let kube = &stage.world.kube;
        let verb = match &self.old {
            // A change is judged beside what is there.
            Some(old) => {
                let there = self.object(stage, number, Some(old));
                kube.create(&there.to_string()).await.context("the old object")?;
                if let Some(status) = &self.status {
                    let (what, patch) =
                        (format!("stc/orders-{number}"), json!({ "status": status }).to_string());
                    let patch = ["patch", &what, "--subresource=status", "--type=merge", "--patch", &patch];
                    stage.namespace.run(&patch).await.context("the old status")?;
                }
                "replace"
            }
            None => "create",
        };
        let object = self.object(stage, number, self.spec.as_ref()).to_string();
        let arguments = [verb, "--dry-run=server", "--validate=strict", "-f", "-"];
        let Some(words) = &self.refused else {
            let mut command = kube.command("kubectl", &arguments);
            return program::run(&mut command, Some(&object), CALL).await.map(drop);
        };
        let said = kube.refused(&arguments, Some(&object)).await?;
        for part in [Some(words), self.field.as_ref()].into_iter().flatten() {
            if !said.contains(part.as_str()) {
                bail!("the refusal lacks {part:?}: {}", said.trim());
            }
        }
        Ok(())
    }

    fn object(&self, stage: &Stage<'_>, number: usize, spec: Option<&Value>) -> Value {
        // Changes need objects that are there at the same time, under names of their own.
        let name = match (&self.called, &self.old) {
            (Some(called), _) => called.clone(),
            (None, Some(_)) => format!("orders-{number}"),
            (None, None) => "orders".to_owned(),
        };
        let mut object = json!({
            "apiVersion": "lamina.dev/v1alpha1",
            "kind": self.kind.as_deref().unwrap_or("StorageCluster"),
            "metadata": { "name": name, "namespace": stage.namespace.name },
        });
        if let (Some(spec), Some(fields)) = (spec, object.as_object_mut()) {
            fields.insert("spec".to_owned(), spec.clone());
        }
        object
    }
}

/// Sends the operator away, or has it back.
async fn operators(stage: &Stage<'_>, wanted: usize) -> anyhow::Result<()> {
    let namespace = stage.world.kube.namespace(OPERATOR_NAMESPACE);
    let replicas = format!("--replicas={wanted}");
    namespace.run(&["scale", &format!("deployment/{OPERATOR}"), &replicas]).await?;
    until(&format!("{wanted} operators are ready"), OPERATOR_MOVES, async || {
        let pods = stage.world.operators().await?;
        let ready =
            |pod: &&Value| condition(pod, "Ready").is_some_and(|it| text(it, "status") == Some("True"));
        let done = pods.len() == wanted && pods.iter().filter(ready).count() == wanted;
        Ok(done.then_some(()))
    })
    .await
}
