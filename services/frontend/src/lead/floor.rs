//! The read floor: what is older than any reader needs is not kept (protocols §6.2).

use lamina_env::time::{self, Duration};
use lamina_group::data::entry::{RaiseFloor, Tick, UnpinBy, UnpinSnapshots};

use crate::lead::work::Work;

/// Versions stay readable at least this long, in milliseconds of the group's clock.
pub const KEEP_MS: u64 = 30_000;
/// How often the floor is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The floor is raised when that brings at least this much.
const STEP_MS: u64 = 10_000;

/// Raises the floor for ever, and gives up snapshots that have expired.
pub async fn run(work: Work) {
    loop {
        time::sleep(LOOK).await;
        let view = work.view();
        if !view.pins.is_empty() {
            // Expiry is judged by the group's clock, which stands still while nobody writes.
            let _ = work.propose(Tick { hint: work.host.hint() }).await;
            let expired = work.view().expired_pins();
            if !expired.is_empty() {
                let _ = work.propose(UnpinSnapshots { snapshots: expired, by: UnpinBy::Expiry }).await;
            }
        }
        let view = work.view();
        let to = view.floor_target(work.host.scans.lowest(), KEEP_MS);
        if to.ms() >= view.read_floor.ms() + STEP_MS
            && let Err(error) = work.propose(RaiseFloor { reign: work.reigning.reign, to }).await
        {
            tracing::debug!(group = %work.host.group, ?error, "the read floor was not raised");
        }
    }
}
