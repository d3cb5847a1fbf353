//! One machine of the world: what a crash ends, and what survives it.

use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use lamina_env::clock::SimClock;
use lamina_env::disk::memory::{Faults, Loss, MemDisk};
use lamina_env::task::JoinHandle;
use lamina_env::{Env, TaskGroup, random};
use parking_lot::Mutex;

use crate::network::{NetworkOf, SimNetwork};
use crate::trace::Trace;

/// What the wall clocks of nodes show when a world begins: 2026-01-01T00:00:00Z, in milliseconds since 1970.
pub const START_MS: u64 = 1_767_225_600_000;

/// A node. Its tasks end with a crash; its disk survives with what was synced, and its clock goes on.
pub struct SimNode {
    name: String,
    disk: Mutex<MemDisk>,
    clock: Arc<SimClock>,
    trace: Trace,
    network: SimNetwork,
    boot: Box<dyn Fn(Life) -> BoxFuture<'static, ()> + Send + Sync>,
    present: Mutex<Present>,
}

struct Present {
    number: u64,
    /// The tasks of the present life; `None`: the node is down.
    tasks: Option<TaskGroup>,
}

/// What one life of a node has: from a start to the next crash or stop.
#[derive(Clone)]
pub struct Life {
    /// The node's name.
    pub name: String,
    /// Counts the starts, from 1.
    pub number: u64,
    /// The clock, and the disk as this life sees it: after a crash all of its files fail.
    pub env: Env,
    /// The tasks that end with this life.
    pub tasks: TaskGroup,
    /// The network as seen from this node. What the node serves is registered with [`NetworkOf::serve`].
    pub network: NetworkOf,
}

impl SimNode {
    pub(crate) fn new(
        name: &str,
        trace: Trace,
        network: SimNetwork,
        boot: impl Fn(Life) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Arc<SimNode> {
        Arc::new(SimNode {
            name: name.to_owned(),
            disk: Mutex::new(new_disk()),
            clock: Arc::new(SimClock::starting_at(START_MS)),
            trace,
            network,
            boot: Box::new(boot),
            present: Mutex::new(Present { number: 0, tasks: None }),
        })
    }

    /// How long a healthy disk takes. A call never comes back before others had their turn, so that crashes and
    /// other tasks fall between the steps of a story.
    pub fn usual_times(faults: &mut Faults) {
        faults.read_ms = Some((0, 1));
        faults.write_ms = Some((0, 0));
        faults.sync_ms = Some((0, 4));
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The disk, for its faults and for looking at what is durable. Services get theirs from [`Life::env`].
    pub fn disk(&self) -> MemDisk {
        self.disk.lock().clone()
    }

    /// The disk is lost, and an empty one takes its place: what starts here next has never been here. Ends the
    /// present life.
    pub fn replace_disk(&self) {
        self.crash();
        self.trace.push(format_args!("{} gets an empty disk", self.name));
        *self.disk.lock() = new_disk();
    }

    /// The wall clock, to be made wrong.
    pub fn clock(&self) -> &SimClock {
        &self.clock
    }

    /// Whether the node is up.
    pub fn is_up(&self) -> bool {
        self.present.lock().tasks.is_some()
    }

    /// Starts tasks beside those of the node's boot, in its present life. `None`: the node is down.
    pub fn spawn<F>(&self, future: F) -> Option<JoinHandle<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let tasks = self.present.lock().tasks.clone()?;
        Some(tasks.spawn(future))
    }

    /// Starts the node; nothing if it is up.
    pub fn start(&self) {
        let (number, tasks) = {
            let mut present = self.present.lock();
            if present.tasks.is_some() {
                return;
            }
            let tasks = TaskGroup::new();
            present.number += 1;
            present.tasks = Some(tasks.clone());
            (present.number, tasks)
        };
        self.trace.push(format_args!("{} starts, life {number}", self.name));
        let env = Env { clock: self.clock.clone(), disk: Arc::new(self.disk().mount()) };
        let network = self.network.of(&self.name, &tasks);
        let life = Life { name: self.name.clone(), number, env, tasks: tasks.clone(), network };
        tasks.spawn((self.boot)(life));
    }

    /// Power loss: all tasks end where they wait, nobody can call the node, and the disk loses what was not synced.
    /// Nothing if the node is down.
    pub fn crash(&self) {
        self.crash_with(Loss::Drawn);
    }

    /// [`SimNode::crash`] with a say in what the disk loses.
    pub fn crash_with(&self, loss: Loss) {
        if self.end("crashes") {
            self.disk().crash_with(loss);
        }
    }

    /// The process is killed: as [`SimNode::crash`], but what was written stays, synced or not.
    pub fn kill(&self) {
        if self.end("is killed") {
            self.disk().unmount();
        }
    }

    fn end(&self, how: &str) -> bool {
        let Some(tasks) = self.present.lock().tasks.take() else {
            return false;
        };
        self.trace.push(format_args!("{} {how}", self.name));
        self.network.withdraw(&self.name);
        tasks.stop();
        true
    }
}

fn new_disk() -> MemDisk {
    let disk = MemDisk::new(random::u64());
    disk.change_faults(SimNode::usual_times);
    disk
}

#[cfg(test)]
mod tests;
