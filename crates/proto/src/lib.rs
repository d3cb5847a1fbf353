//! What goes over the wire: protobuf, its generated code, and the twins of the peers' messages.
//!
//! The peers' messages (`crates/peers`) are the validated form; the generated ones are only what they look like on the
//! wire. The sender's direction cannot fail, the receiver's checks everything that a type says.
//!
//! | module | holds |
//! |---|---|
//! | [`convert`] | [`convert::Twin`]: each message of the peers and its form on the wire |
//! | [`validate`] | the limits of the door for keys and values, over the peers' messages |
//! | [`stream`] | [`stream::Wire`]: the form of the stream of each port |
//! | [`status`] | the one table between kinds of failure and gRPC codes |
//! | [`kv`] [`index`] [`data`] [`raft`] [`group`] [`admin`] [`types`] | generated, one per package |
//!
//! The `.proto` files in `proto/` are the reference of the interface; `cargo xtask protogen` makes the code of them.

pub mod convert;
pub mod status;
pub mod stream;
pub mod validate;

pub use generated::lamina::admin::v1 as admin;
pub use generated::lamina::data::v1 as data;
pub use generated::lamina::group::v1 as group;
pub use generated::lamina::index::v1 as index;
pub use generated::lamina::kv::v1 as kv;
pub use generated::lamina::raft::v1 as raft;
pub use generated::lamina::types::v1 as types;

/// The descriptions of all packages, encoded as a `google.protobuf.FileDescriptorSet`: for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");

/// The version of the protocol of streams.
pub const PROTOCOL: u32 = 1;

/// The tree of modules that the generated code counts on.
#[allow(
    missing_docs,
    rust_2018_idioms,
    clippy::all,
    clippy::wildcard_imports,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "generated"
)]
#[rustfmt::skip]
mod generated {
    pub mod lamina {
        pub mod admin { pub mod v1 { include!("generated/lamina.admin.v1.rs"); } }
        pub mod data { pub mod v1 { include!("generated/lamina.data.v1.rs"); } }
        pub mod group { pub mod v1 { include!("generated/lamina.group.v1.rs"); } }
        pub mod index { pub mod v1 { include!("generated/lamina.index.v1.rs"); } }
        pub mod kv { pub mod v1 { include!("generated/lamina.kv.v1.rs"); } }
        pub mod raft { pub mod v1 { include!("generated/lamina.raft.v1.rs"); } }
        pub mod types { pub mod v1 { include!("generated/lamina.types.v1.rs"); } }
    }
}
