//! What both sides of the wire agree on, and what bounds each. The figures come from measurements of one hop.

use std::time::Duration;

use lamina_types::limits::MESSAGE_BYTES_MAX;

/// Operations or answers in one message.
pub const BATCH_OPS_MAX: usize = 128;
/// Bytes of one message, unless one operation alone is larger.
pub const BATCH_BYTES_MAX: usize = 64 << 10;

/// Operations without an answer on one stream, as the server grants them.
pub const CREDIT_OPS: u32 = 1024;
/// Their bytes.
pub const CREDIT_BYTES: u64 = 4 << 20;
/// What a client may send before it knows what is granted.
pub const FIRST_CREDIT_OPS: u32 = 128;
/// The bytes of it.
pub const FIRST_CREDIT_BYTES: u64 = 256 << 10;
/// Operations that wait at the caller because the credits are used up; more are refused.
pub const QUEUE_OPS_MAX: usize = 16 << 10;
/// Their bytes.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// The largest message that is decoded: one operation of the largest size, and what stands around it.
pub const DECODE_BYTES_MAX: usize = MESSAGE_BYTES_MAX + BATCH_BYTES_MAX;

/// HTTP/2 window of a stream.
pub const STREAM_WINDOW_BYTES: u32 = 8 << 20;
/// HTTP/2 window of a connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Largest HTTP/2 frame that a server or a connection for operations receives.
pub const FRAME_BYTES: u32 = 64 << 10;
/// Largest HTTP/2 frame that a client receives on a connection for bulk bytes.
pub const BULK_FRAME_BYTES: u32 = 256 << 10;
/// HTTP/2 headers of one request.
pub const HEADER_BYTES_MAX: u32 = 8 << 10;
/// HTTP/2 streams of one connection.
pub const STREAMS_MAX: u32 = 256;
/// Unary calls at work on one connection; more are refused.
pub const HANDLERS_MAX: usize = 128;
/// Connections of one server; more wait to be accepted.
pub const CONNECTIONS_MAX: usize = 2048;

/// An HTTP/2 ping goes out this often, also on an idle connection. With what follows, a call with the usual deadline of ten
/// seconds learns in time that its frontend is gone without a word, and is made again elsewhere.
pub const KEEPALIVE: Duration = Duration::from_secs(2);
/// A ping that is not answered within this time ends the connection.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that has not begun to speak HTTP/2 within this time is closed.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Finding a name, connecting and opening a stream must be done within this time.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// After a failed connect, calls fail at once for about this long before the next attempt …
pub const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// … which doubles up to this.
pub const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// A server that stops ends what is left of its streams after this time.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
