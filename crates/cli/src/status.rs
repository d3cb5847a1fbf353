//! `status`: how the store is, in four lines, as tables, or as JSON.
//!
//! | module | holds |
//! |---|---|
//! | [`report`] | what is told, with stable names: the JSON form |
//! | [`page`] | how it looks on a terminal |
//! | [`web`] | how it looks in a browser |

mod page;
mod report;
pub mod web;

use std::io::{IsTerminal, Write};

use lamina_client::Client;
use lamina_env::time::{self, Duration};

use crate::args::{StatusArgs, StatusOutput, StoreArgs};
use crate::failure::Failure;
use crate::output;

use report::Report;

const AGAIN: Duration = Duration::from_secs(1);

/// Shows the status, once or until somebody stops it.
pub async fn status(store: &StoreArgs, args: StatusArgs) -> Result<(), Failure> {
    let client = store.client()?;
    if !args.watch {
        let report = ask(&client).await.map_err(|error| store.failure(error))?;
        return output::line(&shown(&report, None, args.output)?);
    }
    let mut before: Option<(Report, time::Instant)> = None;
    loop {
        let begin = time::now();
        match ask(&client).await {
            Ok(report) => {
                let rates = before.as_ref().map(|(before, at)| (before, at.elapsed().as_secs_f64()));
                let text = shown(&report, rates, args.output)?;
                redraw(&text, args.output)?;
                before = Some((report, begin));
            }
            // Somebody who watches wants to see it come back.
            Err(error) => redraw(&store.failure(error).line().unwrap_or_default(), StatusOutput::Summary)?,
        }
        time::sleep_until(begin + AGAIN).await;
    }
}

async fn ask(client: &Client) -> lamina_client::Result<Report> {
    Ok(Report::of(&client.status().await?))
}

fn shown(report: &Report, before: Option<(&Report, f64)>, output: StatusOutput) -> Result<String, Failure> {
    match output {
        StatusOutput::Summary => Ok(page::summary(report, before)),
        StatusOutput::Table => Ok(format!("{}\n\n{}", page::summary(report, before), page::tables(report))),
        StatusOutput::Json => {
            serde_json::to_string(report).map_err(|error| Failure::Local(error.to_string()))
        }
    }
}

/// On a terminal the new picture takes the place of the old one.
fn redraw(text: &str, output: StatusOutput) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let clear = if output != StatusOutput::Json && out.is_terminal() { "\x1b[H\x1b[2J" } else { "" };
    writeln!(out, "{clear}{text}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::io("write the status", &error))
}
