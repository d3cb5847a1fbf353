//! Connections by address, two to each: one for small operations and one for what is large.

use std::collections::BTreeMap;

use lamina_env::TaskGroup;
use lamina_types::{Error, Reason, Result};
use parking_lot::Mutex;
use tonic::transport::{Channel, Endpoint};

use crate::settings::{
    BULK_FRAME_BYTES, CONNECT_TIMEOUT, CONNECTION_WINDOW_BYTES, FRAME_BYTES, HEADER_BYTES_MAX, KEEPALIVE,
    KEEPALIVE_TIMEOUT, STREAM_WINDOW_BYTES,
};

/// What all links of a network share.
pub struct Connections {
    /// The tasks of the links.
    pub tasks: TaskGroup,
    channels: Mutex<BTreeMap<(String, Lane), Channel>>,
}

/// Which connection to an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Lane {
    /// Small operations.
    Operations,
    /// Tables, parts, snapshots.
    Bulk,
}

impl Connections {
    /// No connection yet.
    pub fn new() -> Connections {
        Connections { tasks: TaskGroup::new(), channels: Mutex::new(BTreeMap::new()) }
    }

    /// The connection to an address, which connects when it is first used and again when it broke. Must be called in
    /// the runtime.
    pub fn channel(&self, address: &str, lane: Lane) -> Result<Channel> {
        let mut channels = self.channels.lock();
        let key = (address.to_owned(), lane);
        if let Some(channel) = channels.get(&key) {
            return Ok(channel.clone());
        }
        let channel = endpoint(address, lane)?.connect_lazy();
        channels.insert(key, channel.clone());
        Ok(channel)
    }
}

fn endpoint(address: &str, lane: Lane) -> Result<Endpoint> {
    let frame = match lane {
        Lane::Operations => FRAME_BYTES,
        Lane::Bulk => BULK_FRAME_BYTES,
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| {
        let message = format!("{address:?} is no address of the form host:port: {error}");
        Error::new(Reason::Unreachable, message).with("sent", "no")
    })?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(frame)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}
