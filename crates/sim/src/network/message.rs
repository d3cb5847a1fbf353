//! One call on its way: there, the work, and back.

use std::sync::Arc;

use lamina_env::time::{self, Duration, Instant};
use lamina_peers::Port;
use lamina_types::{Error, Reason, RequestContext, Result};
use tokio::sync::oneshot;

use super::links::{Link, happens};
use super::{Form, Host, Shared};

/// The longest that a caller waits, so that a deadline without end is one.
const WAIT_MAX: Duration = Duration::from_secs(3600);

pub(super) struct Message<Q, A> {
    network: Arc<Shared>,
    number: u64,
    from: Arc<str>,
    address: Arc<str>,
    form: Form<Q, A>,
    sent: Instant,
    context: RequestContext,
    request: Q,
}

/// What comes of a message.
enum Outcome<A> {
    Answered(Result<A>),
    /// The caller learns nothing.
    Silence,
}

impl<Q, A> Message<Q, A>
where
    Q: Clone + Send + Sync + 'static,
    A: Send + 'static,
{
    pub(super) async fn send(
        network: &Arc<Shared>,
        from: &Arc<str>,
        address: &Arc<str>,
        form: Form<Q, A>,
        context: RequestContext,
        request: Q,
    ) -> Result<A> {
        let wait = Duration::from_millis(context.deadline_ms).min(WAIT_MAX);
        let deadline = time::now() + wait;
        let number = {
            let mut state = network.state.lock();
            state.messages += 1;
            state.messages
        };
        let message = Message {
            network: network.clone(),
            number,
            from: from.clone(),
            address: address.clone(),
            form,
            sent: time::now(),
            context,
            request,
        };
        let (tell, told) = oneshot::channel();
        network.tasks.spawn(async move {
            let outcome = message.travel().await;
            // The caller may be gone: then nobody hears.
            let _ = tell.send(outcome);
        });
        let answered = time::timeout_at(deadline, async {
            match told.await {
                Ok(Outcome::Answered(answer)) => answer,
                // Nothing comes before the deadline.
                Ok(Outcome::Silence) | Err(_) => std::future::pending().await,
            }
        });
        answered.await.unwrap_or_else(|_| {
            let told = format!("{address} did not answer within {} ms", wait.as_millis());
            Err(Error::new(Reason::DeadlineExceeded, told))
        })
    }

    fn trace(&self, what: &str) {
        let name = (self.form.name)(&self.request);
        let (number, from, to, port) = (self.number, &self.from, &self.address, self.form.port);
        self.network.trace.push(format_args!("#{number} {from} -> {to} {port}.{name} {what}"));
    }

    fn host(&self) -> Option<Host> {
        self.network.state.lock().hosts.get(&*self.address).cloned()
    }

    /// The link to the receiver and the one back.
    fn links(&self, to: &str) -> (Link, Link) {
        let links = &self.network.state.lock().links;
        (links.between(&self.from, to), links.between(to, &self.from))
    }

    async fn travel(self) -> Outcome<A> {
        let Some(host) = self.host() else {
            time::sleep(Link::default().delay()).await;
            return self.unreachable("finds nobody", "nobody answers at");
        };
        if host.node == self.from {
            return self
                .work(&host)
                .await
                .unwrap_or_else(|| self.unreachable("is dropped", "lost contact with"));
        }
        let (there, back) = self.links(&host.node);
        if happens(there.doubled) {
            self.double(there);
        }
        time::sleep(there.delay()).await;
        if self.is_cut(&self.from, &host.node) || happens(there.lost) {
            return self.lost("is lost", there);
        }
        // Who answers now may be another life of the node than the one at the sending.
        let Some(host) = self.host() else {
            time::sleep(back.delay()).await;
            return self.unreachable("finds nobody", "nobody answers at");
        };
        let Some(outcome) = self.work(&host).await else {
            return self.lost("loses its receiver", back);
        };
        time::sleep(back.delay()).await;
        if self.is_cut(&host.node, &self.from) || happens(back.lost) {
            return self.lost("loses its answer", back);
        }
        outcome
    }

    /// Sends the request once more, a while later. Nobody waits for the answer.
    fn double(&self, link: Link) {
        let twin = Message {
            network: self.network.clone(),
            number: self.number,
            from: self.from.clone(),
            address: self.address.clone(),
            form: self.form,
            sent: self.sent,
            context: self.context.clone(),
            request: self.request.clone(),
        };
        self.network.tasks.spawn(async move {
            for _ in 0..10 {
                time::sleep(link.delay()).await;
            }
            let Some(host) = twin.host() else { return };
            if !twin.is_cut(&twin.from, &host.node) {
                twin.trace("comes again");
                twin.work(&host).await;
            }
        });
    }

    /// The receiver's work, in its own task. `None`: the receiver ended before it answered.
    async fn work(&self, host: &Host) -> Option<Outcome<A>> {
        let Some(port) = (self.form.pick)(&host.services) else {
            return Some(self.unreachable("finds no such port", "the wrong kind of node answers at"));
        };
        let mut context = self.context.clone();
        let travelled = u64::try_from(self.sent.elapsed().as_millis()).unwrap_or(u64::MAX);
        context.deadline_ms = context.deadline_ms.saturating_sub(travelled);
        let request = self.request.clone();
        self.trace("arrives");
        let port: Arc<dyn Port<Q, A>> = port;
        let answer = host.tasks.spawn(async move { port.call(context, request).await }).await.ok()?;
        match &answer {
            Ok(_) => self.trace("is done"),
            Err(error) => self.trace(error.reason().as_str()),
        }
        Some(Outcome::Answered(answer))
    }

    fn is_cut(&self, from: &str, to: &str) -> bool {
        self.network.state.lock().links.is_cut(from, to)
    }

    fn unreachable(&self, what: &str, told: &str) -> Outcome<A> {
        self.trace(what);
        Outcome::Answered(Err(Error::new(Reason::Unreachable, format!("{told} {}", self.address))))
    }

    fn lost(&self, what: &str, link: Link) -> Outcome<A> {
        if happens(link.silent) {
            self.trace(&format!("{what}, in silence"));
            return Outcome::Silence;
        }
        self.unreachable(what, "lost contact with")
    }
}
