//! The one table between kinds of failure and gRPC codes, and failures as statuses.
//!
//! A status of ours carries a `google.rpc.ErrorInfo` (the reason, the domain `lamina`, the details) and, if the store says
//! when to try again, a `google.rpc.RetryInfo`. A status without them did not come from the store but from the library,
//! a proxy or the network.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use lamina_types::{Error, Kind, Reason};
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};

/// The domain of our `ErrorInfo`.
pub const DOMAIN: &str = "lamina";

/// The detail that holds a reason which this program does not know, as when the other side is newer.
pub const UNKNOWN_REASON: &str = "reason";

/// The gRPC code of a kind.
pub const fn code(kind: Kind) -> Code {
    match kind {
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::Aborted => Code::Aborted,
        Kind::Unavailable => Code::Unavailable,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        Kind::DataLoss => Code::DataLoss,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::NotFound => Code::NotFound,
        Kind::Unimplemented => Code::Unimplemented,
        Kind::Internal => Code::Internal,
    }
}

/// The kind of a gRPC code that has one.
pub const fn kind(code: Code) -> Kind {
    match code {
        Code::InvalidArgument => Kind::InvalidArgument,
        Code::FailedPrecondition | Code::AlreadyExists => Kind::FailedPrecondition,
        Code::Aborted => Kind::Aborted,
        // A call that was cut off below us may have been carried out, as one that nobody could reach.
        Code::Unavailable | Code::Cancelled | Code::Unknown | Code::Ok => Kind::Unavailable,
        // tonic says OUT_OF_RANGE of a message that is too large; nobody else does.
        Code::ResourceExhausted | Code::OutOfRange => Kind::ResourceExhausted,
        Code::DeadlineExceeded => Kind::DeadlineExceeded,
        Code::DataLoss => Kind::DataLoss,
        Code::PermissionDenied | Code::Unauthenticated => Kind::PermissionDenied,
        Code::NotFound => Kind::NotFound,
        Code::Unimplemented => Kind::Unimplemented,
        Code::Internal => Kind::Internal,
    }
}

/// The reason that stands for a kind when the true one is not known: never one that promises more than the kind.
pub const fn fallback(kind: Kind) -> Reason {
    match kind {
        Kind::InvalidArgument => Reason::FieldInvalid,
        Kind::FailedPrecondition => Reason::StateRefused,
        Kind::Aborted => Reason::StateMoved,
        Kind::Unavailable => Reason::Unreachable,
        Kind::ResourceExhausted => Reason::Overloaded,
        Kind::DeadlineExceeded => Reason::DeadlineExceeded,
        Kind::DataLoss => Reason::DataLoss,
        Kind::PermissionDenied => Reason::ClusterMismatch,
        Kind::NotFound => Reason::NotFound,
        Kind::Unimplemented => Reason::NotBuilt,
        Kind::Internal => Reason::Bug,
    }
}

/// A failure as a status.
pub fn to_status(error: &Error) -> Status {
    let info = ErrorInfo {
        reason: error.reason().as_str().to_owned(),
        domain: DOMAIN.to_owned(),
        metadata: error.details().clone(),
    };
    let mut details = vec![pack(ERROR_INFO, &info)];
    if let Some(ms) = error.retry_after() {
        let delay = prost_types::Duration::try_from(Duration::from_millis(ms)).unwrap_or_default();
        details.push(pack(RETRY_INFO, &RetryInfo { retry_delay: Some(delay) }));
    }
    let code = code(error.kind());
    let full = RpcStatus { code: code.into(), message: error.message().to_owned(), details };
    Status::with_details(code, error.message(), Bytes::from(full.encode_to_vec()))
}

/// A status as a failure. One that the store did not make becomes the most cautious failure of its code.
pub fn from_status(status: &Status) -> Error {
    let details = RpcStatus::decode(status.details()).unwrap_or_default().details;
    let Some(info) = unpack::<ErrorInfo>(ERROR_INFO, &details).filter(|info| info.domain == DOMAIN) else {
        return foreign(status);
    };
    let mut error = match Reason::parse(&info.reason) {
        Some(reason) => Error::new(reason, status.message()),
        None => Error::new(fallback(kind(status.code())), status.message()).with(UNKNOWN_REASON, info.reason),
    };
    let delay = unpack::<RetryInfo>(RETRY_INFO, &details).and_then(|retry| retry.retry_delay);
    if let Some(delay) = delay.and_then(|delay| Duration::try_from(delay).ok()) {
        error = error.retry_after_ms(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
    }
    for (name, value) in info.metadata {
        error = error.with(&name, value);
    }
    error
}

/// A status of the library, a proxy or the network.
fn foreign(status: &Status) -> Error {
    if status.code() == Code::OutOfRange {
        return Error::new(Reason::MessageTooLarge, format!("a message was refused: {}", status.message()));
    }
    let reason = fallback(kind(status.code()));
    Error::new(reason, format!("the call failed with {:?}: {}", status.code(), status.message()))
}

/// The status as the store says it: tonic's OUT_OF_RANGE for a message that is too large becomes RESOURCE_EXHAUSTED.
pub fn remapped(status: Status) -> Status {
    if status.code() == Code::OutOfRange && status.details().is_empty() {
        return to_status(&foreign(&status));
    }
    status
}

const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

fn pack(url: &str, message: &impl Message) -> Any {
    Any { type_url: url.to_owned(), value: message.encode_to_vec() }
}

fn unpack<M: Message + Default>(url: &str, details: &[Any]) -> Option<M> {
    let any = details.iter().find(|any| any.type_url == url)?;
    M::decode(any.value.as_slice()).ok()
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_a_status_with_its_details_and_its_wait() {
        for reason in Reason::ALL {
            let error = Error::new(*reason, "what happened").with("limit", 4096).retry_after_ms(1234);
            let status = to_status(&error);
            assert_eq!(status.code(), code(reason.kind()));
            assert_eq!(from_status(&status), error);
        }
    }

    #[test]
    fn every_kind_has_a_code_and_a_fallback_of_its_own_kind() {
        for reason in Reason::ALL {
            assert_eq!(kind(code(reason.kind())), reason.kind());
            assert_eq!(fallback(reason.kind()).kind(), reason.kind());
        }
    }

    #[test]
    fn a_status_that_is_not_ours_leaves_the_outcome_of_a_write_open() {
        for code in
            [Code::Unavailable, Code::Cancelled, Code::Unknown, Code::Internal, Code::DeadlineExceeded]
        {
            assert!(from_status(&Status::new(code, "torn")).outcome_unknown(), "{code:?}");
        }
    }

    #[test]
    fn a_message_that_is_too_large_is_resource_exhausted() {
        let status = remapped(Status::out_of_range("decoded message length too large"));
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(from_status(&status).reason(), Reason::MessageTooLarge);
    }

    #[test]
    fn a_reason_of_a_newer_store_keeps_its_kind() {
        let mut status = to_status(&Error::new(Reason::StateRefused, "no"));
        let mut full = RpcStatus::decode(status.details()).unwrap();
        let info =
            ErrorInfo { reason: "FROM_THE_FUTURE".into(), domain: DOMAIN.into(), metadata: BTreeMap::new() };
        full.details = vec![pack(ERROR_INFO, &info)];
        status = Status::with_details(status.code(), "no", Bytes::from(full.encode_to_vec()));
        let error = from_status(&status);
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert_eq!(error.detail(UNKNOWN_REASON), Some("FROM_THE_FUTURE"));
    }
}
