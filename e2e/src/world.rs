//! What all stories share: the cluster, the images, the operator that was installed.

use std::path::{Path, PathBuf};

use anyhow::Context;
use lamina_env::time::Duration;
use serde_json::Value;

use crate::kube::{Kube, at};

/// The namespace of the operator.
pub const OPERATOR_NAMESPACE: &str = "lamina-system";
/// The release, and with it the Deployment, of the operator.
pub const OPERATOR: &str = "lamina-operator";
/// The release of the definitions.
pub const CRDS: &str = "lamina-crds";

/// How long an installation may take.
const INSTALLATION: Duration = Duration::from_secs(240);

/// What all stories share.
pub struct World {
    /// The cluster.
    pub kube: Kube,
    /// The repository of the image under test.
    pub repository: String,
    /// Its tag.
    pub tag: String,
    /// The tag of the same source with a higher version.
    pub next_tag: String,
    /// The image of the pod that makes the load.
    pub load_image: String,
    /// The folder with the charts.
    pub charts: PathBuf,
    /// The folder with the program `kubectl-lamina`.
    pub plugin: PathBuf,
    /// The table of manifests that the API server takes or refuses.
    pub table: PathBuf,
}

impl World {
    /// Installs both charts.
    ///
    /// # Errors
    /// The operator does not come up.
    pub async fn install(&self) -> anyhow::Result<()> {
        let chart = |name: &str| path_text(&self.charts.join(name));
        let timeout = format!("{}s", INSTALLATION.as_secs());
        let common =
            ["--namespace", OPERATOR_NAMESPACE, "--create-namespace", "--wait", "--timeout", &timeout];
        let crds = chart(CRDS)?;
        let install = ["upgrade", "--install"];
        self.kube.helm(&[&install[..], &[CRDS, &crds], &common].concat(), INSTALLATION).await?;
        let operator = chart(OPERATOR)?;
        let repository = format!("image.repository={}", self.repository);
        let tag = format!("image.tag={}", self.tag);
        let image = ["--set", &repository, "--set-string", &tag];
        let all = [&install[..], &[OPERATOR, &operator], &common, &image].concat();
        self.kube.helm(&all, INSTALLATION + Duration::from_secs(10)).await.map(drop)
    }

    /// Lets a `kubectl` find its plugin.
    pub fn with_plugin(&self, command: &mut tokio::process::Command) {
        let mut path = self.plugin.clone().into_os_string();
        if let Some(folders) = std::env::var_os("PATH") {
            path.push(":");
            path.push(folders);
        }
        command.env("PATH", path);
    }

    /// The operator's pods.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn operators(&self) -> anyhow::Result<Vec<Value>> {
        let selector = "app.kubernetes.io/name=lamina-operator";
        self.kube.namespace(OPERATOR_NAMESPACE).list(&["pods", "-l", selector]).await
    }

    /// The names of the Kubernetes nodes that take any pod.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn workers(&self) -> anyhow::Result<Vec<String>> {
        let nodes = self.kube.get(&["nodes"]).await?;
        let nodes = at(&nodes, "items").and_then(Value::as_array).context("no list of nodes")?;
        let open = nodes.iter().filter(|node| at(node, "spec.taints").is_none());
        open.map(|node| crate::kube::text(node, "metadata.name").map(str::to_owned))
            .collect::<Option<_>>()
            .context("a node without a name")
    }
}

fn path_text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().with_context(|| format!("{} is no text", path.display()))?.to_owned())
}
