//! A rate that work in the background keeps to.

use lamina_env::time::{self, Duration, Instant};
use parking_lot::Mutex;

/// Bytes in a second, shared by all who pay into it.
#[derive(Debug)]
pub(crate) struct Pace {
    /// 0: without bound.
    bytes_per_second: u64,
    /// When what was paid so far has passed.
    free_at: Mutex<Option<Instant>>,
}

impl Pace {
    /// `None` or 0: without bound.
    pub fn new(bytes_per_second: Option<u64>) -> Pace {
        Pace { bytes_per_second: bytes_per_second.unwrap_or(0), free_at: Mutex::new(None) }
    }

    /// Waits until the bytes paid before have passed, and pays for `bytes`.
    pub async fn pay(&self, bytes: u64) {
        if self.bytes_per_second == 0 {
            return;
        }
        let cost = Duration::from_micros(bytes.saturating_mul(1_000_000) / self.bytes_per_second);
        let start = {
            let mut free_at = self.free_at.lock();
            let now = time::now();
            let start = free_at.map_or(now, |at| at.max(now));
            *free_at = Some(start + cost);
            start
        };
        time::sleep_until(start).await;
    }
}
