//! The charts: installed once more, uninstalled, and installed again.

use anyhow::ensure;
use lamina_env::time::Duration;

use crate::kube::at;
use crate::stage::{BACK, Stage};
use crate::stories::Told;
use crate::stories::begin::single;
use crate::world::{CRDS, OPERATOR, OPERATOR_NAMESPACE};

/// How long helm may take.
const HELM: Duration = Duration::from_secs(180);

/// Uninstalling takes the operator, and leaves stores, volumes and definitions; installing again goes on from there.
///
/// # Errors
/// What did not hold.
pub async fn uninstalled(stage: &Stage<'_>) -> anyhow::Result<Told> {
    let mut told = Told::new();
    let kube = &stage.world.kube;
    stage.ready_store("orders", &single()).await?;
    let load = stage.load("orders", &[]).await?;
    let before = stage.pods("orders", "").await?;
    // Twice the same: an upgrade that changes nothing.
    stage.world.install().await?;
    for release in [OPERATOR, CRDS] {
        let arguments = ["uninstall", release, "--namespace", OPERATOR_NAMESPACE, "--wait"];
        kube.helm(&arguments, HELM).await?;
    }
    let left = uninstalled_state(stage).await;
    let again = stage.world.install().await;
    left?;
    again?;
    stage.ready("orders", BACK).await?;
    ensure!(stage.pods("orders", "").await? == before, "pods were replaced");
    told.fact("uninstalled and installed again: definitions, store, volumes and pods stayed");
    load.more_writes(200, Duration::from_secs(60)).await?;
    told.operations = load.finish().await?.judge()?;
    ensure!(told.operations > 0, "nothing was judged");
    Ok(told)
}

async fn uninstalled_state(stage: &Stage<'_>) -> anyhow::Result<()> {
    for definition in ["storageclusters.lamina.dev", "storageoperations.lamina.dev"] {
        let definition = stage.world.kube.get(&["crd", definition]).await?;
        ensure!(at(&definition, "metadata.deletionTimestamp").is_none(), "a definition is being deleted");
    }
    stage.namespace.get(&["stc", "orders"]).await?;
    stage.lamina("orders", &["probe"]).await?;
    let volumes = stage.namespace.list(&["pvc"]).await?.len();
    ensure!(volumes == 2, "{volumes} volumes are left");
    Ok(())
}
