//! `lamina-operator run`: from the start of the process to its end.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use lamina_crds::definitions::{SCHEMA_REVISION, SCHEMA_REVISION_ANNOTATION};
use lamina_env::clock::OsClock;
use lamina_env::time::{self, Duration};
use lamina_rpc::GrpcNetwork;
use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::pass::Context;
use crate::http::{self, Readiness};
use crate::lease::Tenant;
use crate::metrics::Metrics;
use crate::options::{Images, RunArgs};
use crate::{controller, rbac};

/// The exit code of a configuration that cannot work (sysexits' EX_CONFIG).
pub const MISCONFIGURED: u8 = 78;
/// Between two looks at definitions that are not there yet.
const AGAIN: Duration = Duration::from_secs(5);

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// What it was given cannot work.
    #[error("{0}")]
    Misconfigured(String),
    /// Another one works now, or the API server was away for too long.
    #[error("the lease {0} is lost; another operator goes on")]
    LeaseLost(String),
    /// The operating system or the API server refuses.
    #[error("{0}")]
    Failed(String),
}

/// Runs until SIGTERM or SIGINT, or until the lease is lost.
///
/// # Errors
/// Why it ended, unless it was told to.
pub async fn run(args: RunArgs) -> Result<(), Ended> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: &dyn std::fmt::Display| Ended::Failed(format!("{what}: {error}"))
    };
    let client = Client::try_default().await.map_err(|error| failed("finding the API server")(&error))?;
    let registry = lamina_telemetry::Metrics::new();
    let readiness = Readiness::default();
    let metrics = Metrics::new(&registry).map_err(|error| failed("registering metrics")(&error))?;
    http::serve(&args.http_listen, readiness.clone(), registry)
        .await
        .map_err(|error| failed(&format!("listening on {}", args.http_listen))(&error))?;
    let stop = stop_signal().map_err(|error| failed("listening for signals")(&error))?;
    tokio::pin!(stop);
    let clock = Arc::new(OsClock);
    let tenant = Tenant::new(client.clone(), &args.namespace, &args.lease, &args.pod, clock.clone());
    tokio::select! {
        biased;
        () = &mut stop => return Ok(()),
        checked = definitions(&client) => checked?,
    }
    readiness.set();
    tokio::select! {
        biased;
        () = &mut stop => return Ok(()),
        () = tenant.acquire() => {}
    }
    metrics.leading(true);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        image = args.image,
        watches = args.watch_namespace,
        "the operator works"
    );
    let images = Images { image: args.image, pull_policy: args.image_pull_policy, ..Images::default() };
    let networks = Box::new(|| Arc::new(GrpcNetwork::new()) as Arc<dyn lamina_peers::Network>);
    let context = Arc::new(Context::new(client, clock, images, args.namespace, metrics, networks));
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let works = controller::run(context, &args.watch_namespace, async move {
        let _ = ended.await;
    });
    tokio::pin!(works);
    tokio::select! {
        biased;
        () = &mut stop => {}
        () = tenant.keep() => return Err(Ended::LeaseLost(args.lease)),
        () = &mut works => return Err(Ended::Failed("the watches have ended by themselves".to_owned())),
    }
    // Passes that are under way are finished first; a pass that is not would be taken up by the next operator.
    let _ = end.send(());
    let _ = time::timeout(AGAIN, works).await;
    tenant.release().await;
    Ok(())
}

/// Waits for the definitions, and refuses older ones: what they do not know, the API server would drop without a word.
async fn definitions(client: &Client) -> Result<(), Ended> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for name in rbac::DEFINITIONS {
        loop {
            match api.get_metadata_opt(name).await {
                Ok(Some(found)) => {
                    let annotation = found
                        .metadata
                        .annotations
                        .as_ref()
                        .and_then(|all| all.get(SCHEMA_REVISION_ANNOTATION));
                    check_revision(name, annotation.map(String::as_str))?;
                    break;
                }
                Ok(None) => tracing::warn!(
                    "CustomResourceDefinition {name} is not installed; install the chart lamina-crds"
                ),
                Err(kube::Error::Api(status)) if status.code == 403 => {
                    tracing::warn!(
                        "not allowed to look at CustomResourceDefinition {name}: whether it is too old cannot be told"
                    );
                    break;
                }
                Err(error) => tracing::warn!(%error, "the API server cannot be asked for definitions"),
            }
            time::sleep(AGAIN).await;
        }
    }
    Ok(())
}

fn check_revision(name: &str, found: Option<&str>) -> Result<(), Ended> {
    let revision: u32 = found.and_then(|text| text.parse().ok()).unwrap_or(0);
    if revision >= SCHEMA_REVISION {
        return Ok(());
    }
    Err(Ended::Misconfigured(format!(
        "CustomResourceDefinition {name} has schema revision {revision}, and this operator needs {SCHEMA_REVISION}: upgrade the \
         chart lamina-crds first"
    )))
}

fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_definition_is_refused_and_a_newer_one_is_not() {
        assert!(check_revision("x", None).is_err());
        assert!(check_revision("x", Some("nonsense")).is_err());
        let why = check_revision("x", Some("0")).unwrap_err().to_string();
        assert!(why.contains("lamina-crds"), "{why}");
        assert!(check_revision("x", Some(&SCHEMA_REVISION.to_string())).is_ok());
        assert!(check_revision("x", Some("9999")).is_ok());
    }
}
