//! `flush`, `compact`, `probe`.

use lamina_client::Options;
use lamina_env::time::{self, Duration};
use lamina_types::limits::DEADLINE_MS_MAX;
use lamina_types::{Kind, Reason};

use crate::args::{StoreArgs, UpkeepArgs};
use crate::failure::Failure;
use crate::figures::{bytes, duration, plural};
use crate::output;

/// Flushes, and compacts. A call ends after 30 s at the latest, the work goes on: it is asked for again until done.
pub async fn flush(store: &StoreArgs, args: UpkeepArgs, compact: bool) -> Result<(), Failure> {
    let start = time::now();
    let deadline = start + args.wait;
    let client = store.client()?;
    let flushed = loop {
        let left = deadline.saturating_duration_since(time::now());
        let once =
            Options { deadline: left.min(Duration::from_millis(DEADLINE_MS_MAX)), ..Options::default() };
        match client.clone().with(once).flush(compact).await {
            Ok(flushed) => break flushed,
            Err(error) if error.reason() == Reason::DeadlineExceeded && time::now() < deadline => {}
            Err(error) => return Err(store.failure(error)),
        }
    };
    let did = if compact { "compacted" } else { "flushed" };
    let text = format!(
        "{did} · {} · {} · {}",
        plural(flushed.tables, "table", "tables"),
        bytes(flushed.table_bytes),
        duration(start.elapsed())
    );
    output::line(&text)
}

/// Proves that the store works.
pub async fn probe(store: &StoreArgs) -> Result<(), Failure> {
    let start = time::now();
    let probed = store.client()?.probe().await.map_err(|error| match error.kind() {
        // Whatever is in the way, the store does not serve: that is what a script wants to know.
        Kind::Aborted | Kind::FailedPrecondition | Kind::NotFound => {
            Failure::Ended(format!("the store does not serve: {error}"))
        }
        _ => store.failure(error),
    })?;
    let groups = plural(u64::from(probed.groups), "group", "groups");
    output::line(&format!("ok · {groups} · version {} · {}", probed.version, duration(start.elapsed())))
}
