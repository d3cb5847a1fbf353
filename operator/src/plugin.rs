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

/// Why a command failed: one sentence for a person, and an exit code for programs, the same as those of `lamina`.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Failure {
    /// 1: no such thing; 2: the command or its input is wrong; 3: nobody answers; 4: not allowed; 5: data is lost; 70: a defect.
    pub code: u8,
    /// What happened, to what, what to do.
    pub why: String,
}

impl Failure {
    /// It is not there.
    fn missing(why: impl Into<String>) -> Failure {
        Failure { code: 1, why: why.into() }
    }

    /// The command or its input is wrong.
    fn input(why: impl Into<String>) -> Failure {
        Failure { code: 2, why: why.into() }
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Failure {
        let kube::Error::Api(status) = error else {
            return Failure { code: 3, why: format!("the API server cannot be asked: {error}") };
        };
        let (code, hint) = match status.code {
            404 => (1, "; are the definitions there? Install the chart lamina-crds"),
            401 | 403 => (4, ""),
            400..=499 => (2, ""),
            _ => (3, ""),
        };
        Failure { code, why: format!("the API server refuses: {}{hint}", status.message) }
    }
}

impl From<lamina_client::Error> for Failure {
    fn from(error: lamina_client::Error) -> Failure {
        use lamina_client::Kind;
        let code = match error.kind() {
            Kind::NotFound | Kind::FailedPrecondition | Kind::Aborted => 1,
            Kind::InvalidArgument | Kind::Unimplemented => 2,
            Kind::Unavailable | Kind::ResourceExhausted | Kind::DeadlineExceeded => 3,
            Kind::PermissionDenied => 4,
            Kind::DataLoss => 5,
            Kind::Internal => 70,
        };
        let hint = if code == 3 { "; kubectl lamina why says how the store is" } else { "" };
        Failure { code, why: format!("{error}{hint}") }
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
    let config = config.map_err(|error| Failure::input(format!("the kubeconfig cannot be used: {error}")))?;
    let namespace = cli.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let place = Place { client: Client::try_from(config)?, namespace };
    match cli.command {
        Command::Status { name, all_namespaces } => show::status(&place, name, all_namespaces).await,
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
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| Failure::input(format!("cannot write: {error}")))
}

#[cfg(test)]
mod tests;
