//! What goes wrong, as one line and an exit code.
//!
//! | code | means |
//! |---|---|
//! | 0 | done |
//! | 1 | no such key, or a condition did not hold |
//! | 2 | the command or its input is wrong |
//! | 3 | the store cannot be reached, or takes no more, or did not answer in time |
//! | 4 | not allowed |
//! | 5 | bytes are lost or damaged |
//! | 70 | a defect of Lamina |
//! | 78 | the directory or the address is refused |
//! | 130 | interrupted |

use std::io;

use lamina_types::{Error, Kind, Reason};

/// Why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// What was asked for is not there, or not as it was expected.
    NotFound(String),
    /// The command or its input is wrong.
    Usage(String),
    /// What the store said, and where the store was looked for.
    Store(Error, String),
    /// A file or the terminal.
    Local(String),
    /// Bytes are damaged.
    Damage(String),
    /// A server does not start here.
    Refused(String),
    /// A server could not go on, or did not become ready.
    Ended(String),
    /// Ctrl-C.
    Interrupted(String),
    /// The store's failure in the middle of longer work, with how to go on.
    Halfway(Box<Failure>, String),
    /// Whoever read the output has gone: nothing to say.
    Quiet,
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::NotFound(_) => 1,
            Failure::Usage(_) | Failure::Local(_) => 2,
            Failure::Store(error, _) => code_of(error.kind()),
            Failure::Ended(_) => 3,
            Failure::Damage(_) => 5,
            Failure::Refused(_) => 78,
            Failure::Interrupted(_) => 130,
            Failure::Halfway(failure, _) => failure.code(),
            Failure::Quiet => 0,
        }
    }

    /// One line: what happened, to what, what to do.
    pub fn line(&self) -> Option<String> {
        let line = match self {
            Failure::Quiet => return None,
            Failure::NotFound(text)
            | Failure::Usage(text)
            | Failure::Local(text)
            | Failure::Damage(text)
            | Failure::Refused(text)
            | Failure::Ended(text)
            | Failure::Interrupted(text) => text.clone(),
            Failure::Store(error, store) => of_store(error, store),
            Failure::Halfway(failure, how) => format!("{}; {how}", failure.line().unwrap_or_default()),
        };
        Some(line.split('\n').map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "))
    }

    /// A failure of reading or writing something of the user's.
    pub fn io(doing: &str, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Quiet,
            _ => Failure::Local(format!("cannot {doing}: {error}")),
        }
    }
}

fn code_of(kind: Kind) -> u8 {
    match kind {
        Kind::InvalidArgument | Kind::Unimplemented => 2,
        Kind::NotFound | Kind::FailedPrecondition | Kind::Aborted => 1,
        Kind::Unavailable | Kind::ResourceExhausted | Kind::DeadlineExceeded => 3,
        Kind::PermissionDenied => 4,
        Kind::DataLoss => 5,
        Kind::Internal => 70,
    }
}

fn of_store(error: &Error, store: &str) -> String {
    let reason = error.reason();
    let message = error.message().trim_end_matches('.');
    let advice = match reason {
        Reason::Unreachable | Reason::NotReady => {
            format!(
                "is a store running at {store}? start one with `lamina up`, or name another with --endpoint"
            )
        }
        Reason::DeadlineExceeded => {
            format!("see `lamina status --endpoint {store}`, or wait longer with --timeout")
        }
        // Most sentences of the store say behind a semicolon what to do.
        _ if message.contains(';') => return format!("{message} ({reason})"),
        Reason::NoQuorum => "see `lamina status`: too many frontends are down".to_owned(),
        Reason::Bug => "this is a defect: please report it".to_owned(),
        _ => match advice(reason) {
            Some(advice) => advice.to_owned(),
            None => format!("see `lamina explain {reason}`"),
        },
    };
    format!("{message} ({reason}); {advice}")
}

/// What to do, in a few words.
pub fn advice(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::KeyEmpty | Reason::KeyTooLarge => "a key has 1 to 4096 bytes",
        Reason::ValueTooLarge => "a value has at most 1 MiB; cut it into several keys",
        Reason::BatchEmpty => "give it at least one operation",
        Reason::BatchTooLarge => "a batch has at most 1000 operations and 4 MiB; cut it",
        Reason::DuplicateKey => "keep only the last operation on each key",
        Reason::RangeInverted => "swap the two ends",
        Reason::TtlOutOfRange => "name 1ms to 100 years",
        Reason::LimitOutOfRange => "name a lower limit",
        Reason::BatchSpansGroups => "split the batch, or run the store with one data group",
        Reason::ConditionFailed => "nothing was written; read the key and decide anew",
        Reason::SnapshotExpired => "start again",
        Reason::OutcomeUnknown => "read the key before you write again",
        Reason::Overloaded => "nothing was done; try again later, or at a lower rate",
        Reason::DiskFull => "make room on the volumes; reads go on",
        Reason::DataLoss => "other keys are not affected; see `lamina status` for under-replicated tables",
        Reason::ClusterMismatch => "the endpoint belongs to another store",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_happened_the_reason_and_what_to_do() {
        let error = Error::new(Reason::KeyEmpty, "the key is empty");
        let failure = Failure::Store(error, "a:1".into());
        assert_eq!(failure.line().unwrap(), "the key is empty (KEY_EMPTY); a key has 1 to 4096 bytes");
        assert_eq!(failure.code(), 2);
    }

    #[test]
    fn a_line_is_one_line_and_does_not_repeat_itself() {
        let error = Error::new(Reason::KeyTooLarge, "the key has 5000 bytes;\n a key has 1 to 4096 bytes");
        let line = Failure::Store(error, "a:1".into()).line().unwrap();
        assert_eq!(line, "the key has 5000 bytes; a key has 1 to 4096 bytes (KEY_TOO_LARGE)");
    }

    #[test]
    fn every_reason_gives_an_exit_code_that_says_what_kind_of_failure_it_is() {
        let code = |reason| Failure::Store(Error::new(reason, "x"), String::new()).code();
        assert_eq!(code(Reason::Unreachable), 3);
        assert_eq!(code(Reason::Overloaded), 3);
        assert_eq!(code(Reason::ClusterMismatch), 4);
        assert_eq!(code(Reason::DataLoss), 5);
        assert_eq!(code(Reason::ConditionFailed), 1);
        assert!(Reason::ALL.iter().all(|reason| code(*reason) != 0));
    }

    #[test]
    fn a_closed_pipe_is_nothing_to_talk_about() {
        let failure = Failure::io("write", &io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.line(), failure.code()), (None, 0));
    }
}
