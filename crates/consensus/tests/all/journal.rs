//! The machine of these tests: it remembers every entry, and a digest over all of them in order.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use lamina_consensus::{Frozen, StateMachine, Stop};
use lamina_types::LogIndex;
use parking_lot::Mutex;

/// What a replica's machine holds, for the test to look at.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Page {
    /// How far it goes.
    pub applied: u64,
    /// Index and value of each entry.
    pub lines: Vec<(u64, Bytes)>,
    /// Over all lines.
    pub digest: u64,
    /// Snapshots that replaced the state.
    pub restores: u64,
}

/// A machine that remembers.
#[derive(Default)]
pub struct Journal {
    present: Page,
    seen: Arc<Mutex<Page>>,
}

/// An entry that makes the machine stop.
pub const POISON: &[u8] = b"poison";

impl Journal {
    /// A machine, and what readers see of it.
    pub fn new() -> (Journal, Arc<Mutex<Page>>) {
        let journal = Journal::default();
        let seen = journal.seen.clone();
        (journal, seen)
    }

    fn add(&mut self, index: u64, line: Bytes) {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.present.digest);
        hasher.write_u64(index);
        hasher.write(&line);
        self.present.digest = hasher.finish();
        self.present.lines.push((index, line));
    }
}

impl StateMachine for Journal {
    type Outcome = usize;

    fn apply(&mut self, index: LogIndex, entry: Bytes) -> Result<usize, Stop> {
        if entry.as_ref() == POISON {
            return Err(Stop("the entry cannot be understood".to_owned()));
        }
        assert!(self.present.lines.last().is_none_or(|(last, _)| *last < index.0), "indexes rise");
        self.add(index.0, entry);
        Ok(self.present.lines.len())
    }

    fn applied(&mut self, index: LogIndex) {
        self.present.applied = index.0;
        *self.seen.lock() = self.present.clone();
    }

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(Picture(self.present.lines.clone()))
    }

    fn restore(&mut self, index: LogIndex, chunks: &mut dyn Iterator<Item = Bytes>) -> Result<(), Stop> {
        let restores = self.present.restores + 1;
        self.present = Page { restores, ..Page::default() };
        for mut chunk in chunks {
            let at = chunk.get_u64();
            self.add(at, chunk);
        }
        self.present.applied = index.0;
        Ok(())
    }
}

struct Picture(Vec<(u64, Bytes)>);

impl Frozen for Picture {
    fn chunks(self: Box<Self>) -> Box<dyn Iterator<Item = Bytes> + Send> {
        Box::new(self.0.into_iter().map(|(index, line)| {
            let mut chunk = Vec::new();
            chunk.put_u64(index);
            chunk.put_slice(&line);
            Bytes::from(chunk)
        }))
    }
}
