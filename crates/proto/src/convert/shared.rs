//! Ids of several parts, ranges, errors.

use lamina_types::{
    BlockHandle, CopyStamp, Error, KeyRange, Kind, Reason, Result, Sender, TableId, TabletId,
};

use super::{Twin, enum_twins, twins};
use crate::{status, types};

twins! {
    KeyRange => types::KeyRange { start, end }
    TableId => types::TableId { group, reign, n }
    CopyStamp => types::CopyStamp { reign, n }
    TabletId => types::TabletId { group, index }
    BlockHandle => types::BlockHandle { table, offset, length, block }
    Sender => types::Sender { cluster, node, incarnation }
}

enum_twins!(Kind => types::Kind {
    InvalidArgument, FailedPrecondition, Aborted, Unavailable, ResourceExhausted, DeadlineExceeded, DataLoss,
    PermissionDenied, NotFound, Unimplemented, Internal,
});

impl Twin<types::Error> for Error {
    fn into_wire(self) -> types::Error {
        types::Error {
            reason: self.reason().as_str().to_owned(),
            kind: self.kind().into_wire(),
            message: self.message().to_owned(),
            retry_after_ms: self.retry_after(),
            details: self.details().clone(),
        }
    }

    /// Never fails: an error that is not understood is still an error, of the kind that it says, or a defect.
    fn from_wire(wire: types::Error) -> Result<Error> {
        let kind = Kind::from_wire(wire.kind).unwrap_or(Kind::Internal);
        let mut error = match Reason::parse(&wire.reason) {
            Some(reason) => Error::new(reason, wire.message),
            None => {
                Error::new(status::fallback(kind), wire.message).with(status::UNKNOWN_REASON, wire.reason)
            }
        };
        if let Some(ms) = wire.retry_after_ms {
            error = error.retry_after_ms(ms);
        }
        for (name, value) in wire.details {
            error = error.with(&name, value);
        }
        Ok(error)
    }
}
