//! Calls: whom to ask, how often, how long, and what the last word is when they fail.

use std::sync::Arc;

use lamina_env::time::{self, Duration, Instant};
use lamina_env::{random, task};
use lamina_peers::admin::{AdminAnswer, AdminRequest};
use lamina_peers::kv::{
    BatchGet, Get, Hello, KvAnswer, KvRequest, ReleaseSnapshot, Scan, TakeSnapshot, Write, Written,
};
use lamina_peers::{Network, Operation};
use lamina_types::{Error, Kind, Reason, RequestContext, RequestId, Result, Version};

use crate::batch::Batch;
use crate::leaders::{Leaders, led};
use crate::pulse::Pulse;
use crate::reach::Reach;
use crate::requests::{Requests, Ticket};
use crate::route::{Route, may_repeat};

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

/// Makes the calls of a client. Cheap to clone; clones share connections and request ids.
#[derive(Clone)]
pub struct Caller {
    inner: Arc<Inner>,
    pub(crate) options: Options,
}

struct Inner {
    network: Arc<dyn Network>,
    route: Route,
    leaders: Leaders,
    requests: Requests,
    pulse: Pulse,
}

/// How long a leader may take to answer for the first time at its own address.
const MEETING: Duration = Duration::from_secs(2);

/// An operation on keys: whoever leads them can answer it best.
pub trait OnKeys {
    /// One of the keys; `None`: it is about none in particular.
    fn key(&self) -> Option<&[u8]> {
        None
    }
}

impl OnKeys for Get {
    fn key(&self) -> Option<&[u8]> {
        Some(&self.key)
    }
}

impl OnKeys for BatchGet {
    fn key(&self) -> Option<&[u8]> {
        self.keys.first().map(|key| &**key)
    }
}

impl OnKeys for Write {
    fn key(&self) -> Option<&[u8]> {
        self.operations.first().map(|operation| &*operation.key)
    }
}

impl OnKeys for Scan {
    /// A scan that goes on by a token, or backwards, may begin elsewhere: it is then sent on.
    fn key(&self) -> Option<&[u8]> {
        Some(&self.range.start)
    }
}

impl OnKeys for Hello {}
impl OnKeys for TakeSnapshot {}
impl OnKeys for ReleaseSnapshot {}

impl Caller {
    /// A caller that knows these frontends.
    pub fn new(network: Arc<dyn Network>, addresses: Vec<String>) -> Caller {
        let inner = Inner {
            network,
            route: Route::new(addresses),
            leaders: Leaders::default(),
            requests: Requests::default(),
            pulse: Pulse::default(),
        };
        Caller { inner: Arc::new(inner), options: Options::default() }
    }

    /// For how long calls have been open of which none came to an end; `None`: no call is open.
    pub fn waits_for(&self) -> Option<Duration> {
        self.inner.pulse.still_for()
    }

    /// Who answers now.
    pub async fn reach(&self) -> Reach {
        Reach::look(self.inner.network.as_ref(), self.inner.route.addresses()).await
    }

    /// Writes a batch: repeated under the same request id.
    pub async fn write(&self, batch: Batch) -> Result<Version> {
        let _open = self.inner.pulse.open();
        let deadline = time::now() + self.options.deadline;
        let Batch { operations, conditions } = batch;
        let mut write = Write { request_id: None, operations, conditions };
        let mut attempt = 0;
        // Whether some attempt may have been done: then the last word can only be "unknown", never "not done".
        let mut unknown = false;
        let mut open = OpenRequest { caller: self, id: None };
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

    /// A call that changes nothing: repeated as long as that may help.
    pub async fn read<O>(&self, operation: O) -> Result<O::Answer>
    where
        O: Operation<KvRequest, KvAnswer> + OnKeys + Clone,
    {
        let _open = self.inner.pulse.open();
        let deadline = time::now() + self.options.deadline;
        self.read_by(deadline, operation).await
    }

    async fn read_by<O>(&self, deadline: Instant, operation: O) -> Result<O::Answer>
    where
        O: Operation<KvRequest, KvAnswer> + OnKeys + Clone,
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
        O: Operation<KvRequest, KvAnswer> + OnKeys,
    {
        self.keep_leaders();
        let straight = operation.key().and_then(|key| self.inner.leaders.of(key));
        let address = straight.clone().unwrap_or_else(|| self.inner.route.address());
        let left = deadline.saturating_duration_since(time::now());
        let context = RequestContext::new(random::u128(), millis(left));
        let peer = self.inner.network.kv(&address);
        let result =
            time::timeout(left, peer.call(context, operation)).await.unwrap_or_else(|_| Err(too_late()));
        match &result {
            Err(error) if straight.is_none() => self.inner.route.learn(&address, error),
            Err(error) if error.kind() == Kind::Unavailable || error.reason() == Reason::DeadlineExceeded => {
                self.inner.leaders.doubt(&address);
            }
            _ => {}
        }
        result
    }

    /// Finds out beside the calls who leads, if that is not known, or not known lately.
    fn keep_leaders(&self) {
        if self.inner.leaders.must_ask() {
            drop(task::spawn(find_leaders(self.inner.clone())));
        }
    }

    /// An administrative call: repeated as long as that may help.
    pub async fn admin<O>(&self, operation: O) -> Result<O::Answer>
    where
        O: Operation<AdminRequest, AdminAnswer> + Clone,
    {
        let _open = self.inner.pulse.open();
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
                    let welcome = self.read_by(deadline, hello()).await?;
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

/// Asks any frontend who leads, and then each leader whether it answers to that name here.
async fn find_leaders(inner: Arc<Inner>) {
    let seed = inner.route.address();
    let greet = async |address: &str| {
        let context = RequestContext::new(random::u128(), millis(MEETING));
        let call = inner.network.kv(address).call(context, hello()).await;
        call.map(|welcome| welcome.view)
    };
    let greeted = time::timeout(MEETING, greet(&seed)).await.unwrap_or_else(|_| Err(too_late()));
    let view = match greeted {
        Ok(view) => view,
        Err(error) => {
            inner.route.learn(&seed, &error);
            return inner.leaders.found_nothing();
        }
    };
    let mut all = led(&view);
    let mut known = vec![seed.clone()];
    for address in all.iter().map(|led| led.address.clone()).collect::<Vec<_>>() {
        if known.contains(&address) {
            continue;
        }
        // At this address, in this network, may live nobody, or another store.
        match time::timeout(MEETING, greet(&address)).await {
            Ok(Ok(theirs)) if theirs.cluster == view.cluster => known.push(address),
            _ => {}
        }
    }
    all.retain(|led| known.contains(&led.address));
    inner.leaders.found(all);
}

/// A request that is open. It is done when this is dropped, however its call ends: whoever gave the call up will not
/// ask for the answer.
struct OpenRequest<'a> {
    caller: &'a Caller,
    id: Option<RequestId>,
}

impl Drop for OpenRequest<'_> {
    fn drop(&mut self) {
        if let Some(id) = &self.id {
            self.caller.inner.requests.done(id);
        }
    }
}

/// The first words with a store.
pub fn hello() -> Hello {
    Hello { protocol: 1, cluster: None, required_features: Vec::new() }
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
