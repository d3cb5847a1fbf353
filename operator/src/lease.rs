//! The Lease that only one operator holds, so that two do not work against each other. Nothing safe rests on it: every step names
//! what it means by UID, and the store gives one grant at a time. Who loses the lease ends its process.

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use lamina_env::Clock;
use lamina_env::time::{self, Duration, Instant};

/// A holder that has not said so for this long has gone.
const LASTS: Duration = Duration::from_secs(15);
/// A holder that could not say so for this long ends itself, well before others think so.
const ENDS: Duration = Duration::from_secs(10);
/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(2);

/// A lease that is held or wanted.
pub struct Tenant {
    api: Api<Lease>,
    name: String,
    holder: String,
    clock: Arc<dyn Clock>,
}

/// What was seen of another holder, and since when: clocks are never compared.
#[derive(Clone, PartialEq, Debug)]
struct Other {
    said: (Option<String>, Option<MicroTime>),
    since: Instant,
}

impl Tenant {
    /// A tenant called `holder` for the Lease of this name.
    pub fn new(client: Client, namespace: &str, name: &str, holder: &str, clock: Arc<dyn Clock>) -> Tenant {
        Tenant {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            holder: holder.to_owned(),
            clock,
        }
    }

    /// Waits until the lease is held.
    pub async fn acquire(&self) {
        let mut other = None;
        loop {
            match self.attempt(&mut other).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, lease = self.name, "the lease could not be looked at"),
            }
            time::sleep(AGAIN).await;
        }
    }

    /// Keeps the lease; ends when it is lost or could not be kept.
    pub async fn keep(&self) {
        let mut kept = time::now();
        loop {
            time::sleep(AGAIN).await;
            let begun = time::now();
            match time::timeout(ENDS, self.attempt(&mut None)).await {
                Ok(Ok(true)) => kept = begun,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::warn!(%error, "the lease was not renewed"),
                Err(_) => {}
            }
            if kept.elapsed() >= ENDS {
                return;
            }
        }
    }

    /// Gives the lease back, so that the next one need not wait.
    pub async fn release(&self) {
        let Ok(Some(mut lease)) = self.api.get_opt(&self.name).await else { return };
        let Some(spec) = lease.spec.as_mut().filter(|it| it.holder_identity.as_deref() == Some(&self.holder))
        else {
            return;
        };
        spec.holder_identity = None;
        let _ = self.api.replace(&self.name, &PostParams::default(), &lease).await;
    }

    /// Takes or renews the lease if it is ours, nobody's, or of somebody who has been silent for too long.
    async fn attempt(&self, other: &mut Option<Other>) -> kube::Result<bool> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.spec(LeaseSpec::default())),
            };
            return won(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().filter(|it| !it.is_empty());
        if holder.is_some_and(|it| it != self.holder) {
            let said = (spec.holder_identity.clone(), spec.renew_time.clone());
            let known = other.as_ref().filter(|it| it.said == said);
            let Some(known) = known else {
                *other = Some(Other { said, since: time::now() });
                return Ok(false);
            };
            if known.since.elapsed() < LASTS {
                return Ok(false);
            }
        }
        lease.spec = Some(self.spec(spec));
        // With the version that was read: of two who try, one succeeds.
        won(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    fn spec(&self, was: LeaseSpec) -> LeaseSpec {
        let now = i64::try_from(self.clock.now_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let same = was.holder_identity.as_deref() == Some(&self.holder);
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: Some(LASTS.as_secs() as i32),
            acquire_time: if same { was.acquire_time } else { now.map(MicroTime) },
            renew_time: now.map(MicroTime),
            lease_transitions: Some(was.lease_transitions.unwrap_or(0) + i32::from(!same)),
            ..was
        }
    }
}

fn won(result: kube::Result<Lease>) -> kube::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
