//! `explain` and `completions`.

use clap::CommandFactory;
use lamina_types::{Kind, Reason};

use crate::args::{Cli, CompletionsArgs, ExplainArgs};
use crate::failure::{Failure, advice};
use crate::output;

pub fn explain(args: ExplainArgs) -> Result<(), Failure> {
    let Some(word) = args.reason else {
        let width = Reason::ALL.iter().map(|reason| reason.as_str().len()).max().unwrap_or(0);
        let lines: Vec<String> = Reason::ALL
            .iter()
            .map(|reason| {
                let first = reason.meaning().split_inclusive(['.', ';']).next().unwrap_or_default();
                format!("{:width$}  {}", reason.as_str(), first.trim_end_matches(';'))
            })
            .collect();
        return output::line(&lines.join("\n"));
    };
    let reason = Reason::parse(word.trim().to_ascii_uppercase().replace('-', "_").as_str());
    let reason = reason.ok_or_else(|| Failure::Usage(unknown(&word)))?;
    output::line(&page(reason))
}

fn page(reason: Reason) -> String {
    let mut page =
        format!("{reason}\n{}\n", reason.meaning().split_whitespace().collect::<Vec<_>>().join(" "));
    if let Some(advice) = advice(reason) {
        page.push_str(&format!("What to do: {advice}.\n"));
    }
    page.push_str(match reason.kind() {
        Kind::InvalidArgument => "The request is wrong whatever the state: correct it. Nothing was done.",
        Kind::FailedPrecondition => {
            "The state does not allow it now. Nothing was done; do not repeat it blindly."
        }
        Kind::Aborted => "Nothing was done: read again, then repeat.",
        Kind::Unavailable => "The client repeats it by itself until its deadline, with the same request id.",
        Kind::ResourceExhausted => "A limit was reached and nothing was done: back off, then repeat.",
        Kind::DeadlineExceeded => "The time was over. A write may have been done.",
        Kind::DataLoss => "Never repeat it blindly: exactly the keys of the request are affected.",
        Kind::PermissionDenied => "The caller may not do this.",
        Kind::NotFound => "What was named is not there.",
        Kind::Unimplemented => "Not built, or not enabled, here.",
        Kind::Internal => "A defect of Lamina: please report it.",
    });
    page
}

/// An unknown word, with those that look like it.
fn unknown(word: &str) -> String {
    let asked = word.to_ascii_uppercase();
    let parts: Vec<&str> = asked.split(['_', '-', ' ']).filter(|part| part.len() > 2).collect();
    let near: Vec<&str> = Reason::ALL
        .iter()
        .map(|reason| reason.as_str())
        .filter(|reason| parts.iter().any(|part| reason.contains(part)))
        .take(5)
        .collect();
    match near.as_slice() {
        [] => format!("no such reason: {word}; `lamina explain` lists all"),
        near => format!("no such reason: {word}; did you mean {}?", near.join(", ")),
    }
}

pub fn completions(args: CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lamina", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_page_of_whole_sentences() {
        for reason in Reason::ALL {
            let page = page(*reason);
            assert!(page.starts_with(reason.as_str()) && page.ends_with('.'), "{page}");
        }
    }

    #[test]
    fn an_unknown_word_brings_those_that_look_like_it() {
        assert!(unknown("KEY_EMTPY").contains("KEY_EMPTY"));
        assert!(unknown("xyzzy").contains("lists all"));
    }
}
