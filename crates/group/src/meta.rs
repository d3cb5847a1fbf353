//! The meta group (group 0): which nodes, groups and index shards a store has (protocols §10).
//!
//! [`MetaGroup`] applies [`MetaEntry`]s. What can only be observed (who answers, who is caught up, how long somebody
//! was silent) is judged by the meta leader *before* it proposes, by the pure functions of [`decide`] and [`guard`],
//! and goes into the entry together with the leader's reign; apply checks stored facts only.
//!
//! ```text
//! heartbeats → Observer → decide(state, observed) → changes → log → apply → state → view() → every node
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`entry`] | log entries and their bytes |
//! | [`state`] | what the meta group knows, and the view that it publishes |
//! | [`outcome`] | what an entry brought: typed refusals |
//! | `apply` | the preconditions and effects of every entry |
//! | [`observe`] | what a meta leader has heard |
//! | [`decide`] | what a meta leader proposes next |
//! | [`guard`] | whether a node may be stopped, forgotten, or its volume thrown away |
//! | [`snapshot`] | the whole state as bytes |
//! | [`stop`] | why a replica cannot go on |

mod apply;
pub mod decide;
pub mod entry;
pub mod guard;
pub mod observe;
pub mod outcome;
pub mod snapshot;
pub mod state;
pub mod stop;

use std::sync::Arc;

use bytes::Bytes;
use lamina_peers::view::ClusterView;
use lamina_types::LogIndex;

pub use decide::decide;
pub use entry::{Change, MetaEntry};
pub use guard::{can_forget, can_stop, release_volume};
pub use observe::{Observed, Observer};
pub use outcome::{Outcome, Refusal};
pub use snapshot::FrozenMeta;
pub use state::MetaState;
pub use stop::MetaStop;

/// The state machine of the meta group. Cheap to clone and to freeze: the state is shared until it changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetaGroup {
    state: Arc<MetaState>,
}

impl MetaGroup {
    /// The state before the first entry.
    pub fn new() -> MetaGroup {
        MetaGroup::default()
    }

    /// The present state, to be read while others are applied.
    pub fn state(&self) -> Arc<MetaState> {
        self.state.clone()
    }

    /// Applies the entry at `index`.
    ///
    /// # Errors
    /// The entry cannot be understood: the replica stops (rule G3).
    pub fn apply(&mut self, index: LogIndex, entry: &[u8]) -> Result<Outcome, MetaStop> {
        let entry = MetaEntry::decode(entry)?;
        apply::apply(Arc::make_mut(&mut self.state), index, entry)
    }

    /// What every node shall know of the cluster; `None` before the store is founded.
    pub fn view(&self) -> Option<ClusterView> {
        self.state.view()
    }

    /// An immutable picture of the present state.
    pub fn freeze(&self) -> FrozenMeta {
        FrozenMeta::new(self.state.clone())
    }

    /// Replaces the state by the one whose picture consists of `chunks`.
    ///
    /// # Errors
    /// The picture cannot be understood: the replica stops.
    pub fn restore(&mut self, chunks: &mut dyn Iterator<Item = Bytes>) -> Result<(), MetaStop> {
        self.state = Arc::new(snapshot::read(chunks)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
