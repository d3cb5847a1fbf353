//! Whom the load generator measures: Lamina and its peers, each by its own protocol, all in the same way.
//!
//! | module | speaks |
//! |---|---|
//! | [`etcd`] | etcd's v3 gRPC: `KV/Put`, `KV/Range` (linearizable), `KV/DeleteRange` |
//! | [`redis`] | RESP2 over TCP, pipelined |
//! | [`unary`] | Lamina's `Kv` by unary gRPC calls, as any gRPC client can |
//!
//! Else Lamina is measured through its client. A connection is one client with a transport of its own.

pub mod etcd;
mod grpc;
pub mod redis;
pub mod unary;

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use lamina_client::{Client, KeyRange, Options, ScanOptions};
use lamina_env::time::Duration;

/// How long a store may take to answer for the first time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A store to measure.
#[derive(Clone)]
pub enum Target {
    /// Lamina at the addresses of its frontends.
    Lamina(Vec<String>),
    /// A Lamina client that is there already, as in one process: all connections are this one.
    Embedded(Client),
    /// The same without its client: unary gRPC calls; connections are spread over the frontends.
    Unary(Vec<String>),
    /// etcd at the addresses of its members; connections are spread over them.
    Etcd(Vec<String>),
    /// One Redis server.
    Redis(String),
}

/// One operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Reads a key, linearizably.
    Get {
        /// The key.
        key: Bytes,
    },
    /// Puts a value.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Deletes a key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Reads rows in the order of keys.
    Scan {
        /// The first key.
        from: Bytes,
        /// Rows at most.
        rows: u32,
    },
}

/// What an operation brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Brought {
    /// Values that were found.
    pub rows: u64,
    /// Bytes of keys and values that came.
    pub bytes: u64,
}

/// An operation that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    /// A short stable word: failures are counted by it.
    pub word: String,
    /// In words.
    pub message: String,
}

/// A target does not answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot reach {target}: {why}")]
pub struct Unreachable {
    /// Whom.
    pub target: String,
    /// Why.
    pub why: String,
}

/// One connection to a target.
pub enum Connection {
    /// A client of Lamina.
    Lamina(Client),
    /// A channel to a frontend of Lamina.
    Unary(unary::Connection),
    /// A channel to a member of etcd.
    Etcd(etcd::Connection),
    /// A socket to Redis.
    Redis(redis::Connection),
}

impl Target {
    /// Whether it keeps its keys in order, so that ranges can be scanned.
    pub fn has_order(&self) -> bool {
        !matches!(self, Target::Redis(_))
    }

    /// Connects, and proves with one read that somebody answers.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn connect(&self, n: usize) -> Result<Connection, Unreachable> {
        let unreachable = |why: String| Unreachable { target: self.to_string(), why };
        let connection = match self {
            Target::Lamina(addresses) => Connection::Lamina(Client::connect(addresses.iter().cloned())),
            Target::Embedded(client) => Connection::Lamina(client.clone()),
            Target::Unary(addresses) => {
                let opened = unary::Connection::open(turn(addresses, n)).await;
                Connection::Unary(opened.map_err(unreachable)?)
            }
            Target::Etcd(addresses) => {
                let opened = etcd::Connection::open(turn(addresses, n)).await;
                Connection::Etcd(opened.map_err(unreachable)?)
            }
            Target::Redis(address) => {
                let opened = redis::Connection::open(address).await;
                Connection::Redis(opened.map_err(|error| unreachable(error.to_string()))?)
            }
        };
        let proof = Ask::Get { key: Bytes::from_static(b"lamina-bench-hello") };
        let proven = match &connection {
            Connection::Lamina(client) => {
                let soon = Options { deadline: CONNECT_TIMEOUT, ..Options::default() };
                lamina(&client.clone().with(soon), proof).await
            }
            other => other.call(proof).await,
        };
        proven.map_err(|failed| unreachable(failed.message))?;
        Ok(connection)
    }
}

impl Connection {
    /// Carries out one operation. Any number may be under way.
    ///
    /// # Errors
    /// The store refused it, or did not answer.
    pub async fn call(&self, ask: Ask) -> Result<Brought, Failed> {
        match self {
            Connection::Lamina(client) => lamina(client, ask).await,
            Connection::Unary(connection) => connection.call(ask).await,
            Connection::Etcd(connection) => connection.call(ask).await,
            Connection::Redis(connection) => connection.call(ask).await,
        }
    }
}

/// The address whose turn it is for connection `n`.
fn turn(addresses: &[String], n: usize) -> &str {
    addresses.get(n % addresses.len().max(1)).map_or("", String::as_str)
}

async fn lamina(client: &Client, ask: Ask) -> Result<Brought, Failed> {
    let failed =
        |error: lamina_types::Error| Failed { word: error.reason().to_string(), message: error.to_string() };
    match ask {
        Ask::Get { key } => {
            let found = client.get(key).await.map_err(failed)?;
            Ok(found.map_or(Brought::default(), |found| Brought { rows: 1, bytes: found.value.len() as u64 }))
        }
        Ask::Put { key, value } => client.put(key, value).await.map_err(failed).map(|_| Brought::default()),
        Ask::Delete { key } => client.delete(key).await.map_err(failed).map(|_| Brought::default()),
        Ask::Scan { from, rows } => {
            let options = ScanOptions {
                limit: Some(u64::from(rows)),
                page_rows: rows.min(lamina_types::limits::SCAN_ROWS_MAX),
                ..ScanOptions::range(KeyRange::new(from, None))
            };
            let mut scanner = client.scan(options);
            let mut brought = Brought::default();
            while let Some(row) = scanner.next().await.map_err(failed)? {
                brought.rows += 1;
                brought.bytes += (row.key.len() + row.value.len()) as u64;
            }
            Ok(brought)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Lamina(addresses) => write!(f, "lamina://{}", addresses.join(",")),
            Target::Embedded(_) => f.write_str("lamina, in this process"),
            Target::Unary(addresses) => write!(f, "grpc://{}", addresses.join(",")),
            Target::Etcd(addresses) => write!(f, "etcd://{}", addresses.join(",")),
            Target::Redis(address) => write!(f, "redis://{address}"),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Target {
    type Err = String;
    fn from_str(text: &str) -> Result<Target, String> {
        let bad = || {
            "a target reads lamina://host:port,…, grpc://host:port,…, etcd://host:port,… or redis://host:port"
                .to_owned()
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let addresses: Vec<String> = rest.trim_end_matches('/').split(',').map(str::to_owned).collect();
        if addresses.iter().any(|address| !address.contains(':')) {
            return Err(bad());
        }
        match (scheme, addresses.as_slice()) {
            ("lamina", _) => Ok(Target::Lamina(addresses)),
            ("grpc", _) => Ok(Target::Unary(addresses)),
            ("etcd", _) => Ok(Target::Etcd(addresses)),
            ("redis", [address]) => Ok(Target::Redis(address.clone())),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_back_from_their_text_and_others_are_refused() {
        for text in ["lamina://a:1,b:2", "grpc://a:1,b:2", "etcd://a:1,b:2,c:3", "redis://127.0.0.1:6379"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in ["a:1", "lamina://", "mysql://a:1", "redis://a:1,b:2", "lamina://a"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
