//! Where a story plays: its own namespace with a pod for the load, and the words in which it is told.

use anyhow::{Context, ensure};
use lamina_env::time::{self, Duration};
use serde_json::{Value, json};

use crate::kube::{Namespace, at, number, text};
use crate::loading::Loading;
use crate::verdict::Seen;
use crate::wait::until;
use crate::wire::{Line, Row};
use crate::world::World;

/// How long a store may take from `kubectl apply` to Ready before a story gives up. What is wanted is told apart from it.
pub const READY: Duration = Duration::from_secs(240);
/// How long one pod may take to be replaced and ready again.
pub const BACK: Duration = Duration::from_secs(180);

/// A story's own namespace.
pub struct Stage<'w> {
    /// What all stories share.
    pub world: &'w World,
    /// The namespace.
    pub namespace: Namespace,
}

/// A pod of a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Which of all pods of this name it is.
    pub uid: String,
    /// The Kubernetes node that it is on; empty: none yet.
    pub node: String,
    /// It says that it is ready, and is not on its way out.
    pub ready: bool,
    /// The image of its container.
    pub image: String,
}

impl<'w> Stage<'w> {
    /// Makes the namespace, which takes restricted pods only, and the pod for the load.
    ///
    /// # Errors
    /// The cluster refuses.
    pub async fn set(world: &'w World, story: &str) -> anyhow::Result<Stage<'w>> {
        let name = format!("e2e-{story}");
        let namespace = world.kube.namespace(&name);
        let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels }
        });
        world.kube.apply(&object.to_string()).await?;
        let stage = Stage { world, namespace };
        until("the namespace's service account", Duration::from_secs(30), async || {
            stage.namespace.get(&["serviceaccount", "default"]).await.map(Some)
        })
        .await?;
        world.kube.apply(&load_pod(&name, &world.load_image).to_string()).await?;
        stage.namespace.wait("pod/load", "condition=Ready", BACK).await?;
        Ok(stage)
    }

    /// Applies a StorageCluster.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn apply_store(&self, name: &str, spec: &Value) -> anyhow::Result<()> {
        self.world.kube.apply(&self.store(name, spec).to_string()).await.map(drop)
    }

    /// A StorageCluster of this namespace.
    #[must_use]
    pub fn store(&self, name: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": "lamina.dev/v1alpha1", "kind": "StorageCluster",
            "metadata": { "name": name, "namespace": self.namespace.name }, "spec": spec
        })
    }

    /// Applies a StorageCluster and waits until it is Ready; says how long that took.
    ///
    /// # Errors
    /// It does not become Ready.
    pub async fn ready_store(&self, name: &str, spec: &Value) -> anyhow::Result<Duration> {
        let begun = time::now();
        self.apply_store(name, spec).await?;
        self.ready(name, READY).await?;
        Ok(begun.elapsed())
    }

    /// Waits until a store is Ready for the spec that it has now.
    ///
    /// # Errors
    /// It is not, within the time; the conditions are told.
    pub async fn ready(&self, name: &str, within: Duration) -> anyhow::Result<()> {
        let look = async || {
            let store = self.namespace.get(&["stc", name]).await?;
            let generation = number(&store, "metadata.generation");
            let settled = number(&store, "status.observedGeneration") == generation;
            let is =
                |wanted: &str| condition(&store, wanted).is_some_and(|it| text(it, "status") == Some("True"));
            ensure!(settled && is("Ready") && is("Reconciled"), "{}", conditions(&store));
            Ok(Some(()))
        };
        until(&format!("{name} is Ready and Reconciled"), within, look).await
    }

    /// Waits until a condition of a store is `True` or `False` for a reason.
    ///
    /// # Errors
    /// It is not, within the time; the conditions are told.
    pub async fn condition(
        &self,
        store: &str,
        wanted: (&str, &str, &str),
        within: Duration,
    ) -> anyhow::Result<()> {
        let (kind, status, reason) = wanted;
        let look = async || {
            let store = self.namespace.get(&["stc", store]).await?;
            let holds = condition(&store, kind)
                .is_some_and(|it| text(it, "status") == Some(status) && text(it, "reason") == Some(reason));
            ensure!(holds, "{}", conditions(&store));
            Ok(Some(()))
        };
        until(&format!("{kind} is {status} because of {reason}"), within, look).await
    }

    /// The pods of a store, of one role or of all (""), by name.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn pods(&self, store: &str, role: &str) -> anyhow::Result<Vec<Pod>> {
        let mut selector = format!("app.kubernetes.io/instance={store}");
        if !role.is_empty() {
            selector.push_str(",app.kubernetes.io/component=");
            selector.push_str(role);
        }
        let list = self.namespace.list(&["pods", "-l", &selector]).await?;
        let mut pods: Vec<Pod> =
            list.iter().map(pod).collect::<Option<_>>().context("a pod lacks a field")?;
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(pods)
    }

    /// One pod of a store.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn pod(&self, name: &str) -> anyhow::Result<Pod> {
        pod(&self.namespace.get(&["pod", name]).await?).context("the pod lacks a field")
    }

    /// Kills a pod: no time to say goodbye.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn kill(&self, pods: &[&str]) -> anyhow::Result<()> {
        let arguments = [&["delete", "pod", "--force", "--grace-period=0"], pods].concat();
        self.namespace.run(&arguments).await.map(drop)
    }

    /// Waits until a pod of this name is ready that is not the one that was there.
    ///
    /// # Errors
    /// None is, within the time.
    pub async fn replaced(&self, before: &Pod, within: Duration) -> anyhow::Result<Pod> {
        until(&format!("another {} is ready", before.name), within, async || {
            let now = self.pod(&before.name).await?;
            Ok((now.ready && now.uid != before.uid).then_some(now))
        })
        .await
    }

    /// Starts a load on a store.
    ///
    /// # Errors
    /// The store acknowledges no write.
    pub async fn load(&self, store: &str, more: &[&str]) -> anyhow::Result<Loading> {
        let endpoint = format!("{store}-client:4700");
        let arguments = [&["--endpoint", &endpoint, "--prefix", store], more].concat();
        Loading::start(&self.namespace, &arguments, Duration::from_secs(150)).await
    }

    /// Runs the program `lamina` against a store, from the pod of the load.
    ///
    /// # Errors
    /// What it says.
    pub async fn lamina(&self, store: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let endpoint = format!("--endpoint={store}-client:4700");
        let exec = ["exec", "load", "--", "/usr/bin/lamina", &endpoint];
        self.namespace.run(&[&exec, arguments].concat()).await
    }

    /// What a store says of itself.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn status(&self, store: &str) -> anyhow::Result<Value> {
        let told = self.lamina(store, &["status", "-o", "json"]).await?;
        serde_json::from_str(&told).context("lamina status gave no JSON")
    }

    /// Every row of the load's keys.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn rows(&self, store: &str) -> anyhow::Result<Vec<Row>> {
        let endpoint = format!("{store}-client:4700");
        let exec = ["exec", "load", "--", "/usr/bin/lamina-e2e", "rows", "--endpoint", &endpoint, "--prefix"];
        let told = self.namespace.run(&[&exec[..], &[&format!("{store}/")]].concat()).await?;
        let mut seen = Seen::default();
        for line in told.lines() {
            seen.take(serde_json::from_str::<Line>(line)?);
        }
        ensure!(seen.end == Some((0, seen.rows.len() as u64)), "the rows did not arrive whole");
        Ok(seen.rows)
    }

    /// Deletes the namespace, and waits until its pods are gone.
    ///
    /// # Errors
    /// They are still there when the time is over.
    pub async fn strike(&self) -> anyhow::Result<()> {
        let name = self.namespace.name.as_str();
        self.world.kube.run_long(&["delete", "namespace", name], Duration::from_secs(240)).await.map(drop)
    }
}

