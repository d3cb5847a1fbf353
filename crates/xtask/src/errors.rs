//! `docs/errors.md` from [`lamina_types::Reason`]: the page cannot say anything else than the code.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use lamina_types::{Kind, Reason};

/// Where the page lies in the repository.
pub const PAGE: &str = "docs/errors.md";

const HEAD: &str = "\
# Errors

Every refusal of Lamina carries a *reason*: a stable word in capitals that programs may compare and that
`lamina explain <REASON>` prints. The sentence beside it is for people and may change. A reason belongs to one
*kind*, and the kind says what a caller may do. An absent key is no error.

Three outcomes of a write: it succeeded (done), it failed with `OUTCOME_UNKNOWN`, `DEADLINE_EXCEEDED`, `UNREACHABLE` or a
defect of ours (nobody knows), or it failed with anything else (not done). Repeating it with the same request id applies it
at most once.

This page is written by `cargo xtask errors` from `crates/types/src/error.rs`; a test holds it.
";

/// Writes the page.
///
/// # Errors
/// The file cannot be written.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let path = root.join(PAGE);
    std::fs::write(&path, page()).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{PAGE}");
    Ok(())
}

/// The whole page.
#[must_use]
pub fn page() -> String {
    let mut out = HEAD.to_owned();
    let mut kinds: Vec<Kind> = Vec::new();
    for reason in Reason::ALL {
        if !kinds.contains(&reason.kind()) {
            kinds.push(reason.kind());
        }
    }
    for kind in kinds {
        let (name, advice) = about(kind);
        let _ = write!(out, "\n## {name}\n\n{advice}\n\n| reason | means |\n|---|---|\n");
        for reason in Reason::ALL.iter().filter(|reason| reason.kind() == kind) {
            let _ = writeln!(out, "| `{reason}` | {} |", sentence(reason.meaning()));
        }
    }
    out
}

/// A meaning on one line.
fn sentence(meaning: &str) -> String {
    meaning.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The name of a kind, and what a caller may do about it.
fn about(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::InvalidArgument => ("Invalid argument", "The request is wrong whatever the state: correct it."),
        Kind::FailedPrecondition => {
            ("Failed precondition", "The state does not allow it now: do not repeat it blindly. Nothing was done.")
        }
        Kind::Aborted => {
            ("Aborted", "A condition did not hold, or the map was stale: read again, then repeat. Nothing was done.")
        }
        Kind::Unavailable => {
            ("Unavailable", "Not now, or not here: repeat with backoff and the same request id.")
        }
        Kind::ResourceExhausted => ("Resource exhausted", "A limit was reached: back off. Nothing was done."),
        Kind::DeadlineExceeded => ("Deadline exceeded", "The time was over."),
        Kind::DataLoss => {
            ("Data loss", "Bytes are damaged on all copies: exactly the keys of the request are affected. Never repeat.")
        }
        Kind::PermissionDenied => ("Permission denied", "The caller may not do this."),
        Kind::NotFound => ("Not found", "What was named is not there. An absent key is no error."),
        Kind::Unimplemented => ("Unimplemented", "Not built, or not enabled, here."),
        Kind::Internal => ("Internal", "A defect of ours."),
    }
}
