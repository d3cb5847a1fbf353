//! Why a store does not start, or ended.

use lamina_env::time::Duration;
use lamina_types::Error;

/// How long a start may take before it is given up.
pub const READY: Duration = Duration::from_secs(60);

/// Why a store does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The directory cannot be used: it belongs to another store, is in use, is damaged. Nothing was written.
    #[error("{0}")]
    Refused(String),
    /// The operating system refuses.
    #[error("{doing}: {error}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The address is taken.
    #[error("{0}")]
    Listen(Error),
    /// The log of a node is damaged: the node must be replaced under a new identity.
    #[error("{0}")]
    Damaged(String),
    /// A write of a log failed: the process must end, and may start again.
    #[error("{0}")]
    Failed(String),
    /// It did not become ready in time.
    #[error("the store did not become ready within {} seconds: {why}", READY.as_secs())]
    NotReady {
        /// What it was waiting for.
        why: String,
    },
}

/// What the operating system says, with what was being done.
pub fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> UpError {
    move |error| UpError::Io { doing: doing.to_owned(), error }
}
