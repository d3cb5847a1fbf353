//! Tasks that end with their node.
//!
//! Every task of a node belongs to its [`TaskGroup`], and so does every task that such a task starts with
//! [`spawn`], however deep and in whose crate. Stopping the group ends them all: that is how the simulator
//! crashes a node, and how `lamina up` replaces one without leaving anything running.

use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
pub use tokio::task::{JoinError, JoinHandle, yield_now};

use crate::random;

tokio::task_local! {
    static CURRENT: TaskGroup;
}

/// The tasks of one node. Cheap to clone; clones are the same group.
#[derive(Clone, Default)]
pub struct TaskGroup {
    members: Arc<Mutex<Members>>,
}

#[derive(Default)]
struct Members {
    stopped: bool,
    tasks: Vec<AbortHandle>,
    /// When the list reaches this length, tasks that have ended are taken off it.
    sweep_at: usize,
}

impl TaskGroup {
    /// An empty group.
    pub fn new() -> TaskGroup {
        TaskGroup::default()
    }

    /// Starts a task of this group. In a stopped group the task ends before its first step.
    #[expect(clippy::disallowed_methods, reason = "this is the port to tasks")]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle = tokio::spawn(CURRENT.scope(self.clone(), future));
        let mut members = self.members.lock();
        if members.stopped {
            handle.abort();
            return handle;
        }
        if members.tasks.len() >= members.sweep_at {
            members.tasks.retain(|task| !task.is_finished());
            members.sweep_at = (members.tasks.len() * 2).max(64);
        }
        members.tasks.push(handle.abort_handle());
        handle
    }

    /// Ends every task of the group at its next wait, and refuses new ones.
    pub fn stop(&self) {
        let tasks = {
            let mut members = self.members.lock();
            members.stopped = true;
            std::mem::take(&mut members.tasks)
        };
        for task in tasks {
            task.abort();
        }
    }

    /// Whether [`TaskGroup::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.members.lock().stopped
    }
}

/// The group of the task that calls; `None` outside any group.
///
/// For a service that starts tasks on behalf of callers from other nodes of the same process: what it starts must
/// end with its own node, not with theirs.
pub fn current() -> Option<TaskGroup> {
    CURRENT.try_with(TaskGroup::clone).ok()
}

/// Starts a task in the group of the task that calls; outside any group, a task of its own.
#[expect(clippy::disallowed_methods, reason = "this is the port to tasks")]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match CURRENT.try_with(TaskGroup::clone) {
        Ok(group) => group.spawn(future),
        Err(_) => tokio::spawn(future),
    }
}

/// Runs `work`, which keeps a processor busy or waits for the operating system, where it does not hold up
/// other tasks. In the simulator it runs in place, at no simulated cost.
///
/// # Errors
/// The work panicked, or the runtime is going down.
#[expect(clippy::disallowed_methods, reason = "this is the port to threads")]
pub async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    if random::is_seeded() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}

#[cfg(test)]
mod tests;
