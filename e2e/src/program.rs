//! Programs on PATH: started, given their input, waited for.

use std::process::{Output, Stdio};

use anyhow::{Context, bail};
use lamina_env::time::{self, Duration};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What is told of a program's complaint at most.
const COMPLAINT_LINES: usize = 12;

/// Runs a program to its end; standard output comes back.
///
/// # Errors
/// It is not there, ends with another code than 0, or takes too long. The end of what it complained about is told.
pub async fn run(command: &mut Command, input: Option<&str>, within: Duration) -> anyhow::Result<String> {
    let name = name_of(command);
    let output = output(command, input, within).await?;
    if !output.status.success() {
        bail!("{name}: {}: {}", output.status, complaint(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program that must fail; what it says on standard error comes back.
///
/// # Errors
/// It is not there, succeeds, or takes too long.
pub async fn refused(command: &mut Command, input: Option<&str>, within: Duration) -> anyhow::Result<String> {
    let name = name_of(command);
    let output = output(command, input, within).await?;
    if output.status.success() {
        bail!(
            "{name}: it succeeded, and had to be refused: {}",
            String::from_utf8_lossy(&output.stdout).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

async fn output(command: &mut Command, input: Option<&str>, within: Duration) -> anyhow::Result<Output> {
    let name = name_of(command);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("cannot start {name}; is it on PATH?"))?;
    let stdin = child.stdin.take();
    let feed = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A program that refuses its input before its end says so itself.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let both = futures::future::join(child.wait_with_output(), feed);
    match time::timeout(within, both).await {
        Ok((output, ())) => output.with_context(|| format!("{name} cannot be waited for")),
        Err(_) => bail!("{name}: it did not end within {} s", within.as_secs()),
    }
}

fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(COMPLAINT_LINES)).copied().collect::<Vec<_>>().join("\n")
}

fn name_of(command: &Command) -> String {
    let command = command.as_std();
    let words = command.get_args().map(|it| it.to_string_lossy());
    let all: Vec<_> = std::iter::once(command.get_program().to_string_lossy()).chain(words).collect();
    all.join(" ")
}
