//! How fast three replicas of one group are in one process, on a real disk:
//! `cargo run --release -p lamina-consensus --example measure`

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use lamina_consensus::{Frozen, LogOptions, LogStore, RaftWire, Replica, StateMachine, Stop};
use lamina_env::clock::OsClock;
use lamina_env::disk::os::OsDisk;
use lamina_env::time::{Duration, now, sleep};
use lamina_env::{Env, task};
use lamina_types::{Error, GroupId, LogIndex, Reason, ReplicaId, Result};
use parking_lot::Mutex;

const G: GroupId = GroupId(1);

#[derive(Default)]
struct Count(u64);

impl StateMachine for Count {
    type Outcome = u64;

    fn apply(&mut self, _: LogIndex, _: Bytes) -> std::result::Result<u64, Stop> {
        self.0 += 1;
        Ok(self.0)
    }

    fn applied(&mut self, _: LogIndex) {}

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(Count(self.0))
    }

    fn restore(
        &mut self,
        _: LogIndex,
        chunks: &mut dyn Iterator<Item = Bytes>,
    ) -> std::result::Result<(), Stop> {
        let bytes = chunks.next().and_then(|chunk| chunk.as_ref().try_into().ok()).unwrap_or_default();
        self.0 = u64::from_be_bytes(bytes);
        Ok(())
    }
}

impl Frozen for Count {
    fn chunks(self: Box<Self>) -> Box<dyn Iterator<Item = Bytes> + Send> {
        Box::new(std::iter::once(Bytes::copy_from_slice(&self.0.to_be_bytes())))
    }
}

type Replicas = Mutex<BTreeMap<ReplicaId, Replica<Count>>>;

/// Calls the other replica in place.
struct InPlace(Weak<Replicas>);

#[async_trait]
impl RaftWire for InPlace {
    async fn call(
        &self,
        _: GroupId,
        from: ReplicaId,
        to: ReplicaId,
        _: bool,
        _: u64,
        frame: Bytes,
    ) -> Result<Bytes> {
        let replica = self.0.upgrade().and_then(|all| all.lock().get(&to).cloned());
        let replica = replica.ok_or_else(|| Error::new(Reason::Unreachable, "it is not open"))?;
        replica.handle(from, frame).await
    }
}

/// Three replicas, each with a log of its own, and their stores.
async fn open(dir: &Path, replicas: &Arc<Replicas>) -> (Vec<LogStore>, Vec<Replica<Count>>) {
    let members: Vec<_> = (1..=3).map(ReplicaId).collect();
    let mut stores = Vec::new();
    for member in &members {
        let root = dir.join(format!("n{member}"));
        std::fs::create_dir_all(&root).unwrap();
        let env = Env { clock: Arc::new(OsClock), disk: Arc::new(OsDisk::open(root).unwrap()) };
        let store = LogStore::open(env, "log", LogOptions::default()).await.unwrap();
        let wire = Arc::new(InPlace(Arc::downgrade(replicas)));
        let replica = store.open_replica(G, *member, Count::default(), wire, false).await.unwrap();
        replicas.lock().insert(*member, replica);
        stores.push(store);
    }
    let all: Vec<_> = replicas.lock().values().cloned().collect();
    for replica in &all {
        replica.initialise(&members).await.unwrap();
    }
    (stores, all)
}

async fn leader_of(all: &[Replica<Count>]) -> Replica<Count> {
    loop {
        if let Some(leader) = all.iter().find(|replica| replica.leadership().borrow().mine) {
            return leader.clone();
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Puts of 144 bytes for three seconds, so many at a time; how many were done.
async fn put(leader: &Replica<Count>, in_flight: u64) -> u64 {
    let term = leader.leadership().borrow().term;
    let began = now();
    let writers: Vec<_> = (0..in_flight)
        .map(|_| {
            let leader = leader.clone();
            task::spawn(async move {
                let mut done = 0u64;
                while began.elapsed() < Duration::from_secs(3) {
                    leader.propose(term, Bytes::from(vec![7; 144])).await.unwrap();
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for writer in writers {
        done += writer.await.unwrap();
    }
    done
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let dir = tempfile::tempdir().unwrap();
    let replicas: Arc<Replicas> = Arc::default();
    let (stores, all) = open(dir.path(), &replicas).await;
    let leader = leader_of(&all).await;
    for in_flight in [1u64, 16, 64, 256] {
        let before = stores[0].stats();
        let began = now();
        let done = put(&leader, in_flight).await;
        let seconds = began.elapsed().as_secs_f64();
        let syncs = (stores[0].stats().syncs - before.syncs) as f64;
        println!(
            "{in_flight} in flight: {:.0} puts/s, {:.0} syncs/s per replica",
            done as f64 / seconds,
            syncs / seconds
        );
    }
    let began = now();
    let mut rounds = 0u64;
    while began.elapsed() < Duration::from_secs(1) {
        leader.round().await.unwrap();
        rounds += 1;
    }
    println!("1 reader: {rounds} leadership rounds/s");
    for store in stores {
        store.close().await;
    }
}
