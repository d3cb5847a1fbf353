//! What clients do: every operation of the true client on a few keys, entered into the ledger.

use std::collections::BTreeMap;

use bytes::Bytes;
use lamina_client::{Batch, Client, Error, Expected, Found, KeyRange, ScanOptions, Version};
use lamina_env::random;
use lamina_env::time::{self, Duration};
use lamina_peers::kv::ReadAt;
use lamina_sim::World;

use crate::ledger::{Action, Ledger, Outcome};

/// How many keys there are.
const KEYS: u64 = 40;

/// One client at work.
pub struct Worker {
    pub world: World,
    pub number: usize,
    pub client: Client,
    pub ledger: Ledger,
    /// Bytes of a value at most.
    pub value_bytes: u64,
    /// Writes so far.
    pub count: u64,
    /// What it has seen of keys last, for conditions.
    pub seen: BTreeMap<Bytes, Option<Version>>,
}

impl Worker {
    /// A client that has done nothing yet.
    pub fn new(world: &World, number: usize, client: Client, ledger: &Ledger) -> Worker {
        let (world, ledger) = (world.clone(), ledger.clone());
        Worker { world, number, client, ledger, value_bytes: 6_000, count: 0, seen: BTreeMap::new() }
    }

    /// Works until `end`.
    pub async fn work_until(mut self, end: time::Instant) {
        while time::now() < end {
            match random::between(0, 100) {
                0..30 => self.put().await,
                30..38 => self.delete().await,
                38..55 => self.batch().await,
                55..80 => self.get().await,
                80..92 => self.scan(None).await,
                92..95 => self.batch_get().await,
                _ => self.snapshot().await,
            }
            time::sleep(Duration::from_millis(random::between(0, 60))).await;
        }
    }

    async fn put(&mut self) {
        let action = self.new_put();
        self.write(BTreeMap::from([(any_key(), action)]), Vec::new()).await;
    }

    async fn delete(&mut self) {
        self.write(BTreeMap::from([(any_key(), Action::Delete)]), Vec::new()).await;
    }

    async fn batch(&mut self) {
        let mut actions = BTreeMap::new();
        for _ in 0..random::between(1, 6) {
            let action = if random::between(0, 4) == 0 { Action::Delete } else { self.new_put() };
            actions.insert(any_key(), action);
        }
        let mut conditions: Vec<(Bytes, Expected)> = Vec::new();
        for _ in 0..random::between(0, 3) {
            let key = any_key();
            let expected = match (random::between(0, 6), self.seen.get(&key)) {
                (0, _) => Expected::Present,
                (1, _) => Expected::Absent,
                (_, Some(Some(version))) => Expected::Version(*version),
                (_, Some(None)) => Expected::Absent,
                (_, None) => continue,
            };
            if conditions.iter().all(|(other, _)| *other != key) {
                conditions.push((key, expected));
            }
        }
        self.write(actions, conditions).await;
    }

    fn new_put(&mut self) -> Action {
        self.count += 1;
        let mut value = format!("v{}-{}.", self.number, self.count).into_bytes();
        // Not to be compressed away, and cheap.
        let mut state = random::u64() | 1;
        for _ in 0..random::between(0, self.value_bytes) / 8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            value.extend_from_slice(&state.to_le_bytes());
        }
        let ttl_ms = (random::between(0, 12) == 0).then(|| random::between(1, 8_000));
        Action::Put { value: value.into(), ttl_ms }
    }

    async fn write(&mut self, actions: BTreeMap<Bytes, Action>, conditions: Vec<(Bytes, Expected)>) {
        let mut batch = Batch::new();
        for (key, action) in &actions {
            batch = match action.clone() {
                Action::Put { value, ttl_ms: None } => batch.put(key.clone(), value),
                Action::Put { value, ttl_ms: Some(ms) } => {
                    batch.put_for(key.clone(), value, Duration::from_millis(ms))
                }
                Action::Delete => batch.delete(key.clone()),
            };
        }
        for (key, expected) in &conditions {
            batch = batch.only_if(key.clone(), *expected);
        }
        let keys: Vec<(Bytes, bool)> =
            actions.iter().map(|(key, action)| (key.clone(), *action != Action::Delete)).collect();
        let ticket = self.ledger.write(self.number, actions, conditions);
        let result = self.client.write(batch).await;
        let outcome = match &result {
            Ok(version) => Outcome::Done(*version),
            Err(error) if error.outcome_unknown() => Outcome::Unknown,
            Err(_) => Outcome::NotDone,
        };
        self.ledger.written(ticket, outcome);
        if let Ok(version) = result {
            self.seen.extend(keys.into_iter().map(|(key, is_put)| (key, is_put.then_some(version))));
        }
        self.told("write", result.as_ref().map(|version| *version));
    }

    async fn get(&mut self) {
        let key = any_key();
        let called = self.ledger.moment();
        let got = self.client.get_at(key.clone(), ReadAt::Newest).await;
        if let Ok(got) = &got {
            let found = got.value.as_ref().map(pair);
            self.seen.insert(key.clone(), found.as_ref().map(|(_, version)| *version));
            self.ledger.read("get", called, got.read_at, true, [(key, found)]);
        }
        self.told("get", got.as_ref().map(|got| got.read_at));
    }

    async fn batch_get(&mut self) {
        let keys: Vec<Bytes> = (0..random::between(1, 8)).map(|_| any_key()).collect();
        let called = self.ledger.moment();
        let got = self.client.batch_get(keys.clone()).await;
        for (key, found) in keys.into_iter().zip(got.iter().flatten()) {
            // The client does not tell the version that was read; it was at least that of what was found.
            if let Some(found) = found {
                self.ledger.read("batch get", called, found.version, false, [(key, Some(pair(found)))]);
            }
        }
        self.told("batch get", got.as_ref().map(|_| Version::ZERO));
    }

    /// A scan of a random range; `at`: of a snapshot.
    async fn scan(&mut self, at: Option<(ReadAt, Version)>) {
        let (a, b) = (random::between(0, KEYS + 1), random::between(0, KEYS + 1));
        let (low, high) = (a.min(b), a.max(b));
        let options = ScanOptions {
            range: KeyRange::new(key(low), Some(key(high))),
            reverse: random::between(0, 2) == 0,
            limit: (random::between(0, 3) == 0).then(|| random::between(1, KEYS)),
            page_rows: u32::try_from(random::between(0, 12)).unwrap(),
            at: at.map_or(ReadAt::Newest, |(at, _)| at),
            ..ScanOptions::default()
        };
        if low == high {
            return;
        }
        let result = scan_into(&self.client, &self.ledger, options, (low, high), at.map(|(_, v)| v)).await;
        self.told("scan", result.as_ref().map(|version| *version));
    }

    async fn snapshot(&mut self) {
        let called = self.ledger.moment();
        let snapshot = match self.client.snapshot(Duration::from_secs(20)).await {
            Ok(snapshot) => snapshot,
            Err(error) => return self.told("snapshot", Err(&error)),
        };
        self.ledger.read("snapshot", called, snapshot.version(), true, []);
        for _ in 0..random::between(1, 4) {
            time::sleep(Duration::from_millis(random::between(0, 2_000))).await;
            if random::between(0, 2) == 0 {
                self.scan(Some((snapshot.at(), snapshot.version()))).await;
                continue;
            }
            let key = any_key();
            let called = self.ledger.moment();
            let got = snapshot.get(key.clone()).await;
            if let Ok(found) = &got {
                let seen = [(key, found.as_ref().map(pair))];
                self.ledger.read("get of a snapshot", called, snapshot.version(), false, seen);
            }
            self.told("get of a snapshot", got.as_ref().map(|_| snapshot.version()));
        }
        let _ = snapshot.release().await;
    }

    fn told(&self, what: &str, result: Result<Version, &Error>) {
        let number = self.number;
        match result {
            Ok(version) => self.world.trace(format_args!("client {number}: {what}: {version:?}")),
            Err(error) => self.world.trace(format_args!("client {number}: {what}: {}", error.reason())),
        }
    }
}

