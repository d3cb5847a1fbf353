//! Every operation on a store.

use std::sync::Arc;

use bytes::Bytes;
use lamina_env::time::Duration;
use lamina_peers::Network;
use lamina_peers::admin::{ClusterStatus, FlushStore, Probe, Probed, Status, StoreFlushed};
use lamina_peers::kv::{BatchGet, Found, Get, Got, ReadAt, ReleaseSnapshot, TakeSnapshot, Welcome};
use lamina_rpc::GrpcNetwork;
use lamina_types::{Result, SnapshotId, Version};

use crate::batch::Batch;
use crate::caller::{Caller, Options, hello};
use crate::reach::Reach;
use crate::scan::{ScanOptions, Scanner};

/// A client of a store. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    caller: Caller,
}

impl Client {
    /// A client of the store behind these addresses (`host:port` of frontends). Connects when it is first used.
    pub fn connect<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Client {
        Client::over(Arc::new(GrpcNetwork::new()), addresses)
    }

    /// A client over another network: embedded, or simulated.
    pub fn over<A: Into<String>>(
        network: Arc<dyn Network>,
        addresses: impl IntoIterator<Item = A>,
    ) -> Client {
        Client { caller: Caller::new(network, addresses.into_iter().map(Into::into).collect()) }
    }

    /// The same client with other options.
    #[must_use]
    pub fn with(mut self, options: Options) -> Client {
        self.caller.options = options;
        self
    }

    /// The newest value of a key; `None`: it is absent.
    ///
    /// # Errors
    /// The key is refused, or the store did not answer in time.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Found>> {
        Ok(self.get_at(key, ReadAt::Newest).await?.value)
    }

    /// The value of a key in some state, with the version at which was read.
    ///
    /// # Errors
    /// As [`Client::get`]; `SNAPSHOT_EXPIRED` if the state is not kept any more.
    pub async fn get_at(&self, key: impl Into<Bytes>, at: ReadAt) -> Result<Got> {
        self.caller.read(Get { key: key.into(), at }).await
    }

    /// The newest values of several keys, at one version, in their order.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn batch_get(&self, keys: impl IntoIterator<Item = Bytes>) -> Result<Vec<Option<Found>>> {
        let request = BatchGet { keys: keys.into_iter().collect(), at: ReadAt::Newest };
        Ok(self.caller.read(request).await?.values)
    }

    /// Puts a value.
    ///
    /// # Errors
    /// As [`Client::write`].
    pub async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<Version> {
        self.write(Batch::new().put(key, value)).await
    }

    /// Deletes a key, whether it is there or not.
    ///
    /// # Errors
    /// As [`Client::write`].
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<Version> {
        self.write(Batch::new().delete(key)).await
    }

    /// Writes a batch: all of it or nothing. Gives the version of all its operations.
    ///
    /// # Errors
    /// `CONDITION_FAILED` and every other refusal: not done. If [`Error::outcome_unknown`]: perhaps done.
    pub async fn write(&self, batch: Batch) -> Result<Version> {
        self.caller.write(batch).await
    }

    /// A scan.
    pub fn scan(&self, options: ScanOptions) -> Scanner {
        Scanner::new(self.caller.clone(), options)
    }

    /// Keeps the present state readable for `ttl` (at most 5 minutes).
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn snapshot(&self, ttl: Duration) -> Result<Snapshot> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let taken = self.caller.read(TakeSnapshot { ttl_ms }).await?;
        Ok(Snapshot { client: self.clone(), id: taken.snapshot, version: taken.version })
    }

    /// Everything that a person wants to know of the store.
    ///
    /// # Errors
    /// No frontend answers.
    pub async fn status(&self) -> Result<Status> {
        self.caller.admin(ClusterStatus {}).await
    }

    /// Proves that the store works.
    ///
    /// # Errors
    /// It does not, with the reason.
    pub async fn probe(&self) -> Result<Probed> {
        self.caller.admin(Probe {}).await
    }

    /// Flushes all memtables; `compact`: and merges all tables into one run. May take long.
    ///
    /// # Errors
    /// It did not happen within the deadline.
    pub async fn flush(&self, compact: bool) -> Result<StoreFlushed> {
        self.caller.admin(FlushStore { compact }).await
    }

    /// For how long calls of this client and its clones have been open of which none came to an end; `None`: no call
    /// is open. Somebody who waits for it may want to know [`Client::reach`].
    pub fn waits_for(&self) -> Option<Duration> {
        self.caller.waits_for()
    }

    /// Who of the store answers now; takes three seconds at most.
    pub async fn reach(&self) -> Reach {
        self.caller.reach().await
    }

    /// Whom the client has reached, and what it knows of the cluster.
    ///
    /// # Errors
    /// No frontend answers.
    pub async fn hello(&self) -> Result<Welcome> {
        self.caller.read(hello()).await
    }
}

/// A state that is kept readable. Released when [`Snapshot::release`] is called; else it expires.
#[derive(Clone)]
pub struct Snapshot {
    client: Client,
    id: SnapshotId,
    version: Version,
}

impl Snapshot {
    /// The version that it reads.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How reads name it.
    pub fn at(&self) -> ReadAt {
        ReadAt::Snapshot(self.id)
    }

    /// The value that a key had.
    ///
    /// # Errors
    /// As [`Client::get_at`].
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Found>> {
        Ok(self.client.get_at(key, self.at()).await?.value)
    }

    /// A scan of that state.
    pub fn scan(&self, options: ScanOptions) -> Scanner {
        self.client.scan(ScanOptions { at: self.at(), ..options })
    }

    /// Gives the snapshot up.
    ///
    /// # Errors
    /// As [`Client::get`]; it expires all the same.
    pub async fn release(self) -> Result<()> {
        self.client.caller.read(ReleaseSnapshot { snapshot: self.id }).await.map(|_| ())
    }
}
