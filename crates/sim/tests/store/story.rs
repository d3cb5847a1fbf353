//! Clients at work on a store while things go wrong, and what is compared afterwards.

use std::cell::Cell;
use std::future::Future;

use lamina_client::{Client, Options};
use lamina_env::time::{self, Duration};
use lamina_env::{random, task};
use lamina_sim::World;
use lamina_sim::faults::{FaultSchedule, Rates};
use lamina_types::Settings;

use crate::clients::{Worker, read_all};
use crate::inventory::{self, Inspector};
use crate::ledger::Ledger;
use crate::nodes::Store;

/// How long clients usually work.
pub const WORK: Duration = Duration::from_secs(12);

/// Clients at work at once.
const CLIENTS: usize = 4;

/// A client whose call was lost without a word must come back before the run is over.
const PATIENCE: Options = Options { deadline: Duration::from_secs(3), repeat: true };

/// How long a store that nothing happens to any more may take to heal.
const HEALS: Duration = Duration::from_secs(120);

/// A store, and what its clients were told.
pub struct Story {
    pub world: World,
    pub store: Store,
    pub ledger: Ledger,
    /// Clients so far: each writes values of its own.
    clients: Cell<usize>,
}

/// What goes wrong in a usual run. Full disks, rot and wrong clocks are stories of their own.
pub fn usual_rates() -> Rates {
    let some = Some(Duration::from_secs(6));
    let few = Some(Duration::from_secs(20));
    Rates {
        crash: some,
        kill: some,
        sync_error: few,
        isolate: few,
        one_way: few,
        apart: few,
        slow_link: some,
        lossy: some,
        slow_disk: few,
        read_errors: few,
        down_max: 2,
        lasts_max: Duration::from_secs(3),
        ..Rates::NONE
    }
}

impl Story {
    /// A new store.
    pub async fn begin(world: &World, settings: Settings) -> Story {
        let store = Store::up(world, settings).await;
        Story { world: world.clone(), store, ledger: Ledger::default(), clients: Cell::new(0) }
    }

    /// Clients work for `length` while faults of these rates happen.
    pub async fn work(&self, length: Duration, rates: &Rates) {
        self.work_while(length, rates, async {}).await;
    }

    /// Clients work for `length`, and until `trouble` is over, while faults of these rates happen too.
    pub async fn work_while<T>(
        &self,
        length: Duration,
        rates: &Rates,
        trouble: impl Future<Output = T>,
    ) -> T {
        let nodes: Vec<String> = self.store.names().into_iter().map(|(_, name)| name).collect();
        let schedule = FaultSchedule::draw(&nodes, rates, length);
        let end = time::now() + length;
        let watch = inventory::watch(&self.store, end);
        let workers: Vec<_> = (0..CLIENTS).map(|_| self.worker(end)).collect();
        let (_, result) = futures::future::join(schedule.run(&self.world), trouble).await;
        for worker in workers {
            worker.await.unwrap();
        }
        let looks = watch.await.unwrap();
        self.world.trace(format_args!("the files were looked at {looks} times"));
        result
    }

    fn worker(&self, end: time::Instant) -> task::JoinHandle<()> {
        let number = self.clients.get();
        self.clients.set(number + 1);
        let client = self.store.client(&format!("client-{number}"), number).with(PATIENCE);
        task::spawn(Worker::new(&self.world, number, client, &self.ledger).work_until(end))
    }

    /// A client that waits long.
    pub fn reader(&self) -> Client {
        self.store.client("reader", 0).with(Options { deadline: Duration::from_secs(60), repeat: true })
    }

    /// Ends all faults of nodes and of the network.
    pub fn heal(&self) {
        self.world.network().heal();
        for node in self.world.nodes().values() {
            node.start();
        }
    }

    /// Reads everything, and compares with the ledger.
    pub async fn agree(&self, when: &str) {
        if let Err(error) = read_all(&self.reader(), &self.ledger).await {
            panic!("{when} the store does not answer: {error}");
        }
        let found = self.ledger.contradictions();
        for contradiction in found.iter().take(20) {
            eprintln!("{when}: {contradiction}");
            self.world.trace(format_args!("CONTRADICTION: {contradiction}"));
        }
        assert!(found.is_empty(), "{when}: {} contradictions", found.len());
    }

    /// Heals the store, and compares what it holds with the ledger: at once, after everything was flushed and
    /// compacted, with other leaders, and after a loss of power of all nodes. Then its files with its log.
    pub async fn compare(&self) {
        self.heal();
        self.store.wait_until_it_answers(HEALS).await;
        self.agree("after the faults").await;
        self.store.wait_until_it_is_whole(HEALS).await;
        let flushed = self.reader().flush(true).await.unwrap();
        self.world.trace(format_args!("flushed: {flushed:?}"));
        self.agree("after a compaction").await;
        for _ in 0..2 {
            // Whoever follows must answer the same.
            let leader = self.store.leader(&self.reader()).await;
            let leader = self.store.machine(&leader);
            leader.crash();
            self.agree("with another leader").await;
            leader.start();
            self.store.wait_until_it_is_whole(HEALS).await;
        }
        self.store.lose_power().await;
        self.store.wait_until_it_answers(HEALS).await;
        self.agree("after a loss of power").await;
        self.store.wait_until_it_is_whole(HEALS).await;
        Inspector::new(&self.store).wait_until_tidy(2 * HEALS).await;
        self.judge();
    }

    /// The other judges of the project must not find anything either, and the run must have been worth judging.
    fn judge(&self) {
        let violations = lamina_workload::check(&self.ledger.history());
        for violation in violations.iter().take(20) {
            eprintln!("{violation}");
        }
        assert!(violations.is_empty(), "the history breaks {} rules", violations.len());
        let (done, refused, unknown, reads) = self.ledger.counts();
        self.world.trace(format_args!(
            "{done} writes, {refused} refused, {unknown} unknown, {reads} reads of keys"
        ));
        assert!(done > 20, "a run in which hardly anything was written proves nothing");
    }
}

/// Any of these names.
pub fn one_of(names: &[String]) -> String {
    names[usize::try_from(random::between(0, names.len() as u64)).unwrap()].clone()
}
