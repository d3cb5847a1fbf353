//! The reigns of this process, for doors that need one.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamina_types::GroupId;
use parking_lot::Mutex;

use crate::host::DataHost;
use crate::lead::work::Work;

/// The reigns of this process by group.
#[derive(Default)]
pub struct Works(Mutex<BTreeMap<GroupId, Work>>);

impl Works {
    /// The reign over a group, if there is one.
    pub fn get(&self, group: GroupId) -> Option<Work> {
        self.0.lock().get(&group).cloned()
    }

    /// A reign begins.
    pub fn begin(&self, work: Work) {
        self.0.lock().insert(work.host.group, work);
    }

    /// The reign of this replica is over.
    pub fn end(&self, host: &Arc<DataHost>) {
        let mut works = self.0.lock();
        if works.get(&host.group).is_some_and(|work| Arc::ptr_eq(&work.host, host)) {
            works.remove(&host.group);
        }
    }
}
