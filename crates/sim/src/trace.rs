//! What happened in a world: a chain of hashes over all events, and the last of them as text.

use std::collections::VecDeque;
use std::fmt::{self, Display, Write};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use lamina_env::time;
use parking_lot::Mutex;

/// Events that a failed run prints.
const KEPT: usize = 60;

/// A hash over all events of a run with their times, in order. Two runs of one seed must have the same.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Digest(u64);

impl Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The trace of one world. Cheap to clone; clones are the same trace.
#[derive(Clone)]
pub struct Trace {
    began: time::Instant,
    events: Arc<Mutex<Events>>,
}

struct Events {
    /// Print each event as it comes.
    aloud: bool,
    count: u64,
    digest: u64,
    last: VecDeque<String>,
}

impl Trace {
    /// An empty trace that begins now.
    pub fn begin(aloud: bool) -> Trace {
        let events = Events { aloud, count: 0, digest: 0, last: VecDeque::new() };
        Trace { began: time::now(), events: Arc::new(Mutex::new(events)) }
    }

    /// Simulated time since the beginning.
    pub fn elapsed(&self) -> time::Duration {
        self.began.elapsed()
    }

    /// Adds an event that happens now.
    pub fn push(&self, event: impl Display) {
        let at = self.elapsed();
        let mut line = String::new();
        // Writing into a string cannot fail.
        let _ = write!(line, "{:>5}.{:03} {event}", at.as_secs(), at.subsec_millis());
        let mut events = self.events.lock();
        // The hasher without random keys: equal in all runs of one build.
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(events.digest);
        hasher.write(line.as_bytes());
        events.digest = hasher.finish();
        events.count += 1;
        if events.aloud {
            eprintln!("{line}");
        }
        if events.last.len() == KEPT {
            events.last.pop_front();
        }
        events.last.push_back(line);
    }

    /// The digest of all events so far.
    pub fn digest(&self) -> Digest {
        Digest(self.events.lock().digest)
    }

    /// The number of events, the last of them, and the digest, for people.
    pub fn summary(&self) -> String {
        let events = self.events.lock();
        let mut text = format!("{} events, the last of them:\n", events.count);
        for line in &events.last {
            let _ = writeln!(text, "    {line}");
        }
        let _ = write!(text, "    digest {:016x}", events.digest);
        text
    }
}
