//! The client of a Lamina store: asynchronous, over gRPC or, embedded, without any socket.
//!
//! ```no_run
//! # async fn example() -> lamina_client::Result<()> {
//! use lamina_client::{Batch, Client};
//!
//! let client = Client::connect(["127.0.0.1:4700"]);
//! client.put("hello", "world").await?;
//! let found = client.get("hello").await?;
//! client.write(Batch::new().put("a", "1").delete("b")).await?;
//! # Ok(()) }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`client`] | [`Client`]: every operation |
//! | [`batch`] | [`Batch`]: atomic writes with conditions |
//! | [`scan`] | [`ScanOptions`], pages |
//! | `caller` | deadlines, repetitions, the last word of a call |
//! | `leaders` | who leads which keys |
//! | `route` | who is asked when nobody knows, and who is asked next |
//! | [`reach`] | who of a store answers: what calls may be waiting for |
//! | `pulse` | whether calls get on |
//! | `requests` | request ids, by which a retry takes effect at most once |
//!
//! A call is repeated, with the same request id, as long as the store says that it may be, up to the client's
//! deadline. A write has three outcomes: done, not done, unknown ([`lamina_types::Error::outcome_unknown`]).

pub mod batch;
mod caller;
pub mod client;
mod leaders;
mod pulse;
pub mod reach;
mod requests;
mod route;
pub mod scan;

pub use batch::Batch;
pub use caller::Options;
pub use client::{Client, Snapshot};
pub use lamina_peers::kv::{Expected, Found, Row};
pub use lamina_types::{Error, KeyRange, Kind, Reason, Result, Version};
pub use reach::Reach;
pub use scan::{ScanOptions, Scanner};
