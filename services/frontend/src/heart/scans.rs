//! Versions that scans on this leader read: the read floor stays below them while they go on.

use std::collections::BTreeMap;

use lamina_env::time::{self, Duration, Instant};
use lamina_types::Version;
use parking_lot::Mutex;

/// How long a scan may rest between two pages.
const REST: Duration = Duration::from_secs(30);

/// Open scans of one group.
#[derive(Default)]
pub struct OpenScans(Mutex<BTreeMap<Version, Instant>>);

impl OpenScans {
    /// A page is read at this version: it stays readable for another rest.
    pub fn keep(&self, version: Version) {
        self.0.lock().insert(version, time::now() + REST);
    }

    /// The lowest version that an open scan reads.
    pub fn lowest(&self) -> Option<Version> {
        let now = time::now();
        let mut scans = self.0.lock();
        scans.retain(|_, until| *until > now);
        scans.first_key_value().map(|(version, _)| *version)
    }
}
