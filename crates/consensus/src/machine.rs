//! What a group replicates: a state that changes only by applying entries in order.

use bytes::Bytes;
use lamina_types::LogIndex;

/// A state machine. Applying is pure (rule G1): equal applied index means equal state, bit for bit.
pub trait StateMachine: Send + Sync + 'static {
    /// What an entry brought, for the proposer. Dropped on other replicas.
    type Outcome: Send + 'static;

    /// Applies the entry at `index`; indexes rise, and those that are left out held nothing for the machine.
    ///
    /// # Errors
    /// The replica cannot understand the entry (rule G3), or the state contradicts itself: the replica stops.
    fn apply(&mut self, index: LogIndex, entry: Bytes) -> Result<Self::Outcome, Stop>;

    /// A batch of entries was applied, up to `index` (also for indexes that held nothing): publish what readers see.
    fn applied(&mut self, index: LogIndex);

    /// An immutable picture of the present state. Must be quick (no copy of memtables); writing it out comes later.
    fn freeze(&self) -> Box<dyn Frozen>;

    /// Replaces the whole state by the one whose picture consists of `chunks`, which was taken at `index`.
    ///
    /// # Errors
    /// The picture cannot be understood: the replica stops.
    fn restore(&mut self, index: LogIndex, chunks: &mut dyn Iterator<Item = Bytes>) -> Result<(), Stop>;
}

/// An immutable picture of a state machine.
pub trait Frozen: Send + 'static {
    /// The picture in pieces of at most 256 KiB, in order. Called once.
    fn chunks(self: Box<Self>) -> Box<dyn Iterator<Item = Bytes> + Send>;
}

/// Why a replica must stop: going on could make its state differ from the others'.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the replica stops: {0}")]
pub struct Stop(pub String);
