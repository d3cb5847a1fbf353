//! The state machines as consensus drives them: apply, then publish what readers see.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use bytes::Bytes;
use lamina_consensus::{Frozen, StateMachine, Stop};
use lamina_engine::tree::TableRecord;
use lamina_group::data::{DataGroup, FrozenGroup, GroupView, InitialGroup, Outcome};
use lamina_types::{GroupId, LogIndex, TableId};
use parking_lot::Mutex;

type Tables = BTreeMap<TableId, Arc<TableRecord>>;

/// What readers of one data group see. Shared by the machine, which writes it, and everybody else.
pub struct Published {
    view: ArcSwap<GroupView>,
    /// The lists of tables of earlier views that somebody may still hold.
    earlier: Mutex<Vec<Weak<Tables>>>,
}

impl Published {
    fn new(view: Arc<GroupView>) -> Published {
        Published { view: ArcSwap::new(view), earlier: Mutex::new(Vec::new()) }
    }

    /// The newest state.
    pub fn view(&self) -> Arc<GroupView> {
        self.view.load_full()
    }

    /// Whether some view that is still held in this process names the table (protocols §7.4).
    pub fn is_named(&self, table: TableId) -> bool {
        if self.view.load().is_live(table) {
            return true;
        }
        let mut earlier = self.earlier.lock();
        earlier.retain(|tables| tables.strong_count() > 0);
        earlier.iter().filter_map(Weak::upgrade).any(|tables| tables.contains_key(&table))
    }

    fn publish(&self, view: Arc<GroupView>) {
        let before = self.view.swap(view.clone());
        if !Arc::ptr_eq(&before.tables, &view.tables) {
            let mut earlier = self.earlier.lock();
            earlier.retain(|tables| tables.strong_count() > 0);
            earlier.push(Arc::downgrade(&before.tables));
        }
    }
}

/// A data group's state machine.
pub struct DataMachine {
    group: DataGroup,
    published: Arc<Published>,
}

impl DataMachine {
    /// The machine before the first entry, and what its readers see.
    pub fn new(group: GroupId, initial: InitialGroup) -> (DataMachine, Arc<Published>) {
        let group = DataGroup::new(group, initial);
        let published = Arc::new(Published::new(group.view()));
        (DataMachine { group, published: published.clone() }, published)
    }
}

impl StateMachine for DataMachine {
    type Outcome = Outcome;

    fn apply(&mut self, index: LogIndex, entry: Bytes) -> Result<Outcome, Stop> {
        self.group.apply(index, entry).map_err(|reason| Stop(reason.to_string()))
    }

    fn applied(&mut self, index: LogIndex) {
        self.group.advance(index);
        self.published.publish(self.group.view());
    }

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(FrozenData(self.group.freeze()))
    }

    fn restore(&mut self, index: LogIndex, chunks: &mut dyn Iterator<Item = Bytes>) -> Result<(), Stop> {
        self.group =
            DataGroup::restore(self.group.group(), chunks).map_err(|reason| Stop(reason.to_string()))?;
        self.group.advance(index);
        self.published.publish(self.group.view());
        Ok(())
    }
}

struct FrozenData(FrozenGroup);

impl Frozen for FrozenData {
    fn chunks(self: Box<Self>) -> Box<dyn Iterator<Item = Bytes> + Send> {
        Box::new(self.0.chunks())
    }
}
