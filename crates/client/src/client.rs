//! Every operation on a store.

use std::sync::Arc;

use bytes::Bytes;
use lamina_env::random;
use lamina_env::time::{self, Duration, Instant};
use lamina_peers::admin::{
    AdminAnswer, AdminRequest, ClusterStatus, FlushStore, Probe, Probed, Status, StoreFlushed,
};
use lamina_peers::kv::{
    BatchGet, Found, Get, Got, Hello, KvAnswer, KvRequest, ReadAt, ReleaseSnapshot, TakeSnapshot, Welcome,
    Write, Written,
};
use lamina_peers::{Network, Operation};
use lamina_rpc::GrpcNetwork;
use lamina_types::{Error, Reason, RequestContext, RequestId, Result, SnapshotId, Version};

use crate::batch::Batch;
use crate::requests::{Requests, Ticket};
use crate::route::{Route, may_repeat};
use crate::scan::{ScanOptions, Scanner};

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The longest that a call takes, repetitions included.
    pub deadline: Duration,
    /// Whether failed calls are repeated.
    pub repeat: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { deadline: Duration::from_secs(10), repeat: true }
    }
}

/// A client of a store. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    options: Options,
}

struct Inner {
    network: Arc<dyn Network>,
    route: Route,
    requests: Requests,
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
        let route = Route::new(addresses.into_iter().map(Into::into).collect());
        let inner = Inner { network, route, requests: Requests::default() };
        Client { inner: Arc::new(inner), options: Options::default() }
    }

    /// The same client with other options.
    #[must_use]
    pub fn with(mut self, options: Options) -> Client {
        self.options = options;
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
        self.read(Get { key: key.into(), at }).await
    }

    /// The newest values of several keys, at one version, in their order.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn batch_get(&self, keys: impl IntoIterator<Item = Bytes>) -> Result<Vec<Option<Found>>> {
        let request = BatchGet { keys: keys.into_iter().collect(), at: ReadAt::Newest };
        Ok(self.read(request).await?.values)
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
        let deadline = time::now() + self.options.deadline;
        let Batch { operations, conditions } = batch;
        let mut write = Write { request_id: None, operations, conditions };
        let mut attempt = 0;
        // Whether some attempt may have been done: then the last word can only be "unknown", never "not done".
        let mut unknown = false;
        let mut open = OpenRequest { client: self, id: None };
        loop {
            if write.request_id.is_none() {
                let id = self.request_id(deadline).await?;
                write.request_id = Some(id);
                open.id = Some(id);
            }
            let result: Result<Written> = self.once(deadline, write.clone()).await;
            match result {
                Ok(written) => return Ok(written.version),
                Err(error) => {
                    let expired = matches!(error.reason(), Reason::ClientTokenExpired | Reason::ClockAhead);
                    if expired && !unknown {
                        // This attempt was certainly not done, and there was none before: a new token, a new try.
                        self.forget(&mut write);
                    } else if !may_repeat(&error) || expired {
                        // An earlier attempt that is still on its way may be done after a refusal which the store
                        // does not remember.
                        return Err(last_word(error, unknown));
                    }
                    unknown |= error.outcome_unknown();
                    if !self.options.repeat || !pause(attempt, &error, deadline).await {
                        return Err(last_word(error, unknown));
                    }
                    attempt += 1;
                }
            }
        }
    }

    /// A scan.
    pub fn scan(&self, options: ScanOptions) -> Scanner {
        Scanner::new(self.clone(), options)
    }

    /// Keeps the present state readable for `ttl` (at most 5 minutes).
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn snapshot(&self, ttl: Duration) -> Result<Snapshot> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let taken = self.read(TakeSnapshot { ttl_ms }).await?;
        Ok(Snapshot { client: self.clone(), id: taken.snapshot, version: taken.version })
    }

    /// Everything that a person wants to know of the store.
    ///
    /// # Errors
    /// No frontend answers.
    pub async fn status(&self) -> Result<Status> {
        self.admin(ClusterStatus {}).await
    }

    /// Proves that the store works.
    ///
    /// # Errors
    /// It does not, with the reason.
    pub async fn probe(&self) -> Result<Probed> {
        self.admin(Probe {}).await
    }

    /// Flushes all memtables; `compact`: and merges all tables into one run. May take long.
    ///
    /// # Errors
    /// It did not happen within the deadline.
    pub async fn flush(&self, compact: bool) -> Result<StoreFlushed> {
        self.admin(FlushStore { compact }).await
    }

    /// Whom the client has reached, and what it knows of the cluster.
    ///
    /// # Errors
    /// No frontend answers.
    pub async fn hello(&self) -> Result<Welcome> {
        self.read(Hello { protocol: 1, cluster: None, required_features: Vec::new() }).await
    }

    /// A call that changes nothing: repeated as long as that may help.
    pub(crate) async fn read<O>(&self, operation: O) -> Result<O::Answer>
    where
        O: Operation<KvRequest, KvAnswer> + Clone,
    {
        let deadline = time::now() + self.options.deadline;
        self.read_by(deadline, operation).await
    }

    async fn read_by<O>(&self, deadline: Instant, operation: O) -> Result<O::Answer>
    where
        O: Operation<KvRequest, KvAnswer> + Clone,
    {
        let mut attempt = 0;
        loop {
            match self.once(deadline, operation.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let repeat = may_repeat(&error) && self.options.repeat;
                    if !repeat || !pause(attempt, &error, deadline).await {
                        return Err(error);
                    }
                    attempt += 1;
                }
            }
        }
    }

    async fn once<O>(&self, deadline: Instant, operation: O) -> Result<O::Answer>
    where
        O: Operation<KvRequest, KvAnswer>,
    {
        let address = self.inner.route.address();
        let left = deadline.saturating_duration_since(time::now());
        let context = RequestContext::new(random::u128(), millis(left));
        let peer = self.inner.network.kv(&address);
        let result =
            time::timeout(left, peer.call(context, operation)).await.unwrap_or_else(|_| Err(too_late()));
        if let Err(error) = &result {
            self.inner.route.learn(&address, error);
        }
        result
    }

    async fn admin<O>(&self, operation: O) -> Result<O::Answer>
    where
        O: Operation<AdminRequest, AdminAnswer> + Clone,
    {
        let deadline = time::now() + self.options.deadline;
        let mut attempt = 0;
        loop {
            let address = self.inner.route.address();
            let left = deadline.saturating_duration_since(time::now());
            let context = RequestContext::new(random::u128(), millis(left));
            let peer = self.inner.network.admin(&address);
            let call = peer.call(context, operation.clone());
            match time::timeout(left, call).await.unwrap_or_else(|_| Err(too_late())) {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    self.inner.route.learn(&address, &error);
                    let repeat = may_repeat(&error) && self.options.repeat;
                    if !repeat || !pause(attempt, &error, deadline).await {
                        return Err(error);
                    }
                    attempt += 1;
                }
            }
        }
    }

    async fn request_id(&self, deadline: Instant) -> Result<RequestId> {
        loop {
            match self.inner.requests.next() {
                Ticket::Id(id) => return Ok(id),
                Ticket::NeedVersion => {
                    let hello = Hello { protocol: 1, cluster: None, required_features: Vec::new() };
                    let welcome = self.read_by(deadline, hello).await?;
                    self.inner.requests.begin(welcome.version);
                }
                Ticket::Busy if time::now() >= deadline => return Err(too_late()),
                Ticket::Busy => time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    fn forget(&self, write: &mut Write) {
        if let Some(id) = write.request_id.take() {
            self.inner.requests.forget(id.token);
        }
    }
}

/// A request that is open. It is done when this is dropped, however its call ends: whoever gave the call up will not
/// ask for the answer.
struct OpenRequest<'a> {
    client: &'a Client,
    id: Option<RequestId>,
}

impl Drop for OpenRequest<'_> {
    fn drop(&mut self) {
        if let Some(id) = &self.id {
            self.client.inner.requests.done(id);
        }
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
        self.client.read(ReleaseSnapshot { snapshot: self.id }).await.map(|_| ())
    }
}

/// Waits before the next attempt: what the store said, else twice as long as before with a random part. False: the
/// deadline would pass.
async fn pause(attempt: u32, error: &Error, deadline: Instant) -> bool {
    let told = error.retry_after();
    let grown = 5u64.saturating_mul(1 << attempt.min(6));
    let ms = told.unwrap_or_else(|| random::between(grown / 2 + 1, grown + 2));
    let wait = Duration::from_millis(ms);
    if time::now() + wait >= deadline {
        return false;
    }
    time::sleep(wait).await;
    true
}

fn last_word(error: Error, unknown: bool) -> Error {
    // A failed condition is remembered with the request id: no attempt was done, and none will be.
    let is_final = error.reason() == Reason::ConditionFailed;
    if unknown && !is_final && !error.outcome_unknown() {
        return Error::new(
            Reason::OutcomeUnknown,
            format!("the write may or may not have been done; the last attempt said: {}", error.message()),
        );
    }
    error
}

fn too_late() -> Error {
    Error::new(Reason::DeadlineExceeded, "the store did not answer in time; a write may have been done")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
