//! What can be typed behind `lamina-operator`, and what the chart sets.

use clap::{Args, Parser, Subcommand};
use lamina_crds::StorageClusterSpec;

/// Lamina's operator for Kubernetes
#[derive(Parser, Debug)]
#[command(name = "lamina-operator", version)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Watch StorageClusters and make them so
    Run(RunArgs),
    /// Print what the operator may do, as rules of roles: in watched namespaces (stores), in its own (own), in the cluster (cluster)
    Rbac,
    /// Print the version
    Version,
}

/// `run`
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The operator's own namespace, where its lease is
    #[arg(long, env = "LAMINA_OPERATOR_NAMESPACE", default_value = "lamina-system")]
    pub namespace: String,
    /// The only namespace to look at; empty: all
    #[arg(long, env = "LAMINA_WATCH_NAMESPACE", default_value = "")]
    pub watch_namespace: String,
    /// The operator's pod
    #[arg(long, env = "POD_NAME", default_value = "lamina-operator")]
    pub pod: String,
    /// The image of stores that do not name one
    #[arg(long, env = "LAMINA_IMAGE", default_value_t = Images::default().image)]
    pub image: String,
    /// When that image is pulled
    #[arg(long, env = "LAMINA_IMAGE_PULL_POLICY", default_value = "IfNotPresent",
          value_parser = ["IfNotPresent", "Always", "Never"])]
    pub image_pull_policy: String,
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub http_listen: String,
    /// The Lease that only one operator holds
    #[arg(long, default_value = "lamina-operator")]
    pub lease: String,
}

/// Images of stores that do not name one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Images {
    /// Repository and tag.
    pub image: String,
    /// When it is pulled.
    pub pull_policy: String,
    /// The operator's version.
    pub version: String,
}

impl Default for Images {
    fn default() -> Images {
        let version = env!("CARGO_PKG_VERSION");
        Images {
            image: format!("lamina:{version}"),
            pull_policy: "IfNotPresent".to_owned(),
            version: version.to_owned(),
        }
    }
}

impl Images {
    /// The image that a spec asks for.
    pub fn of(&self, spec: &StorageClusterSpec) -> String {
        let (own, tag) = self.parts();
        let repository = spec.image.repository.as_deref().unwrap_or(own);
        if let Some(digest) = &spec.image.digest {
            return format!("{repository}@{digest}");
        }
        let named = spec.image.tag.as_deref().or(spec.version.as_deref());
        match named {
            Some(tag) => format!("{repository}:{tag}"),
            None if spec.image.repository.is_none() => self.image.clone(),
            None => format!("{repository}:{}", tag.unwrap_or(&self.version)),
        }
    }

    /// Repository and tag of the operator's image for stores.
    fn parts(&self) -> (&str, Option<&str>) {
        let plain = self.image.split('@').next().unwrap_or_default();
        match plain.rsplit_once(':') {
            // A colon before the last slash is that of a port.
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (plain, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_image_is_what_the_spec_names_and_else_the_operators() {
        let images =
            |image: &str| Images { image: image.into(), version: "0.4.1".into(), ..Images::default() };
        let of =
            |image: &str, spec: serde_json::Value| images(image).of(&serde_json::from_value(spec).unwrap());
        assert_eq!(of("reg:5000/lamina:dev", json!({})), "reg:5000/lamina:dev");
        assert_eq!(of("reg:5000/lamina:dev", json!({"version": "0.5.0"})), "reg:5000/lamina:0.5.0");
        assert_eq!(of("reg:5000/lamina", json!({"version": "0.5.0"})), "reg:5000/lamina:0.5.0");
        assert_eq!(of("a/b:1", json!({"image": {"repository": "x/y"}})), "x/y:1");
        assert_eq!(of("a/b@sha256:00", json!({"image": {"repository": "x/y"}})), "x/y:0.4.1");
        assert_eq!(of("a/b:1", json!({"image": {"tag": "t"}, "version": "0.5.0"})), "a/b:t");
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(of("a/b:1", json!({"image": {"digest": digest}})), format!("a/b@{digest}"));
    }
}