/// Scans, checks the form of what comes, and enters what was seen of each key, absent ones included.
pub async fn scan_into(
    client: &Client,
    ledger: &Ledger,
    options: ScanOptions,
    (low, high): (u64, u64),
    version: Option<Version>,
) -> Result<Version, Error> {
    let (limit, reverse) = (options.limit, options.reverse);
    let called = ledger.moment();
    let mut scanner = client.scan(options);
    let mut rows = Vec::new();
    while let Some(row) = scanner.next().await? {
        rows.push(row);
    }
    let read_at = scanner.read_at();
    let in_order = |pair: &[lamina_client::Row]| match reverse {
        false => pair[0].key < pair[1].key,
        true => pair[0].key > pair[1].key,
    };
    assert!(rows.windows(2).all(in_order), "a scan came out of order, or with one key twice");
    assert!(version.is_none_or(|version| version == read_at), "a scan of a snapshot read another version");
    let full = limit.is_some_and(|limit| rows.len() as u64 >= limit);
    assert!(limit.is_none_or(|limit| rows.len() as u64 <= limit), "a scan gave more rows than asked for");
    let edge = rows.last().map(|row| row.key.clone()).filter(|_| full);
    let found: BTreeMap<Bytes, (Bytes, Version)> =
        rows.into_iter().map(|row| (row.key, (row.value, row.version))).collect();
    let keys: Vec<Bytes> = (low..high).map(key).collect();
    assert!(found.keys().all(|key| keys.contains(key)), "a scan gave a key outside its range");
    let reached = |key: &Bytes| match (&edge, reverse) {
        (None, _) => true,
        (Some(edge), false) => key <= edge,
        (Some(edge), true) => key >= edge,
    };
    let seen = keys.into_iter().filter(reached).map(|key| (key.clone(), found.get(&key).cloned()));
    ledger.read("scan", called, read_at, version.is_none(), seen);
    Ok(read_at)
}

/// Reads every key by scans in both directions and by gets, into the ledger.
pub async fn read_all(client: &Client, ledger: &Ledger) -> Result<(), Error> {
    for reverse in [false, true] {
        let range = KeyRange::new(key(0), Some(key(KEYS)));
        let options = ScanOptions { range, reverse, ..ScanOptions::default() };
        scan_into(client, ledger, options, (0, KEYS), None).await?;
    }
    for key in (0..KEYS).map(key) {
        let called = ledger.moment();
        let got = client.get_at(key.clone(), ReadAt::Newest).await?;
        ledger.read("last get", called, got.read_at, true, [(key, got.value.as_ref().map(pair))]);
    }
    Ok(())
}

fn pair(found: &Found) -> (Bytes, Version) {
    (found.value.clone(), found.version)
}

fn key(number: u64) -> Bytes {
    format!("key-{number:03}").into()
}

/// Some keys are written far more often than others.
fn any_key() -> Bytes {
    let most = if random::between(0, 2) == 0 { KEYS } else { 8 };
    key(random::between(0, most))
}
