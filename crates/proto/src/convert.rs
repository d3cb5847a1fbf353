//! Each message of the peers and its form on the wire.
//!
//! [`Twin::into_wire`] cannot fail. [`Twin::from_wire`] checks: an absent oneof is `OP_MISSING`, a number without a
//! meaning `UNKNOWN_ENUM`, a wrong length or an absent field `FIELD_INVALID`; the detail `field` names the field.
//! Limits of keys and values are not checked here but in [`crate::validate`]. `Bytes` are slices of the received
//! buffer: who keeps a small one for long copies it, or it holds the whole buffer.

use bytes::Bytes;
use lamina_types::{
    ClusterId, Epoch, Error, GroupId, Incarnation, Level, LogIndex, NodeId, Reason, Reign, ReplicaId, Result,
    ShardId, SnapshotId, Version,
};

mod admin;
mod data;
mod group;
mod index;
mod kv;
mod raft;
mod shared;
mod view;

pub use kv::{delete_as_write, put_as_write};

/// A type and its form on the wire.
pub trait Twin<W>: Sized {
    /// The form on the wire.
    fn into_wire(self) -> W;

    /// The type, if the form is well.
    ///
    /// # Errors
    /// `OP_MISSING`, `UNKNOWN_ENUM` or `FIELD_INVALID`, with the detail `field`.
    fn from_wire(wire: W) -> Result<Self>;
}

/// A field that must be there is not.
fn absent<T>() -> Result<T> {
    Err(Error::new(Reason::FieldInvalid, "a field that is required is absent"))
}

/// One of several forms must be there, and none is.
fn no_form<T>() -> Result<T> {
    Err(Error::new(Reason::OpMissing, "one of several forms is required, and none that is known here is set"))
}

/// A number stands for nothing.
fn unknown_enum<T>(number: i32) -> Result<T> {
    Err(Error::new(Reason::UnknownEnum, format!("{number} stands for no known value")))
}

/// Says in which field an error was found.
fn in_field(name: &'static str) -> impl FnOnce(Error) -> Error {
    move |error| {
        let path = match error.detail("field") {
            Some(inner) => format!("{name}.{inner}"),
            None => name.to_owned(),
        };
        error.with("field", path)
    }
}

macro_rules! same_on_the_wire {
    ($($name:ty)*) => {$(
        impl Twin<$name> for $name {
            fn into_wire(self) -> $name {
                self
            }
            fn from_wire(wire: $name) -> Result<$name> {
                Ok(wire)
            }
        }
    )*};
}
same_on_the_wire!(bool u32 u64 f64 String Bytes);

macro_rules! number_on_the_wire {
    ($($name:ident: $wire:ty,)*) => {$(
        impl Twin<$wire> for $name {
            fn into_wire(self) -> $wire {
                self.0.into()
            }
            fn from_wire(wire: $wire) -> Result<$name> {
                wire.try_into().map($name).map_err(|_| {
                    Error::new(Reason::FieldInvalid, concat!("a number is too large for a ", stringify!($name)))
                })
            }
        }
    )*};
}
number_on_the_wire!(
    Version: u64, Reign: u64, Epoch: u64, Incarnation: u64, LogIndex: u64, ReplicaId: u64,
    GroupId: u32, ShardId: u32, Level: u32,
);

impl Twin<u32> for u16 {
    fn into_wire(self) -> u32 {
        self.into()
    }
    fn from_wire(wire: u32) -> Result<u16> {
        wire.try_into().map_err(|_| Error::new(Reason::FieldInvalid, "a number is above 65 535"))
    }
}

impl Twin<u32> for u8 {
    fn into_wire(self) -> u32 {
        self.into()
    }
    fn from_wire(wire: u32) -> Result<u8> {
        wire.try_into().map_err(|_| Error::new(Reason::FieldInvalid, "a number is above 255"))
    }
}

impl Twin<Bytes> for u128 {
    fn into_wire(self) -> Bytes {
        Bytes::copy_from_slice(&self.to_be_bytes())
    }
    fn from_wire(wire: Bytes) -> Result<u128> {
        let bytes: [u8; 16] = wire.as_ref().try_into().map_err(|_| {
            Error::new(Reason::FieldInvalid, format!("an id has {} bytes, not 16", wire.len()))
        })?;
        Ok(u128::from_be_bytes(bytes))
    }
}

macro_rules! sixteen_bytes_on_the_wire {
    ($($name:ident)*) => {$(
        impl Twin<Bytes> for $name {
            fn into_wire(self) -> Bytes {
                self.0.into_wire()
            }
            fn from_wire(wire: Bytes) -> Result<$name> {
                u128::from_wire(wire).map($name)
            }
        }
    )*};
}
sixteen_bytes_on_the_wire!(ClusterId NodeId SnapshotId);

