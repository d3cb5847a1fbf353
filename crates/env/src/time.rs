//! Monotonic time and timers: tokio's, which the simulator pauses. The only module that may name them.

use std::future::Future;
pub use std::time::Duration;
pub use tokio::time::Instant;

/// The time was over before the future was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the time was over")]
pub struct Elapsed;

/// The present moment of the timers' clock.
#[expect(clippy::disallowed_methods, reason = "this is the port to the clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits for `duration`; the resolution is one millisecond.
#[expect(clippy::disallowed_methods, reason = "this is the port to the timers")]
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits until `deadline`.
#[expect(clippy::disallowed_methods, reason = "this is the port to the timers")]
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline).await;
}

/// Drives `future` for at most `duration`, then drops it.
#[expect(clippy::disallowed_methods, reason = "this is the port to the timers")]
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(duration, future).await.map_err(|_| Elapsed)
}

/// Drives `future` until `deadline` at most, then drops it.
pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout_at(deadline, future).await.map_err(|_| Elapsed)
}
