//! One simulated world: its runtime, its nodes and network, and what it prints when a run fails.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

use lamina_env::{random, time};
use parking_lot::Mutex;

use crate::network::SimNetwork;
use crate::node::{Life, SimNode};
use crate::trace::{Digest, Trace};

/// Simulated time after which a scenario is taken to hang, unless [`World::run_for`] says otherwise.
pub const LIMIT: time::Duration = time::Duration::from_secs(4 * 3600);

/// A simulated world. Cheap to clone; clones are the same world. Lives as long as its run.
#[derive(Clone)]
pub struct World(Arc<Shared>);

struct Shared {
    seed: u64,
    trace: Trace,
    nodes: Mutex<BTreeMap<String, Arc<SimNode>>>,
    network: SimNetwork,
}

thread_local! {
    /// Panics of tasks in the world that this thread runs; `None`: it runs none.
    static PANICS: Cell<Option<u32>> = const { Cell::new(None) };
}

impl World {
    /// Runs `scenario` in a new world and returns what it returns.
    ///
    /// # Panics
    /// If the scenario or any task panics, if a thread is started inside the world, or if the scenario does not
    /// end within [`LIMIT`]; the message has the seed and a line that repeats the run.
    pub fn run<T>(seed: u64, scenario: impl AsyncFnOnce(World) -> T) -> T {
        World::run_for(LIMIT, seed, scenario).0
    }

    /// [`World::run`], also with the digest of the trace.
    ///
    /// # Panics
    /// As [`World::run`].
    pub fn run_traced<T>(seed: u64, scenario: impl AsyncFnOnce(World) -> T) -> (T, Digest) {
        World::run_for(LIMIT, seed, scenario)
    }

