//! Waiting for something to become true, never for time to pass.

use anyhow::bail;
use lamina_env::time::{self, Duration};

/// Between two looks: each is a process that talks to the API server.
const LOOK: Duration = Duration::from_millis(700);

/// Looks until there is something, or the time is over. A look that fails is repeated; the last failure is told.
///
/// # Errors
/// What is waited for did not come within the time.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = time::now() + within;
    loop {
        let seen = look().await;
        match seen {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if time::now() >= deadline => bail!("{what}: not within {} s", within.as_secs()),
            Err(error) if time::now() >= deadline => {
                return Err(error.context(format!("{what}: not within {} s", within.as_secs())));
            }
            Ok(None) | Err(_) => time::sleep(LOOK).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_look_that_fails_is_repeated_and_told_when_the_time_is_over() {
        let mut looks = 0;
        let found = until("a third look", Duration::from_secs(5), async || {
            looks += 1;
            if looks < 3 { bail!("not yet") } else { Ok(Some(looks)) }
        });
        assert_eq!(found.await.unwrap(), 3);
        let never: anyhow::Result<()> =
            until("pigs", Duration::from_secs(5), async || bail!("they walk")).await;
        assert_eq!(format!("{:#}", never.unwrap_err()), "pigs: not within 5 s: they walk");
    }
}
