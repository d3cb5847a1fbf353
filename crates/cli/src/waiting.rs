//! What a command waits for, while nothing comes back: a line on standard error, so that nobody has to wait for the
//! deadline to learn that a store has no majority.

use std::fmt;
use std::sync::Arc;

use lamina_client::Client;
use lamina_env::time::{self, Duration};
use parking_lot::Mutex;

use crate::figures::duration;
use crate::output;

/// After so long without an answer it is asked who answers at all; that takes three seconds at most.
const AFTER: Duration = Duration::from_secs(2);
/// Between two looks at the clients.
const LOOK: Duration = Duration::from_millis(100);
/// Between two questions who answers.
const AGAIN: Duration = Duration::from_secs(5);

/// The clients of a command.
#[derive(Clone, Default)]
pub struct Waiting(Arc<Mutex<Vec<Client>>>);

impl Waiting {
    /// The command uses this client too.
    pub fn add(&self, client: &Client) {
        self.0.lock().push(client.clone());
    }

    /// Says what the command waits for, whenever its calls stand still and somebody of the store is missing. For ever;
    /// `limit` is the option that ends the waiting, and its value.
    pub async fn speak(self, limit: (&'static str, Duration)) -> std::convert::Infallible {
        let mut said = String::new();
        loop {
            time::sleep(LOOK).await;
            let Some(client) = self.stands_still() else { continue };
            let reach = client.reach().await;
            let line = reach.to_string();
            // It may have come meanwhile, and the same is said once only.
            if !reach.is_whole() && line != said && self.stands_still().is_some() {
                let (option, most) = limit;
                output::complain(&format!(
                    "waiting: {line}; still trying, {} at most ({option})",
                    duration(most)
                ));
                said = line;
            }
            time::sleep(AGAIN).await;
        }
    }

    fn stands_still(&self) -> Option<Client> {
        let clients = self.0.lock();
        clients.iter().find(|client| client.waits_for().is_some_and(|still| still >= AFTER)).cloned()
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("clients", &self.0.lock().len()).finish()
    }
}