    /// [`World::run_traced`], with another limit of simulated time.
    ///
    /// # Panics
    /// As [`World::run`].
    #[expect(clippy::panic, reason = "a failed run is a failed test")]
    pub fn run_for<T>(
        limit: time::Duration,
        seed: u64,
        scenario: impl AsyncFnOnce(World) -> T,
    ) -> (T, Digest) {
        let _inside = Inside::enter(seed);
        let threads = Arc::new(AtomicBool::new(false));
        let runtime = match runtime(threads.clone()) {
            Ok(runtime) => runtime,
            Err(error) => panic!("no runtime for the simulated world: {error}"),
        };
        let mut present = None;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                let world = World::new(seed);
                present = Some(world.clone());
                time::timeout(limit, scenario(world)).await
            })
        }));
        let failure = match &outcome {
            Err(_) => Some("the scenario panicked".to_owned()),
            Ok(Err(_)) => {
                Some(format!("the scenario did not end within {} simulated seconds", limit.as_secs()))
            }
            Ok(Ok(_)) if PANICS.get().unwrap_or(0) > 0 => Some("a task of the world panicked".to_owned()),
            Ok(Ok(_)) if threads.load(Ordering::Relaxed) => Some(
                "a thread was started inside the world (spawn_blocking?): real time is forbidden".to_owned(),
            ),
            Ok(Ok(_)) => None,
        };
        let digest = present.as_ref().map(World::digest).unwrap_or_default();
        if let (Some(failure), Some(world)) = (&failure, &present) {
            world.report(failure);
        }
        if let Some(world) = present {
            // Destructors may look at the clock, or start tasks.
            let _entered = runtime.enter();
            world.end();
        }
        match (outcome, failure) {
            (Ok(Ok(value)), None) => (value, digest),
            (Err(panic), _) => resume_unwind(panic),
            (_, failure) => panic!("seed {seed}: {}", failure.unwrap_or_default()),
        }
    }

    /// Runs `scenario` with each of `seeds`. With `SIM_SEED=n` in the environment, with that seed alone; with
    /// `SIM_SEEDS=n`, with the first `n` of `seeds` and beyond.
    ///
    /// # Panics
    /// As [`World::run`].
    pub fn each(seeds: std::ops::Range<u64>, scenario: impl AsyncFn(World)) {
        for seed in chosen(seeds) {
            World::run(seed, &scenario);
        }
    }

    /// [`World::each`], the first seed twice with a comparison of the digests; not with `SIM_ONCE=1`.
    ///
    /// # Panics
    /// As [`World::run`], and if the two runs of the first seed differ.
    pub fn explore(seeds: std::ops::Range<u64>, scenario: impl AsyncFn(World)) {
        let mut first = number("SIM_ONCE") != Some(1);
        for seed in chosen(seeds) {
            let ((), digest) = World::run_traced(seed, &scenario);
            if std::mem::take(&mut first) {
                let ((), again) = World::run_traced(seed, &scenario);
                assert_eq!(
                    digest, again,
                    "two runs of seed {seed} differ: something draws from outside the seed"
                );
            }
        }
    }

    fn new(seed: u64) -> World {
        let trace = Trace::begin(std::env::var_os("SIM_TRACE").is_some());
        let network = SimNetwork::new(trace.clone());
        World(Arc::new(Shared { seed, trace, nodes: Mutex::default(), network }))
    }

    /// The seed of this world.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Simulated time since the world began.
    pub fn elapsed(&self) -> time::Duration {
        self.0.trace.elapsed()
    }

    /// The network that joins the nodes.
    pub fn network(&self) -> SimNetwork {
        self.0.network.clone()
    }

    /// Adds a node and starts it: `boot` runs as the first task of each of its lives.
    ///
    /// # Panics
    /// If the name is taken.
    pub fn node<F, Fut>(&self, name: &str, boot: F) -> Arc<SimNode>
    where
        F: Fn(Life) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let node = SimNode::new(name, self.0.trace.clone(), self.network(), move |life| Box::pin(boot(life)));
        let before = self.0.nodes.lock().insert(name.to_owned(), node.clone());
        assert!(before.is_none(), "there are two nodes {name}");
        node.start();
        node
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> BTreeMap<String, Arc<SimNode>> {
        self.0.nodes.lock().clone()
    }

    /// Writes one event into the trace. The digest of the trace is what two runs of a seed must have in common, so
    /// an event must not name anything real: no address in memory, no real time.
    pub fn trace(&self, event: impl Display) {
        self.0.trace.push(event);
    }

    /// The digest of all events so far.
    pub fn digest(&self) -> Digest {
        self.0.trace.digest()
    }

    /// Takes the world apart, since what it runs often holds the world itself.
    fn end(&self) {
        let nodes = std::mem::take(&mut *self.0.nodes.lock());
        for node in nodes.values() {
            node.kill();
        }
    }

    fn report(&self, failure: &str) {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or_default();
        let package = std::env::var("CARGO_PKG_NAME").unwrap_or_else(|_| env!("CARGO_PKG_NAME").to_owned());
        let seed = self.0.seed;
        eprintln!("\n--- simulated world, seed {seed}: {failure}");
        eprintln!("{}", self.0.trace.summary());
        eprintln!(
            "replay: SIM_SEED={seed} cargo test -p {package} {test}      (SIM_TRACE=1 prints every event)\n"
        );
    }
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seeds that the environment asks for, or `seeds`.
fn chosen(seeds: std::ops::Range<u64>) -> std::ops::Range<u64> {
    match (number("SIM_SEED"), number("SIM_SEEDS")) {
        (Some(seed), _) => seed..seed.saturating_add(1),
        (None, Some(count)) => seeds.start..seeds.start.saturating_add(count),
        (None, None) => seeds,
    }
}

/// A runtime of one thread with a simulated clock. It has no sockets, and a thread that it starts is a fault.
fn runtime(threads: Arc<AtomicBool>) -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .on_thread_start(move || threads.store(true, Ordering::Relaxed))
        .build()
}

/// While it lives, this thread is a simulated world: it draws from the seed, and panics are counted.
struct Inside;

impl Inside {
    fn enter(seed: u64) -> Inside {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                PANICS.set(PANICS.get().map(|count| count + 1));
                before(panic);
            }));
        });
        assert!(PANICS.get().is_none(), "a simulated world cannot run inside another");
        PANICS.set(Some(0));
        random::seed_this_thread(seed);
        Inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        random::unseed_this_thread();
        PANICS.set(None);
    }
}

#[cfg(test)]
mod tests;
