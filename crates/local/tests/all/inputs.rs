//! What a client of any language may send to a real gRPC server in front of a whole store, and the exact answers.

use bytes::Bytes;
use lamina_env::time::{self, Duration};
use lamina_local::{Store, UpOptions};
use lamina_proto::{admin, kv, status, types};
use lamina_types::{Error, Reason};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

type Client = kv::kv_client::KvClient<Channel>;

async fn up(dir: &tempfile::TempDir) -> (Store, Client, String) {
    let options = UpOptions {
        listen: Some("127.0.0.1:0".to_owned()),
        log_segment_bytes: 8 << 20,
        ..UpOptions::embedded(dir.path().join("store"))
    };
    let store = Store::up(options).await.unwrap();
    let address = store.endpoints().clients[0].clone();
    let client = Client::connect(format!("http://{address}")).await.unwrap();
    (store, client, address)
}

/// Code and reason of a refusal, whose message is one sentence that holds no bytes of keys.
fn told(status: &Status) -> (Code, Reason) {
    let error: Error = status::from_status(status);
    assert!(!status.message().contains("secret") && !status.message().contains('\n'), "{status:?}");
    (status.code(), error.reason())
}

/// Asks again while the store has no leader, as on a busy machine it may for a moment: that is no answer to the input.
async fn settled<T>(mut ask: impl AsyncFnMut() -> Result<T, Status>) -> Result<T, Status> {
    let deadline = time::now() + Duration::from_secs(60);
    loop {
        match ask().await {
            Err(status) if status.code() == Code::Unavailable && time::now() < deadline => {
                time::sleep(Duration::from_millis(20)).await;
            }
            answer => return answer,
        }
    }
}

const INVALID: Code = Code::InvalidArgument;

async fn scanned(
    client: &mut Client,
    request: kv::ScanRequest,
) -> Result<(Vec<kv::Row>, Option<Bytes>), Status> {
    settled(async || {
        let mut stream = client.scan(request.clone()).await?.into_inner();
        let (mut rows, mut resume) = (Vec::new(), None);
        while let Some(page) = stream.message().await? {
            rows.extend(page.rows);
            resume = page.resume;
        }
        Ok((rows, resume))
    })
    .await
}

async fn put(client: &mut Client, request: kv::PutRequest) -> Result<(), Status> {
    settled(async || client.put(request.clone()).await.map(drop)).await
}

async fn write(client: &mut Client, request: kv::WriteRequest) -> Result<(), Status> {
    settled(async || client.write(request.clone()).await.map(drop)).await
}

async fn get(client: &mut Client, request: kv::GetRequest) -> Result<kv::GetResponse, Status> {
    settled(async || client.get(request.clone()).await.map(tonic::Response::into_inner)).await
}

