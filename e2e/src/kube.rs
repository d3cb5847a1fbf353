//! A cluster through `kubectl`, and one namespace of it.

use std::path::PathBuf;

use anyhow::Context;
use lamina_env::time::Duration;
use serde_json::Value;
use tokio::process::Command;

use crate::program;

/// How long a call of `kubectl` that waits for nothing may take.
const CALL: Duration = Duration::from_secs(60);

/// One cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Kube {
    /// The file that names the cluster; `None`: what the environment says.
    kubeconfig: Option<PathBuf>,
}

impl Kube {
    /// The cluster of a file, or of the environment.
    #[must_use]
    pub fn new(kubeconfig: Option<PathBuf>) -> Kube {
        Kube { kubeconfig }
    }

    /// A program that talks to this cluster.
    #[must_use]
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        if let Some(file) = &self.kubeconfig {
            command.env("KUBECONFIG", file);
        }
        command
    }

    /// `kubectl` with these arguments.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        program::run(&mut self.command("kubectl", arguments), None, CALL).await
    }

    /// `kubectl` with these arguments, which waits by itself up to `within`.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn run_long(&self, arguments: &[&str], within: Duration) -> anyhow::Result<String> {
        let timeout = format!("--timeout={}s", within.as_secs());
        let mut command = self.command("kubectl", arguments);
        program::run(command.arg(timeout), None, within + CALL).await
    }

    /// `helm` with these arguments, which may wait up to `within`.
    ///
    /// # Errors
    /// What helm says.
    pub async fn helm(&self, arguments: &[&str], within: Duration) -> anyhow::Result<String> {
        program::run(&mut self.command("helm", arguments), None, within).await
    }

    /// The objects that `kubectl get … -o json` gives.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn get(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let arguments = [&["get", "-o", "json"], arguments].concat();
        serde_json::from_str(&self.run(&arguments).await?).context("kubectl gave no JSON")
    }

    /// Applies a manifest.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn apply(&self, manifest: &str) -> anyhow::Result<String> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        program::run(&mut self.command("kubectl", &arguments), Some(manifest), CALL).await
    }

    /// Creates the objects of a manifest, many of them if need be.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn create(&self, manifest: &str) -> anyhow::Result<()> {
        let mut command = self.command("kubectl", &["create", "-f", "-"]);
        program::run(&mut command, Some(manifest), CALL * 4).await.map(drop)
    }

    /// `kubectl` with these arguments and this input, which must fail; what it says comes back.
    ///
    /// # Errors
    /// It succeeds.
    pub async fn refused(&self, arguments: &[&str], input: Option<&str>) -> anyhow::Result<String> {
        program::refused(&mut self.command("kubectl", arguments), input, CALL).await
    }

    /// One namespace of it.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Namespace {
        Namespace { kube: self.clone(), name: name.to_owned() }
    }
}

/// One namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// The cluster.
    pub kube: Kube,
    /// Its name.
    pub name: String,
}

impl Namespace {
    /// As [`Kube::run`].
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.kube.run(&self.with(arguments)).await
    }

    /// As [`Kube::run_long`].
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn run_long(&self, arguments: &[&str], within: Duration) -> anyhow::Result<String> {
        self.kube.run_long(&self.with(arguments), within).await
    }

    /// As [`Kube::get`].
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn get(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        self.kube.get(&self.with(arguments)).await
    }

    /// The objects of a list.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn list(&self, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
        let mut list = self.get(arguments).await?;
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => anyhow::bail!("kubectl get {}: no list", arguments.join(" ")),
        }
    }

    /// As [`Kube::refused`].
    ///
    /// # Errors
    /// It succeeds.
    pub async fn refused(&self, arguments: &[&str], input: Option<&str>) -> anyhow::Result<String> {
        self.kube.refused(&self.with(arguments), input).await
    }

    /// Waits for a condition.
    ///
    /// # Errors
    /// It did not come within the time.
    pub async fn wait(&self, object: &str, condition: &str, within: Duration) -> anyhow::Result<()> {
        let wanted = format!("--for={condition}");
        self.run_long(&["wait", object, &wanted], within).await.map(drop)
    }

    /// Changes an object by a merge patch.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn patch(&self, object: &str, patch: &Value) -> anyhow::Result<()> {
        let patch = patch.to_string();
        self.run(&["patch", object, "--type=merge", "-p", &patch]).await.map(drop)
    }

    fn with<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["-n", &self.name], arguments].concat()
    }
}

/// The text at a path of an object, like `status.phase`.
#[must_use]
pub fn text<'a>(object: &'a Value, path: &str) -> Option<&'a str> {
    at(object, path)?.as_str()
}

/// The number at a path of an object.
#[must_use]
pub fn number(object: &Value, path: &str) -> Option<i64> {
    at(object, path)?.as_i64()
}

/// What stands at a path of an object.
#[must_use]
pub fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(object, |object, name| match name.parse::<usize>() {
        Ok(place) if object.is_array() => object.get(place),
        _ => object.get(name),
    })
}
