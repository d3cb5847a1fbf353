//! A kind cluster of one control plane and three workers in three zones.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use lamina_env::time::Duration;
use tokio::process::Command;

use crate::kube::Kube;
use crate::program;

/// The variable that names the node image; without it kind takes its own.
pub const NODE_IMAGE: &str = "LAMINA_KIND_IMAGE";

const CONFIG: &str = "\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
  - role: worker
    labels: { topology.kubernetes.io/zone: zone-a }
  - role: worker
    labels: { topology.kubernetes.io/zone: zone-b }
  - role: worker
    labels: { topology.kubernetes.io/zone: zone-c }
";

/// How long kind may take.
const CREATION: Duration = Duration::from_secs(600);
const DELETION: Duration = Duration::from_secs(120);

/// A cluster that kind made.
pub struct Cluster {
    name: String,
    kubeconfig: PathBuf,
}

impl Cluster {
    /// Makes a cluster. What speaks to it is written into `dir`, never into the user's own files.
    ///
    /// # Errors
    /// There is one of this name, or kind cannot make it.
    pub async fn create(name: &str, dir: &Path) -> anyhow::Result<Cluster> {
        let there = program::run(Command::new("kind").args(["get", "clusters"]), None, DELETION).await?;
        ensure!(
            there.lines().all(|line| line != name),
            "there is a kind cluster {name} already: delete it (kind delete cluster --name {name}), or use --existing"
        );
        let config = dir.join("kind.yaml");
        std::fs::write(&config, CONFIG).context("cannot write the configuration of kind")?;
        let cluster = Cluster { name: name.to_owned(), kubeconfig: dir.join("kubeconfig") };
        let mut command = Command::new("kind");
        command.args(["create", "cluster", "--wait", "180s", "--name", name]);
        command.arg("--config").arg(&config).arg("--kubeconfig").arg(&cluster.kubeconfig);
        if let Some(image) = std::env::var_os(NODE_IMAGE).filter(|it| !it.is_empty()) {
            command.arg("--image").arg(image);
        }
        let made = program::run(&mut command, None, CREATION).await;
        if let Err(error) = made {
            // kind cleans up after most failures; what it leaves behind would stand in the way of the next run.
            cluster.delete().await.ok();
            return Err(error);
        }
        Ok(cluster)
    }

    /// How it is spoken to.
    #[must_use]
    pub fn kube(&self) -> Kube {
        Kube::new(Some(self.kubeconfig.clone()))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Deletes it.
    ///
    /// # Errors
    /// kind cannot.
    pub async fn delete(&self) -> anyhow::Result<()> {
        let mut command = Command::new("kind");
        command.args(["delete", "cluster", "--name", &self.name, "--kubeconfig"]).arg(&self.kubeconfig);
        program::run(&mut command, None, DELETION).await.map(drop)
    }
}

/// Puts an image of this machine onto the nodes of a kind cluster.
///
/// # Errors
/// The image is not there, or the nodes do not take it.
pub async fn load(cluster: &str, image: &str) -> anyhow::Result<()> {
    let mut command = Command::new("kind");
    command.args(["load", "docker-image", "--name", cluster, image]);
    program::run(&mut command, None, CREATION).await.map(drop)
}
