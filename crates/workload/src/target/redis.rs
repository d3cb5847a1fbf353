//! RESP2, pipelined: one task writes whatever is queued at once, one reads answers, which come in the order of requests.

use std::io;

use bytes::{Buf, BytesMut};
use futures::channel::oneshot;
use lamina_env::task;
use lamina_env::time::{self, Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::{Ask, Brought, Failed};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests that are written at once.
const WRITTEN_AT_ONCE: usize = 256;
/// An answer longer than this is no answer of ours.
const REPLY_BYTES_MAX: usize = 64 << 20;

type Waiter = oneshot::Sender<Reply>;

/// A socket with its two tasks, which end when the connection is dropped.
pub struct Connection {
    requests: mpsc::UnboundedSender<(Vec<u8>, Waiter)>,
    tasks: task::TaskGroup,
}

/// An answer, as far as we need it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Reply {
    Status,
    Number,
    Nothing,
    Bulk(usize),
    Error(String),
}

impl Connection {
    pub(super) async fn open(address: &str) -> io::Result<Connection> {
        let connect = time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
        let socket = connect.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        socket.set_nodelay(true)?;
        let (read, write) = socket.into_split();
        let tasks = task::TaskGroup::new();
        let (requests, queued) = mpsc::unbounded_channel();
        let (waiters, waiting) = mpsc::unbounded_channel();
        tasks.spawn(write_requests(write, queued, waiters));
        tasks.spawn(read_replies(read, waiting));
        Ok(Connection { requests, tasks })
    }

