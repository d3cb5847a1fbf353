//! Log lines. Text on a terminal, JSON elsewhere unless asked otherwise; filtered by `LAMINA_LOG` in the form of
//! `tracing`'s environment filter (`info`, `lamina_frontend=debug,warn`).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The environment variable that filters.
pub const FILTER_VARIABLE: &str = "LAMINA_LOG";

/// What is shown unless `LAMINA_LOG` says otherwise. Raft's library tells at `info` what only its authors need.
pub const FILTER_DEFAULT: &str = "info,openraft=warn,h2=warn,hyper=warn,tonic=warn,tower=warn";

/// How a log line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogForm {
    /// Text if standard error is a terminal, else JSON.
    #[default]
    ByTerminal,
    /// One readable line each.
    Text,
    /// One JSON object each.
    Json,
}

/// The logs could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `LAMINA_LOG` does not parse.
    #[error("{FILTER_VARIABLE} cannot be understood: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// This process has logs already.
    #[error("logs were started already: {0}")]
    Twice(#[from] TryInitError),
}

/// Starts the logs of this process, on standard error. Once, at the start of `main`.
///
/// # Errors
/// The filter does not parse, or logs were started already.
pub fn start(form: LogForm) -> Result<(), LogError> {
    start_filtered(form, FILTER_DEFAULT)
}

/// As [`start`], with another filter where `LAMINA_LOG` names none.
///
/// # Errors
/// As [`start`].
pub fn start_filtered(form: LogForm, default: &str) -> Result<(), LogError> {
    let filter = filter(default, std::env::var(FILTER_VARIABLE).ok().as_deref())?;
    let terminal = std::io::stderr().is_terminal();
    let registry = tracing_subscriber::registry().with(filter);
    let text = matches!(form, LogForm::Text) || (matches!(form, LogForm::ByTerminal) && terminal);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if text {
        registry.with(layer.with_ansi(terminal).with_target(false).compact()).try_init()?;
    } else {
        registry.with(layer.json().flatten_event(true).with_current_span(true)).try_init()?;
    }
    Ok(())
}

/// The filter that a value of `LAMINA_LOG` means. What it does not name stays as in the default.
fn filter(default: &str, value: Option<&str>) -> Result<EnvFilter, LogError> {
    let directives = match value.map(str::trim).filter(|value| !value.is_empty()) {
        Some(value) => format!("{default},{value}"),
        None => default.to_owned(),
    };
    Ok(EnvFilter::try_new(directives)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_keeps_the_raft_library_quiet() {
        let shown = filter(FILTER_DEFAULT, None).unwrap().to_string();
        assert!(shown.contains("openraft=warn") && shown.contains("info"), "{shown}");
    }

    #[test]
    fn a_later_word_wins_over_the_default_and_nonsense_is_refused() {
        let shown = filter(FILTER_DEFAULT, Some("openraft=debug")).unwrap().to_string();
        assert!(shown.contains("openraft=debug") && !shown.contains("openraft=warn"), "{shown}");
        assert!(filter(FILTER_DEFAULT, Some("info")).is_ok());
        assert!(filter(FILTER_DEFAULT, Some("=loud=")).is_err());
    }
}
