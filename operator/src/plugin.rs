//! `kubectl lamina`: what the operator thinks, what it would do, and keys through a port-forward of its own.
//!
//! | module | holds |
//! |---|---|
//! | [`options`] | what can be typed |
//! | [`show`] | `status`, `why` |
//! | [`foresee`] | `plan` |
//! | [`ask`] | `restart`, `replace` |
//! | [`keys`] | `get`, `put`, `delete` |
//! | [`tunnels`] | ways into pods |

use std::io::Write;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use options::{Cli, Command};

mod ask;
mod foresee;
mod keys;
pub mod options;
mod show;
mod tunnels;

/// Why a command failed: one sentence for a person.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) => Failure(format!("the API server refuses: {}", status.message)),
            error => Failure(format!("the API server cannot be asked: {error}")),
        }
    }
}

/// Where commands work.
pub struct Place {
    /// The API server.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
}

/// Carries out a command.
///
/// # Errors
/// Why it failed.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let options = KubeConfigOptions { context: cli.context.clone(), ..KubeConfigOptions::default() };
    let config = match Kubeconfig::read() {
        Ok(read) => Config::from_custom_kubeconfig(read, &options).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let config = config.map_err(|error| Failure(format!("the kubeconfig cannot be used: {error}")))?;
    let namespace = cli.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let place = Place { client: Client::try_from(config)?, namespace };
    match cli.command {
        Command::Status { name } => show::status(&place, name).await,
        Command::Why { name } => show::why(&place, &name).await,
        Command::Plan { file } => foresee::plan(&place, &file).await,
        Command::Restart { name, component } => ask::restart(&place, &name, component).await,
        Command::Replace { pod } => ask::replace(&place, &pod).await,
        Command::Get { name, key } => keys::get(&place, &name, key).await,
        Command::Put { name, key, value } => keys::put(&place, &name, key, value).await,
        Command::Delete { name, key } => keys::delete(&place, &name, key).await,
    }
}

/// Writes to standard output.
fn say(text: &str) -> Result<(), Failure> {
    raw(format!("{text}\n").as_bytes())
}

fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| Failure(format!("cannot write: {error}")))
}