    pub(super) async fn call(&self, ask: Ask) -> Result<Brought, Failed> {
        let request = match &ask {
            Ask::Get { key } => command(&[b"GET", key]),
            Ask::Put { key, value } => command(&[b"SET", key, value]),
            Ask::Delete { key } => command(&[b"DEL", key]),
            Ask::Scan { .. } => return Err(failed("Unsupported", "Redis keeps no order of keys")),
        };
        let gone = || failed("Unreachable", "the connection to Redis is closed");
        let (waiter, reply) = oneshot::channel();
        self.requests.send((request, waiter)).map_err(|_| gone())?;
        let reply = time::timeout(CALL_TIMEOUT, reply).await;
        match reply.map_err(|_| failed("TimedOut", "Redis did not answer in 10 s"))?.map_err(|_| gone())? {
            Reply::Bulk(length) => Ok(Brought { rows: 1, bytes: length as u64 }),
            Reply::Error(message) => Err(failed(message.split(' ').next().unwrap_or("ERR"), &message)),
            Reply::Status | Reply::Number | Reply::Nothing => Ok(Brought::default()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

fn failed(word: &str, message: &str) -> Failed {
    Failed { word: word.to_owned(), message: message.to_owned() }
}

/// A command as an array of bulk strings.
fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out
}

async fn write_requests(
    mut socket: OwnedWriteHalf,
    mut queued: mpsc::UnboundedReceiver<(Vec<u8>, Waiter)>,
    waiters: mpsc::UnboundedSender<Waiter>,
) {
    let mut batch = Vec::with_capacity(WRITTEN_AT_ONCE);
    let mut bytes = Vec::new();
    while queued.recv_many(&mut batch, WRITTEN_AT_ONCE).await > 0 {
        bytes.clear();
        for (request, waiter) in batch.drain(..) {
            bytes.extend_from_slice(&request);
            // Before the bytes go out: the reader must know who waits.
            if waiters.send(waiter).is_err() {
                return;
            }
        }
        if socket.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Ends when the socket does; then all who still wait are told by the drop of their senders.
async fn read_replies(mut socket: OwnedReadHalf, mut waiting: mpsc::UnboundedReceiver<Waiter>) {
    let mut buffer = BytesMut::with_capacity(64 << 10);
    loop {
        match parse(&buffer) {
            Ok(Some((reply, length))) => {
                buffer.advance(length);
                let Some(waiter) = waiting.recv().await else { return };
                waiter.send(reply).ok();
            }
            Ok(None) => match socket.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            },
            Err(Malformed) => return,
        }
    }
}

/// Bytes that are no answer to our commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Malformed;

/// The first answer in `bytes`, with its length; `None`: it has not come whole yet.
fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>, Malformed> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() > 64 << 10 { Err(Malformed) } else { Ok(None) };
    };
    let line = bytes.get(..end).ok_or(Malformed)?;
    let (kind, text) = line.split_first().ok_or(Malformed)?;
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    let head = end + 2;
    match kind {
        b'+' => Ok(Some((Reply::Status, head))),
        b'-' => Ok(Some((Reply::Error(text.to_owned()), head))),
        b':' => Ok(Some((Reply::Number, head))),
        b'$' if text == "-1" => Ok(Some((Reply::Nothing, head))),
        b'$' => {
            let length: usize = text.parse().map_err(|_| Malformed)?;
            if length > REPLY_BYTES_MAX {
                return Err(Malformed);
            }
            match bytes.get(head + length..head + length + 2) {
                None => Ok(None),
                Some(b"\r\n") => Ok(Some((Reply::Bulk(length), head + length + 2))),
                Some(_) => Err(Malformed),
            }
        }
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn replies_are_read_one_by_one_and_only_when_whole() {
        assert_eq!(parse(b"+OK\r\n:1\r\n"), Ok(Some((Reply::Status, 5))));
        assert_eq!(parse(b"$3\r\na\r\n\r\n"), Ok(Some((Reply::Bulk(3), 9))));
        assert_eq!(parse(b"$-1\r\n"), Ok(Some((Reply::Nothing, 5))));
        assert_eq!(parse(b"-ERR no\r\n"), Ok(Some((Reply::Error("ERR no".into()), 9))));
        for part in [&b""[..], b"$3", b"$3\r\nab", b"$3\r\nabc\r"] {
            assert_eq!(parse(part), Ok(None), "{part:?}");
        }
        for bad in [&b"?\r\n"[..], b"$x\r\n", b"$1\r\nabc", b"\r\n", b"$99999999999\r\n"] {
            assert_eq!(parse(bad), Err(Malformed), "{bad:?}");
        }
    }

    /// A server that keeps keys in memory and answers all commands of a read at once.
    async fn serve(listener: TcpListener) {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut stored = std::collections::BTreeMap::new();
        let mut buffer = Vec::new();
        loop {
            while let Some((parts, used)) = read_command(&buffer) {
                buffer.drain(..used);
                let reply = match parts[0].as_slice() {
                    b"SET" => {
                        stored.insert(parts[1].clone(), parts[2].clone());
                        b"+OK\r\n".to_vec()
                    }
                    b"GET" => match stored.get(&parts[1]) {
                        Some(value) => [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat(),
                        None => b"$-1\r\n".to_vec(),
                    },
                    b"DEL" => format!(":{}\r\n", u8::from(stored.remove(&parts[1]).is_some())).into_bytes(),
                    _ => b"-ERR unknown command\r\n".to_vec(),
                };
                socket.write_all(&reply).await.unwrap();
            }
            if socket.read_buf(&mut buffer).await.unwrap() == 0 {
                return;
            }
        }
    }

    fn read_command(buffer: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
        let line = |from: usize| {
            let end = from + buffer.get(from..)?.windows(2).position(|pair| pair == b"\r\n")?;
            let number: usize = std::str::from_utf8(&buffer[from + 1..end]).unwrap().parse().unwrap();
            Some((number, end + 2))
        };
        let (count, mut at) = line(0)?;
        let mut parts = Vec::new();
        for _ in 0..count {
            let (length, start) = line(at)?;
            parts.push(buffer.get(start..start + length)?.to_vec());
            at = start + length + 2;
        }
        (at <= buffer.len()).then_some((parts, at))
    }

    #[tokio::test]
    async fn many_commands_on_one_socket_each_get_their_own_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = task::spawn(serve(listener));
        let connection = Connection::open(&address).await.unwrap();
        use bytes::Bytes;

        let key = |n: usize| Bytes::from(format!("k{n}"));
        let puts =
            (0..500).map(|n| connection.call(Ask::Put { key: key(n), value: Bytes::from(vec![b'\n'; n]) }));
        assert!(futures::future::join_all(puts).await.iter().all(Result::is_ok));
        let gets = (0..500).map(|n| connection.call(Ask::Get { key: key(n) }));
        for (n, got) in futures::future::join_all(gets).await.into_iter().enumerate() {
            assert_eq!(got, Ok(Brought { rows: 1, bytes: n as u64 }));
        }
        assert_eq!(connection.call(Ask::Delete { key: key(7) }).await, Ok(Brought::default()));
        assert_eq!(connection.call(Ask::Get { key: key(7) }).await, Ok(Brought::default()));
        server.abort();
        let lost = connection.call(Ask::Get { key: key(1) }).await.unwrap_err();
        assert_eq!(lost.word, "Unreachable");
    }
}