impl<T: Twin<W>, W> Twin<Option<W>> for Option<T> {
    fn into_wire(self) -> Option<W> {
        self.map(Twin::into_wire)
    }
    fn from_wire(wire: Option<W>) -> Result<Option<T>> {
        wire.map(T::from_wire).transpose()
    }
}

impl<T: Twin<W>, W> Twin<Vec<W>> for Vec<T> {
    fn into_wire(self) -> Vec<W> {
        self.into_iter().map(Twin::into_wire).collect()
    }
    fn from_wire(wire: Vec<W>) -> Result<Vec<T>> {
        wire.into_iter().map(T::from_wire).collect()
    }
}

/// A message that must be there, though protobuf makes every message optional.
macro_rules! required {
    ($twin:path => $wire:path) => {
        impl $crate::convert::Twin<Option<$wire>> for $twin {
            fn into_wire(self) -> Option<$wire> {
                Some($crate::convert::Twin::into_wire(self))
            }
            fn from_wire(wire: Option<$wire>) -> lamina_types::Result<$twin> {
                match wire {
                    Some(wire) => $crate::convert::Twin::from_wire(wire),
                    None => $crate::convert::absent(),
                }
            }
        }
    };
}
use required;

/// Two structures with the same names of fields.
macro_rules! twins {
    ($($twin:path => $wire:path { $($field:ident),* $(,)? })*) => {$(
        impl $crate::convert::Twin<$wire> for $twin {
            fn into_wire(self) -> $wire {
                type W = $wire;
                W { $($field: $crate::convert::Twin::into_wire(self.$field)),* }
            }
            #[allow(unused_variables, reason = "a message may have no field")]
            fn from_wire(wire: $wire) -> lamina_types::Result<$twin> {
                Ok(Self {
                    $($field: $crate::convert::Twin::from_wire(wire.$field)
                        .map_err($crate::convert::in_field(stringify!($field)))?,)*
                })
            }
        }
        $crate::convert::required!($twin => $wire);
    )*};
}
use twins;

/// Two enumerations without fields, with the same names.
macro_rules! enum_twins {
    ($twin:path => $wire:path { $($name:ident),* $(,)? }) => {
        impl $crate::convert::Twin<i32> for $twin {
            fn into_wire(self) -> i32 {
                type T = $twin;
                type W = $wire;
                match self { $(T::$name => W::$name,)* }.into()
            }
            fn from_wire(wire: i32) -> lamina_types::Result<$twin> {
                type T = $twin;
                type W = $wire;
                match W::try_from(wire) {
                    $(Ok(W::$name) => Ok(T::$name),)*
                    _ => $crate::convert::unknown_enum(wire),
                }
            }
        }
    };
}
use enum_twins;

/// The enumerations of a port: its requests, and its answers or errors.
macro_rules! port_twins {
    ($request:path, $answer:path => $op:path, $reply:path { $($name:ident),* $(,)? }) => {
        impl $crate::convert::Twin<Option<$op>> for $request {
            fn into_wire(self) -> Option<$op> {
                type W = $op;
                type T = $request;
                Some(match self { $(T::$name(it) => W::$name($crate::convert::Twin::into_wire(it)),)* })
            }
            fn from_wire(wire: Option<$op>) -> lamina_types::Result<$request> {
                type W = $op;
                type T = $request;
                match wire {
                    $(Some(W::$name(it)) => $crate::convert::Twin::from_wire(it).map(T::$name),)*
                    None => $crate::convert::no_form(),
                }
            }
        }

        impl $crate::convert::Twin<Option<$reply>> for lamina_types::Result<$answer> {
            fn into_wire(self) -> Option<$reply> {
                type T = $answer;
                type W = $reply;
                Some(match self {
                    $(Ok(T::$name(it)) => W::$name($crate::convert::Twin::into_wire(it)),)*
                    Err(error) => W::Error($crate::convert::Twin::into_wire(error)),
                })
            }
            fn from_wire(wire: Option<$reply>) -> lamina_types::Result<Self> {
                type T = $answer;
                type W = $reply;
                Ok(match wire {
                    $(Some(W::$name(it)) => $crate::convert::Twin::from_wire(it).map(T::$name),)*
                    Some(W::Error(error)) => Err($crate::convert::Twin::from_wire(error)?),
                    None => Err($crate::convert::no_answer()),
                })
            }
        }
    };
}
use port_twins;

/// The other side answered in a form that is not known here: what it did is not known either.
fn no_answer() -> Error {
    Error::new(Reason::Bug, "the other side answered in a form that this program does not know; is it newer?")
}

#[cfg(test)]
mod tests;
