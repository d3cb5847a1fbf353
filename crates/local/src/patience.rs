//! What a start waits for, said in the log from time to time: nobody should have to wait for its end to learn that.

use lamina_client::Client;
use lamina_env::time::{self, Duration, Instant};

use crate::error::READY;

/// A start that takes longer than this is talked about.
const FIRST: Duration = Duration::from_secs(3);
/// Between two words.
const AGAIN: Duration = Duration::from_secs(10);

/// Watches over one start.
pub struct Patience {
    started: Instant,
    next: Instant,
}

impl Patience {
    /// Of a start that began at this time.
    pub fn new(started: Instant) -> Patience {
        Patience { started, next: started + FIRST }
    }

    /// Says what the start waits for, if it is time to; `why`: what the last attempt said.
    pub async fn speak(&mut self, client: &Client, why: &str) {
        if time::now() < self.next {
            return;
        }
        let reach = client.reach().await;
        let left = READY.saturating_sub(self.started.elapsed()).as_secs();
        tracing::warn!(
            "the store does not serve yet: {reach}; the last attempt said: {why}; still trying for {left} s"
        );
        self.next = time::now() + AGAIN;
    }
}