fn pod(object: &Value) -> Option<Pod> {
    let leaving = at(object, "metadata.deletionTimestamp").is_some();
    let says = condition(object, "Ready").is_some_and(|it| text(it, "status") == Some("True"));
    Some(Pod {
        name: text(object, "metadata.name")?.to_owned(),
        uid: text(object, "metadata.uid")?.to_owned(),
        node: text(object, "spec.nodeName").unwrap_or_default().to_owned(),
        ready: says && !leaving,
        image: text(object, "spec.containers.0.image")?.to_owned(),
    })
}

/// The condition of a type.
#[must_use]
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    at(object, "status.conditions")?.as_array()?.iter().find(|it| text(it, "type") == Some(kind))
}

/// All conditions in one line, for people.
#[must_use]
pub fn conditions(object: &Value) -> String {
    let Some(Value::Array(all)) = at(object, "status.conditions") else {
        return "there are no conditions".to_owned();
    };
    let of = |it: &Value| {
        let word = |name| text(it, name).unwrap_or("?").to_owned();
        format!("{}={} ({}: {})", word("type"), word("status"), word("reason"), word("message"))
    };
    all.iter().map(of).collect::<Vec<_>>().join("; ")
}

/// The pod of the load lives on the control plane, where no story stops anything.
fn load_pod(namespace: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "load", "namespace": namespace, "labels": { "app": "load" } },
        "spec": {
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 1,
            "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
                "weight": 100,
                "preference": { "matchExpressions": [
                    { "key": "node-role.kubernetes.io/control-plane", "operator": "Exists" }
                ]}
            }]}},
            "tolerations": [{ "key": "node-role.kubernetes.io/control-plane", "operator": "Exists" }],
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" }
            },
            "containers": [{
                "name": "load", "image": image, "command": ["/usr/bin/lamina-e2e", "idle"],
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] }
                }
            }]
        }
    })
}