fn range(start: &'static [u8], end: &'static [u8]) -> kv::ScanRequest {
    let range = types::KeyRange { start: Bytes::from_static(start), end: Some(Bytes::from_static(end)) };
    kv::ScanRequest { keys: Some(kv::scan_request::Keys::Range(range)), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_write_has_its_code_and_its_reason_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut client, _) = up(&dir).await;
    let of = |key: &'static str, value: usize| kv::PutRequest {
        key: key.into(),
        value: Bytes::from(vec![7; value]),
        ..Default::default()
    };
    let operation = |key: &'static str, action| kv::WriteOperation { key: key.into(), action };
    let value = || Some(kv::write_operation::Action::Put(kv::PutAction::default()));
    let batch = |operations: Vec<kv::WriteOperation>| kv::WriteRequest { operations, ..Default::default() };
    let condition = |expected| kv::Condition { key: "secret".into(), expected };

    let ttl = |ttl_ms| kv::PutRequest { ttl_ms: Some(ttl_ms), ..of("secret", 1) };
    let when = |expected| kv::PutRequest { conditions: vec![condition(expected)], ..of("secret", 1) };
    let named = |token: usize, seq| {
        let request_id = Some(kv::RequestId { token: vec![1; token].into(), base: 0, seq, done_below: 0 });
        kv::PutRequest { request_id, ..of("secret", 1) }
    };
    let long = kv::PutRequest { key: Bytes::from(vec![b'k'; 4097]), ..Default::default() };
    let puts = [
        (of("", 1), INVALID, Reason::KeyEmpty),
        (long, INVALID, Reason::KeyTooLarge),
        (of("secret", (1 << 20) + 1), INVALID, Reason::ValueTooLarge),
        (ttl(0), INVALID, Reason::TtlOutOfRange),
        (ttl(u64::MAX), INVALID, Reason::TtlOutOfRange),
        (when(None), INVALID, Reason::OpMissing),
        (when(Some(kv::condition::Expected::Present(true))), Code::Aborted, Reason::ConditionFailed),
        (when(Some(kv::condition::Expected::Version(5))), Code::Aborted, Reason::ConditionFailed),
        (named(15, 1), INVALID, Reason::FieldInvalid),
        (named(16, 0), INVALID, Reason::FieldInvalid),
        (of("secret", 9 << 20), Code::ResourceExhausted, Reason::MessageTooLarge),
    ];
    for (request, code, reason) in puts {
        let shown = format!("{:?}", request.ttl_ms);
        let status = put(&mut client, request).await.unwrap_err();
        assert_eq!(told(&status), (code, reason), "{shown}: {status:?}");
    }
    let many = (0..1001).map(|n: u32| kv::WriteOperation { key: format!("{n}").into(), action: value() });
    let writes = [
        (batch(vec![]), Reason::BatchEmpty),
        (batch(many.collect()), Reason::BatchTooLarge),
        (batch(vec![operation("secret", None)]), Reason::OpMissing),
        (batch(vec![operation("a", value()), operation("", value())]), Reason::KeyEmpty),
        (batch(vec![operation("secret", value()), operation("secret", value())]), Reason::DuplicateKey),
    ];
    for (request, reason) in writes {
        let status = write(&mut client, request).await.unwrap_err();
        assert_eq!(told(&status), (INVALID, reason), "{status:?}");
    }
    let (rows, resume) = scanned(&mut client, kv::ScanRequest::default()).await.unwrap();
    assert_eq!((rows.len(), resume), (0, None), "nothing was written");
    store.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_read_has_its_code_and_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut client, _) = up(&dir).await;
    let other = tempfile::tempdir().unwrap();
    let (other_store, mut other_client, _) = up(&other).await;
    for n in 0..30 {
        let request = kv::PutRequest { key: format!("secret-{n:02}").into(), ..Default::default() };
        put(&mut client, request.clone()).await.unwrap();
        put(&mut other_client, request).await.unwrap();
    }
    let scans = [
        (range(b"b", b"a"), INVALID, Reason::RangeInverted),
        (kv::ScanRequest { limit: 10_001, ..Default::default() }, INVALID, Reason::LimitOutOfRange),
        (kv::ScanRequest { limit: u32::MAX, ..Default::default() }, INVALID, Reason::LimitOutOfRange),
        (kv::ScanRequest { resume: Some(Bytes::new()), ..Default::default() }, INVALID, Reason::TokenInvalid),
    ];
    for (request, code, reason) in scans {
        let status = scanned(&mut client, request).await.unwrap_err();
        assert_eq!(told(&status), (code, reason), "{status:?}");
    }
    assert_eq!(scanned(&mut client, range(b"a", b"a")).await.unwrap().0, []);

    let first = kv::ScanRequest { limit: 10, ..Default::default() };
    let (rows, token) = scanned(&mut client, first.clone()).await.unwrap();
    let token = token.expect("the range goes on");
    assert_eq!(rows.len(), 10);
    let next = |resume: Bytes| kv::ScanRequest { resume: Some(resume), ..first.clone() };
    assert_eq!(scanned(&mut client, next(token.clone())).await.unwrap().0[0].key, "secret-10");
    let mut bad =
        vec![token.slice(..token.len() - 1), Bytes::from(vec![0; 40]), Bytes::from(vec![1; 4 << 10])];
    bad.extend((0..token.len()).map(|at| {
        let mut forged = token.to_vec();
        forged[at] ^= 1;
        Bytes::from(forged)
    }));
    let elsewhere = kv::ScanRequest { reverse: true, ..next(token.clone()) };
    let narrower = kv::ScanRequest { resume: Some(token.clone()), ..range(b"s", b"t") };
    for request in bad.into_iter().map(next).chain([elsewhere, narrower]) {
        let status = scanned(&mut client, request).await.unwrap_err();
        assert_eq!(told(&status), (INVALID, Reason::TokenInvalid), "{status:?}");
    }
    let status = scanned(&mut other_client, next(token)).await.unwrap_err();
    assert_eq!(told(&status), (INVALID, Reason::TokenInvalid), "of another store: {status:?}");

    let at = |at| kv::GetRequest { key: "secret-01".into(), at: Some(kv::ReadAt { at: Some(at) }) };
    let gets = [
        (kv::GetRequest::default(), INVALID, Reason::KeyEmpty),
        (at(kv::read_at::At::Version(u64::MAX)), INVALID, Reason::VersionInFuture),
        (
            at(kv::read_at::At::Snapshot(Bytes::from(vec![3; 16]))),
            Code::FailedPrecondition,
            Reason::SnapshotExpired,
        ),
        (at(kv::read_at::At::Snapshot(Bytes::from(vec![3; 5]))), INVALID, Reason::FieldInvalid),
    ];
    for (request, code, reason) in gets {
        let status = get(&mut client, request).await.unwrap_err();
        assert_eq!(told(&status), (code, reason), "{status:?}");
    }
    // A new store keeps everything until it first says how far back it can be read.
    let begun = time::now();
    let status = loop {
        match get(&mut client, at(kv::read_at::At::Version(1))).await {
            Err(status) => break status,
            Ok(_) => assert!(begun.elapsed() < time::Duration::from_secs(60), "version 1 can still be read"),
        }
    };
    assert_eq!(told(&status), (Code::FailedPrecondition, Reason::SnapshotExpired), "{status:?}");
    // A deadline that has passed is the library's own at this side; what the server says of it is tested where it is read.
    for timeout in ["soon", "-1S", "123456789S"] {
        let mut request = tonic::Request::new(kv::GetRequest { key: "secret-01".into(), at: None });
        request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
        let status = client.get(request).await.unwrap_err();
        assert_eq!(told(&status), (INVALID, Reason::FieldInvalid), "{timeout}: {status:?}");
    }
    other_store.down().await;
    store.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_in_every_layer_are_refused_and_the_store_serves_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut client, address) = up(&dir).await;
    let sound = kv::PutRequest { key: "a".into(), value: "1".into(), ..Default::default() };
    put(&mut client, sound).await.unwrap();
    let mut state = 88_172_645_463_325_252u64;
    let mut random = |length: usize| -> Vec<u8> {
        (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .collect()
    };
    // On the socket, and behind a sound preface.
    for round in 0..40 {
        let mut bytes =
            if round % 2 == 0 { b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec() } else { Vec::new() };
        bytes.extend(random(round * 37 + 9));
        let mut socket = TcpStream::connect(&address).await.unwrap();
        // The server may close before all is written.
        let _ = socket.write_all(&bytes).await;
        let _ = socket.shutdown().await;
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "round {round}: the connection stays");
    }
    // In the place of messages: whatever they decode to, the answer is a refusal or a success, never a defect.
    let (mut asked, mut refused) = (0, 0);
    for round in 0..4000 {
        let bytes = random(round % 90);
        let mut sound = None;
        if let Ok(request) = kv::WriteRequest::decode(&bytes[..]) {
            sound = Some(write(&mut client, request).await);
        } else if let Ok(request) = kv::ScanRequest::decode(&bytes[..]) {
            sound = Some(scanned(&mut client, request).await.map(drop));
        } else if let Ok(request) = kv::GetRequest::decode(&bytes[..]) {
            sound = Some(get(&mut client, request).await.map(drop));
        }
        let Some(answer) = sound else { continue };
        asked += 1;
        if let Err(status) = answer {
            refused += 1;
            assert!(!matches!(status.code(), Code::Internal | Code::Unknown), "{status:?}");
        }
    }
    assert!(asked > 50 && refused > 20, "{asked} asked, {refused} refused");
    // Of administration, what a number means that has no meaning.
    let mut admin = admin::admin_client::AdminClient::connect(format!("http://{address}")).await.unwrap();
    let set = admin::SetNodeStateRequest { node: Bytes::from(vec![1; 16]), from: 99, to: 1 };
    let status = admin.set_node_state(set).await.unwrap_err();
    assert_eq!(told(&status), (INVALID, Reason::UnknownEnum), "{status:?}");
    let got = get(&mut client, kv::GetRequest { key: "a".into(), at: None }).await.unwrap();
    assert_eq!(got.found.unwrap().value, "1");
    store.down().await;
}
