//! Unary calls, for other languages, tools and people: a context from metadata, one operation, a status.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use lamina_env::random;
use lamina_env::time::{self, Duration};
use lamina_peers::{Operation, Peer};
use lamina_proto::status;
use lamina_telemetry::calls::OK;
use lamina_types::limits::DEADLINE_MS_MAX;
use lamina_types::{ClusterId, Error, Incarnation, NodeId, Reason, RequestContext, Result, Sender};
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::Shared;
use super::handler::panicked;

/// Names the call in logs: 32 hexadecimal digits.
const REQUEST_ID: &str = "lamina-request-id";
/// `true`: a node that does not lead answers NOT_OWNER instead of forwarding.
const NO_FORWARD: &str = "lamina-no-forward";
/// The store that is meant: a UUID.
const CLUSTER: &str = "lamina-cluster";
const TIMEOUT: &str = "grpc-timeout";

/// Carries one operation out. `check` refuses what may not come in.
pub async fn call<Q, A, O>(
    shared: &Arc<Shared>,
    port: &'static str,
    peer: &Peer<Q, A>,
    metadata: &MetadataMap,
    operation: Result<O>,
    check: fn(&Q) -> Result<()>,
    name: fn(&Q) -> &'static str,
) -> Result<O::Answer, Status>
where
    Q: Send + 'static,
    A: Send + 'static,
    O: Operation<Q, A>,
{
    let outcome = async {
        let context = context(metadata)?;
        let request = operation?.into_request();
        check(&request)?;
        let answer = run(shared, port, peer, context, name(&request), request).await?;
        O::from_answer(answer).ok_or_else(|| Error::new(Reason::Bug, "the service answered another request"))
    };
    outcome.await.map_err(|error| status::to_status(&error))
}

async fn run<Q, A>(
    shared: &Arc<Shared>,
    port: &'static str,
    peer: &Peer<Q, A>,
    context: RequestContext,
    operation: &'static str,
    request: Q,
) -> Result<A>
where
    Q: Send + 'static,
    A: Send + 'static,
{
    let since = time::now();
    let trace = context.trace;
    let deadline = Duration::from_millis(context.deadline_ms);
    // tonic has a timer of its own for `grpc-timeout`, which says CANCELLED: ours has to be first.
    let deadline = deadline.saturating_sub((deadline / 10).min(Duration::from_millis(10)));
    let work = AssertUnwindSafe(peer.forward(context, request)).catch_unwind();
    let answer = match time::timeout(deadline, work).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(panic)) => Err(panicked(operation, trace, panic.as_ref())),
        Err(_) => Err(Error::new(Reason::DeadlineExceeded, format!("{operation} was not done in time"))),
    };
    if let Some(calls) = &shared.calls {
        let result = answer.as_ref().err().map_or(OK, |error| error.reason().as_str());
        calls.record(port, operation, result, since.elapsed());
    }
    answer.map_err(|error| match error.detail("request_id") {
        Some(_) => error,
        None => error.with("request_id", format_args!("{trace:032x}")),
    })
}

/// The context of a call that comes in here.
fn context(metadata: &MetadataMap) -> Result<RequestContext> {
    let deadline_ms = match text(metadata, TIMEOUT)? {
        Some(timeout) => timeout_ms(timeout)
            .ok_or_else(|| Error::new(Reason::FieldInvalid, "grpc-timeout is not a number and a unit"))?,
        None => DEADLINE_MS_MAX,
    };
    let trace = match text(metadata, REQUEST_ID)? {
        Some(id) => parse_hex(id).ok_or_else(|| {
            Error::new(Reason::FieldInvalid, "lamina-request-id is not a number of 32 hexadecimal digits")
        })?,
        None => random::u128(),
    };
    if deadline_ms == 0 {
        return Err(Error::new(Reason::DeadlineExceeded, "no time was left when the call arrived"));
    }
    let mut context = RequestContext::new(trace, deadline_ms.min(DEADLINE_MS_MAX));
    context.forwarded = text(metadata, NO_FORWARD)? == Some("true");
    if let Some(cluster) = text(metadata, CLUSTER)? {
        let cluster = cluster
            .parse::<ClusterId>()
            .map_err(|error| Error::new(Reason::FieldInvalid, format!("lamina-cluster: {error}")))?;
        context.sender = Some(outside(cluster));
    }
    Ok(context)
}

/// Somebody outside the store who names the store that is meant. Node 0 does not exist, so its incarnation is never
/// compared with another than its own.
fn outside(cluster: ClusterId) -> Sender {
    Sender { cluster, node: NodeId(0), incarnation: Incarnation::ZERO }
}

fn text<'a>(metadata: &'a MetadataMap, name: &'static str) -> Result<Option<&'a str>> {
    metadata
        .get(name)
        .map(|value| value.to_str())
        .transpose()
        .map_err(|_| Error::new(Reason::FieldInvalid, format!("the metadata {name} is not ASCII")))
}

fn parse_hex(text: &str) -> Option<u128> {
    let well = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if well { u128::from_str_radix(text, 16).ok() } else { None }
}

/// The milliseconds of a `grpc-timeout`, rounded down: at most 8 digits and one of `H M S m u n`.
fn timeout_ms(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.is_empty() || number.len() > 8 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    match unit {
        "H" => Some(number.saturating_mul(3_600_000)),
        "M" => Some(number.saturating_mul(60_000)),
        "S" => Some(number.saturating_mul(1000)),
        "m" => Some(number),
        "u" => Some(number / 1000),
        "n" => Some(number / 1_000_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_number_and_a_unit_and_nothing_else() {
        assert_eq!(timeout_ms("30S"), Some(30_000));
        assert_eq!(timeout_ms("250m"), Some(250));
        assert_eq!(timeout_ms("1n"), Some(0));
        assert_eq!(timeout_ms("99999999H"), Some(99_999_999 * 3_600_000));
        for bad in ["", "S", "1", "-1S", "123456789S", "1s", "1 S", "é"] {
            assert_eq!(timeout_ms(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_context_is_bounded_and_what_is_malformed_is_refused() {
        let mut metadata = MetadataMap::new();
        let bare = context(&metadata).unwrap();
        assert_eq!((bare.deadline_ms, bare.forwarded, bare.sender), (DEADLINE_MS_MAX, false, None));
        metadata.insert(TIMEOUT, "99999999H".parse().unwrap());
        metadata.insert(NO_FORWARD, "true".parse().unwrap());
        metadata.insert(REQUEST_ID, "000000000000000000000000000000ff".parse().unwrap());
        let full = context(&metadata).unwrap();
        assert_eq!((full.deadline_ms, full.forwarded, full.trace), (DEADLINE_MS_MAX, true, 255));
        metadata.insert(TIMEOUT, "1n".parse().unwrap());
        assert_eq!(context(&metadata).unwrap_err().reason(), Reason::DeadlineExceeded);
        metadata.insert(TIMEOUT, "soon".parse().unwrap());
        assert_eq!(context(&metadata).unwrap_err().reason(), Reason::FieldInvalid);
    }
}
