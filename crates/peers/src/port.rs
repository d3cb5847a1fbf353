//! The form of every port.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use lamina_types::{Error, Reason, RequestContext, Result};

/// One side of a port: takes requests, gives answers. Any number of calls may be under way at once, and they are
/// answered in any order. Dropping a call's future does not take back what the other side does.
#[async_trait]
pub trait Port<Q, A>: Send + Sync + 'static {
    /// Carries out one request. `context.deadline_ms` is what is left of the caller's time.
    async fn call(&self, context: RequestContext, request: Q) -> Result<A>;
}

/// A request of a port, with the type of its answer.
pub trait Operation<Q, A>: Send + 'static {
    /// What a success brings.
    type Answer: Send + 'static;

    /// The request as the port's enumeration.
    fn into_request(self) -> Q;

    /// The answer taken out of the port's enumeration; `None` if it answers another request.
    fn from_answer(answer: A) -> Option<Self::Answer>;
}

/// A request of any port, by its name.
pub trait Named {
    /// The name, for logs, metrics and traces.
    fn name(&self) -> &'static str;
}

/// Somebody to call. Cheap to clone.
pub struct Peer<Q, A>(Arc<dyn Port<Q, A>>);

impl<Q: Send + 'static, A: Send + 'static> Peer<Q, A> {
    /// A peer that stands for `port`.
    pub fn new(port: Arc<dyn Port<Q, A>>) -> Peer<Q, A> {
        Peer(port)
    }

    /// Calls and waits for the answer.
    ///
    /// # Errors
    /// What the other side says; `UNREACHABLE` or `DEADLINE_EXCEEDED` if it does not: then the request may have
    /// been carried out or not.
    pub async fn call<O: Operation<Q, A>>(&self, context: RequestContext, operation: O) -> Result<O::Answer> {
        let answer = self.0.call(context, operation.into_request()).await?;
        O::from_answer(answer)
            .ok_or_else(|| Error::new(Reason::Bug, "the other side answered another request than was asked"))
    }

    /// Calls with a request that is in the port's enumeration already, as an adapter has it.
    ///
    /// # Errors
    /// As [`Peer::call`].
    pub fn forward(
        &self,
        context: RequestContext,
        request: Q,
    ) -> Pin<Box<dyn Future<Output = Result<A>> + Send + '_>> {
        self.0.call(context, request)
    }
}

impl<Q, A> Clone for Peer<Q, A> {
    fn clone(&self) -> Self {
        Peer(self.0.clone())
    }
}

/// Declares a port: its enumerations, and [`Operation`] for each pair of request and answer.
macro_rules! port {
    ($(#[$doc:meta])* $peer:ident: $request:ident => $answer:ident {
        $($name:ident => $reply:ident,)*
    }) => {
        #[doc = concat!("Requests of [`", stringify!($peer), "`].")]
        #[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
        #[expect(missing_docs, reason = "each variant is named and documented by the struct that it holds")]
        pub enum $request { $($name($name),)* }

        #[doc = concat!("Answers of [`", stringify!($peer), "`], each named by its request.")]
        #[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
        #[expect(missing_docs, reason = "each variant is named by its request and documented by the struct that it holds")]
        pub enum $answer { $($name($reply),)* }

        $(#[$doc])*
        pub type $peer = $crate::Peer<$request, $answer>;

        impl $request {
            /// The name of the request, for logs and metrics.
            pub const fn name(&self) -> &'static str {
                match self { $($request::$name(_) => stringify!($name),)* }
            }
        }

        impl $crate::Named for $request {
            fn name(&self) -> &'static str { self.name() }
        }

        $(
            impl $crate::Operation<$request, $answer> for $name {
                type Answer = $reply;
                fn into_request(self) -> $request { $request::$name(self) }
                fn from_answer(answer: $answer) -> Option<$reply> {
                    #[allow(unreachable_patterns, reason = "a port may have one request only")]
                    match answer { $answer::$name(reply) => Some(reply), _ => None }
                }
            }
        )*
    };
}
pub(crate) use port;
