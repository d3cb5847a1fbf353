//! What a network does to calls: deadlines, dead servers, oversize, panics, garbage, shutdown.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use lamina_peers::admin::{AdminAnswer, AdminRequest, Watch};
use lamina_peers::data::{BlockRead, BlocksRead, DataAnswer, DataRequest, FileRead, ReadBlocks, ReadFile};
use lamina_peers::kv::{Found, Get, Got, KvAnswer, KvRequest, Page, ReadAt, Row, Written};
use lamina_peers::{AdminPeer, DataPeer, KvPeer, Network, Port};
use lamina_proto::{admin, kv};
use lamina_rpc::{GrpcNetwork, Guard, Identity, Server, ServerOptions, Services, serve};
use lamina_telemetry::{Calls, Metrics};
use lamina_types::{
    ClusterId, Error, GroupId, NodeId, Reason, Reign, RequestContext, Result, TableId, Version,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tonic::Code;

/// A store that knows a few keys.
#[derive(Clone)]
struct Toy {
    hold: Arc<Semaphore>,
    at_work: Arc<AtomicUsize>,
    abandoned: Arc<AtomicUsize>,
}

/// Counts a call as abandoned unless it came to its end.
struct AtWork<'a>(&'a Toy, bool);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::SeqCst);
        if !self.1 {
            self.0.abandoned.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Toy {
    fn new() -> Toy {
        Toy { hold: Arc::new(Semaphore::new(0)), at_work: Arc::default(), abandoned: Arc::default() }
    }

    async fn held(&self) {
        self.at_work.fetch_add(1, Ordering::SeqCst);
        let mut at_work = AtWork(self, false);
        self.hold.acquire().await.unwrap().forget();
        at_work.1 = true;
    }

    fn services(&self) -> Services {
        Services {
            kv: Some(KvPeer::new(Arc::new(self.clone()))),
            data: Some(DataPeer::new(Arc::new(self.clone()))),
            admin: Some(AdminPeer::new(Arc::new(self.clone()))),
            ..Services::default()
        }
    }

    async fn serve(&self) -> Server {
        self.serve_at("127.0.0.1:0").await.unwrap()
    }

    async fn serve_at(&self, listen: &str) -> Result<Server> {
        let options =
            ServerOptions { listen: listen.into(), services: self.services(), calls: None, reflection: true };
        serve(options).await
    }
}

#[async_trait]
impl Port<KvRequest, KvAnswer> for Toy {
    async fn call(&self, context: RequestContext, request: KvRequest) -> Result<KvAnswer> {
        match request {
            KvRequest::Get(get) => match get.key.as_ref() {
                b"panic" => panic!("the toy breaks"),
                b"hold" => {
                    self.held().await;
                    Ok(KvAnswer::Get(Got { value: None, read_at: Version(1) }))
                }
                b"deadline" => Err(Error::new(Reason::StateRefused, context.deadline_ms.to_string())),
                b"moved" if context.forwarded => {
                    Err(Error::new(Reason::NotOwner, "elsewhere").with("leader", "b:1").retry_after_ms(20))
                }
                _ => {
                    let value = Found { value: get.key, version: Version(7), expires_ms: None };
                    Ok(KvAnswer::Get(Got { value: Some(value), read_at: Version(9) }))
                }
            },
            KvRequest::Write(_) => Ok(KvAnswer::Write(Written { version: Version(11) })),
            KvRequest::Scan(_) => {
                let row = |n: u8| Row {
                    key: Bytes::from(vec![n]),
                    value: Bytes::from(vec![n; 400 << 10]),
                    version: Version(1),
                };
                let resume = Some(Bytes::from_static(b"token"));
                Ok(KvAnswer::Scan(Page { rows: (0..8).map(row).collect(), resume, read_at: Version(5) }))
            }
            _ => Err(Error::new(Reason::NotBuilt, "the toy does not")),
        }
    }
}

#[async_trait]
impl Port<DataRequest, DataAnswer> for Toy {
    async fn call(&self, _: RequestContext, request: DataRequest) -> Result<DataAnswer> {
        match request {
            DataRequest::ReadBlocks(read) => {
                let block = BlockRead::Stored(Bytes::from(vec![5; 1 << 20]));
                Ok(DataAnswer::ReadBlocks(BlocksRead { blocks: vec![block; read.blocks.len()] }))
            }
            DataRequest::ReadFile(read) => {
                let bytes = Bytes::from(vec![6; read.length as usize]);
                Ok(DataAnswer::ReadFile(FileRead { bytes, file_bytes: u64::from(read.length) }))
            }
            _ => Err(Error::new(Reason::NotBuilt, "the toy does not")),
        }
    }
}

#[async_trait]
impl Port<AdminRequest, AdminAnswer> for Toy {
    async fn call(&self, _: RequestContext, request: AdminRequest) -> Result<AdminAnswer> {
        if let AdminRequest::Watch(_) = request {
            self.held().await;
        }
        Err(Error::new(Reason::NotFound, "the toy has no view"))
    }
}

fn get(key: &'static [u8]) -> Get {
    Get { key: Bytes::from_static(key), at: ReadAt::Newest }
}

fn within(ms: u64) -> RequestContext {
    RequestContext::new(1, ms)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "it never came that {what}");
        tokio::task::yield_now().await;
    }
}

/// Calls until one succeeds.
async fn until_ok<T, F: Future<Output = Result<T>>>(mut call: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

fn reason<T>(answer: Result<T>) -> Reason {
    answer.err().map(|error| error.reason()).unwrap()
}

#[tokio::test]
async fn a_deadline_ends_the_wait_and_the_late_answer_reaches_nobody() {
    let toy = Toy::new();
    let server = toy.serve().await;
    let network = GrpcNetwork::new();
    let peer = network.kv(&server.address().to_string());
    let since = Instant::now();
    let error = peer.call(within(120), get(b"hold")).await.unwrap_err();
    assert_eq!((error.reason(), error.detail("sent")), (Reason::DeadlineExceeded, None));
    assert!(since.elapsed() >= Duration::from_millis(120), "{:?}", since.elapsed());
    toy.hold.add_permits(1);
    for _ in 0..100 {
        let got = peer.call(within(10_000), get(b"a")).await.unwrap();
        assert_eq!(got.value.unwrap().value, "a");
    }
    let error = peer.call(within(0), get(b"a")).await.unwrap_err();
    assert_eq!((error.reason(), error.detail("sent")), (Reason::DeadlineExceeded, Some("no")));
}

#[tokio::test]
async fn a_server_that_dies_fails_all_who_wait_and_is_found_again() {
    let toy = Toy::new();
    let server = toy.serve().await;
    let address = server.address().to_string();
    let network = GrpcNetwork::new();
    let peer = network.kv(&address);
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let peer = peer.clone();
            tokio::spawn(async move { peer.call(within(20_000), get(b"hold")).await })
        })
        .collect();
    until("50 calls are at work", || toy.at_work.load(Ordering::SeqCst) == 50).await;
    drop(server);
    for call in waiting {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!((error.reason(), error.detail("sent")), (Reason::Unreachable, None), "{error}");
        assert!(error.outcome_unknown());
    }
    until("the dead server's handlers are gone", || toy.at_work.load(Ordering::SeqCst) == 0).await;

    let server = until_ok(|| toy.serve_at(&address)).await;
    let got = until_ok(|| peer.call(within(5000), get(b"again"))).await;
    assert_eq!(got.read_at, Version(9));
    drop(server);
}

#[tokio::test]
async fn nobody_at_the_address_is_told_soon_and_says_that_nothing_was_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let network = GrpcNetwork::new();
    for _ in 0..20 {
        let error = network.kv(&address).call(within(10_000), get(b"a")).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Unreachable, "{error}");
        assert_eq!(error.detail("sent"), Some("no"), "{error}");
    }
    let error = network.kv("no address at all").call(within(10_000), get(b"a")).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Unreachable, "{error}");
}

#[tokio::test]
async fn a_service_that_is_not_offered_says_so() {
    let server = Toy::new().serve().await;
    let network = GrpcNetwork::new();
    let peer = network.index(&server.address().to_string());
    let answer = peer.call(within(10_000), lamina_peers::index::IndexStat {}).await;
    assert_eq!(reason(answer), Reason::NotBuilt);
}

#[tokio::test]
async fn large_messages_pass_up_to_the_limit_and_are_refused_alone_above_it() {
    let server = Toy::new().serve().await;
    let network = GrpcNetwork::new();
    let peer = network.data(&server.address().to_string());
    let table = TableId { group: GroupId(1), reign: Reign(2), n: 3 };
    let handle = lamina_types::BlockHandle { table, offset: 0, length: 1, block: 0 };
    let blocks = |n| ReadBlocks { blocks: vec![handle; n] };
    let read = peer.call(within(20_000), blocks(7)).await.unwrap();
    assert_eq!(read.blocks.len(), 7);
    let error = peer.call(within(20_000), blocks(8)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::MessageTooLarge, "{error}");
    let file = peer.call(within(20_000), ReadFile { table, offset: 0, length: 7 << 20 }).await.unwrap();
    assert_eq!(file.bytes.len(), 7 << 20);
    let piece = lamina_peers::data::WriteTable {
        table,
        stamp: lamina_types::CopyStamp { reign: Reign(2), n: 1 },
        offset: 0,
        bytes: Bytes::from(vec![0; 8 << 20]),
        seal: None,
    };
    let error = peer.call(within(20_000), piece).await.unwrap_err();
    assert_eq!((error.reason(), error.detail("sent")), (Reason::MessageTooLarge, Some("no")));
    assert_eq!(
        peer.call(within(20_000), blocks(1)).await.unwrap().blocks.len(),
        1,
        "the stream still stands"
    );
}

#[tokio::test]
async fn a_handler_that_panics_answers_with_a_bug_and_hurts_nobody_else() {
    let server = Toy::new().serve().await;
    let network = GrpcNetwork::new();
    let peer = network.kv(&server.address().to_string());
    let (broken, fine) =
        tokio::join!(peer.call(within(10_000), get(b"panic")), peer.call(within(10_000), get(b"fine")));
    let error = broken.unwrap_err();
    assert_eq!(error.reason(), Reason::Bug);
    assert!(error.detail("request_id").is_some() && !error.message().contains("breaks"), "{error}");
    assert!(fine.is_ok());
}

#[tokio::test]
async fn a_watch_that_nobody_waits_for_is_dropped_by_the_server() {
    let toy = Toy::new();
    let server = toy.serve().await;
    let network = GrpcNetwork::new();
    let peer = network.admin(&server.address().to_string());
    let watch =
        tokio::spawn(async move { peer.call(within(20_000), Watch { after: lamina_types::Epoch(1) }).await });
    until("the watch is at work", || toy.at_work.load(Ordering::SeqCst) == 1).await;
    watch.abort();
    until("the watch is abandoned", || toy.abandoned.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_server_that_drains_answers_what_is_at_work_and_takes_nothing_new() {
    let toy = Toy::new();
    let server = toy.serve().await;
    let network = GrpcNetwork::new();
    let peer = network.kv(&server.address().to_string());
    let held = tokio::spawn({
        let peer = peer.clone();
        async move { peer.call(within(20_000), get(b"hold")).await }
    });
    until("the call is at work", || toy.at_work.load(Ordering::SeqCst) == 1).await;
    let drained = tokio::spawn(server.drain());
    let refused = {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match peer.call(within(5000), get(b"new")).await {
                Ok(_) => assert!(Instant::now() < deadline, "never refused"),
                Err(error) => break error,
            }
        }
    };
    assert_eq!((refused.reason(), refused.detail("sent")), (Reason::NotReady, Some("no")), "{refused}");
    toy.hold.add_permits(1);
    assert!(held.await.unwrap().is_ok(), "what was at work is answered");
    tokio::time::timeout(Duration::from_secs(9), drained)
        .await
        .expect("it need not wait for the limit")
        .unwrap();
}

#[tokio::test]
async fn the_guard_stands_before_a_port_over_the_network_too() {
    let toy = Toy::new();
    let identity = Arc::new(Identity::new(Some(ClusterId(1)), Some(NodeId(2))));
    let data = Guard::members(DataPeer::new(Arc::new(toy)), identity);
    let services = Services { data: Some(data), ..Services::default() };
    let options = ServerOptions { listen: "127.0.0.1:0".into(), services, calls: None, reflection: false };
    let server = serve(options).await.unwrap();
    let network = GrpcNetwork::new();
    let peer = network.data(&server.address().to_string());
    let sender = |cluster| {
        let incarnation = lamina_types::Incarnation(1);
        Some(lamina_types::Sender { cluster: ClusterId(cluster), node: NodeId(9), incarnation })
    };
    let call = |sender, to| {
        let context = RequestContext { sender, to, ..within(10_000) };
        peer.call(context, ReadBlocks { blocks: vec![] })
    };
    assert!(call(sender(1), Some(NodeId(2))).await.is_ok());
    assert_eq!(reason(call(sender(3), None).await), Reason::ClusterMismatch);
    assert_eq!(reason(call(sender(1), Some(NodeId(7))).await), Reason::NodeMismatch);
    assert_eq!(reason(call(None, None).await), Reason::ClusterMismatch);
}

#[tokio::test]
async fn garbage_on_the_port_closes_its_connection_only() {
    let server = Toy::new().serve().await;
    let address = server.address();
    let garbage: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        &[0; 4096],
    ];
    for bytes in garbage {
        let mut socket = TcpStream::connect(address).await.unwrap();
        // The server may close before all is written.
        let _ = socket.write_all(bytes).await;
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(9), socket.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "{bytes:?} was not closed");
    }
    let network = GrpcNetwork::new();
    assert!(network.kv(&address.to_string()).call(within(10_000), get(b"a")).await.is_ok());
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let server = Toy::new().serve().await;
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut rest)).await;
    assert!(closed.is_ok());
}

async fn unary(server: &Server) -> kv::kv_client::KvClient<tonic::transport::Channel> {
    kv::kv_client::KvClient::connect(format!("http://{}", server.address())).await.unwrap()
}

#[tokio::test]
async fn unary_calls_carry_context_errors_and_details() {
    let server = Toy::new().serve().await;
    let mut client = unary(&server).await;
    let request = kv::GetRequest { key: "a".into(), at: None };
    let got = client.get(request).await.unwrap().into_inner();
    assert_eq!((got.found.unwrap().value.as_ref(), got.read_at), (&b"a"[..], 9));
    let put = kv::PutRequest { key: "a".into(), value: "b".into(), ..Default::default() };
    assert_eq!(client.put(put).await.unwrap().into_inner().version, 11);

    let status = client.get(kv::GetRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let error = lamina_proto::status::from_status(&status);
    assert_eq!((error.reason(), error.detail("limit")), (Reason::KeyEmpty, Some("4096")));

    let mut request = tonic::Request::new(kv::GetRequest { key: "moved".into(), at: None });
    request.metadata_mut().insert("lamina-no-forward", "true".parse().unwrap());
    request.metadata_mut().insert("lamina-request-id", "0000000000000000000000000000abcd".parse().unwrap());
    let status = client.get(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let error = lamina_proto::status::from_status(&status);
    assert_eq!((error.reason(), error.retry_after()), (Reason::NotOwner, Some(20)));
    assert_eq!(error.detail("leader"), Some("b:1"));
    assert_eq!(error.detail("request_id"), Some("0000000000000000000000000000abcd"));
}

#[tokio::test]
async fn unary_deadlines_hold_at_the_server_and_panics_are_internal() {
    let server = Toy::new().serve().await;
    let mut client = unary(&server).await;
    let mut request = tonic::Request::new(kv::GetRequest { key: "deadline".into(), at: None });
    request.set_timeout(Duration::from_secs(3));
    let told = client.get(request).await.unwrap_err();
    let left: u64 = told.message().parse().unwrap();
    assert!((2000..=3000).contains(&left), "{left}");
    let mut request = tonic::Request::new(kv::GetRequest { key: "hold".into(), at: None });
    request.metadata_mut().insert("grpc-timeout", "100m".parse().unwrap());
    let status = client.get(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let status = client.get(kv::GetRequest { key: "panic".into(), at: None }).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(lamina_proto::status::from_status(&status).reason(), Reason::Bug);
}

#[tokio::test]
async fn an_oversized_unary_request_is_resource_exhausted() {
    let server = Toy::new().serve().await;
    let mut client = unary(&server).await;
    let put = kv::PutRequest { key: "a".into(), value: Bytes::from(vec![0; 9 << 20]), ..Default::default() };
    let status = client.put(put).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(lamina_proto::status::from_status(&status).reason(), Reason::MessageTooLarge);
}

#[tokio::test]
async fn a_streamed_page_comes_in_chunks_of_at_most_1_mib_and_its_token_last() {
    let server = Toy::new().serve().await;
    let mut client = unary(&server).await;
    let mut stream = client.scan(kv::ScanRequest::default()).await.unwrap().into_inner();
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.message().await.unwrap() {
        assert!(prost::Message::encoded_len(&chunk) <= 1 << 20);
        assert_eq!(chunk.read_at, 5);
        chunks.push(chunk);
    }
    assert_eq!(chunks.iter().map(|chunk| chunk.rows.len()).sum::<usize>(), 8);
    let (last, others) = chunks.split_last().unwrap();
    assert!(last.resume.is_some() && others.iter().all(|chunk| chunk.resume.is_none()));
}

#[tokio::test]
async fn the_admin_service_has_unary_methods_and_refuses_another_store() {
    let toy = Toy::new();
    let identity = Arc::new(Identity::new(Some(ClusterId(5)), None));
    let peer = Guard::everybody(AdminPeer::new(Arc::new(toy)), identity);
    let services = Services { admin: Some(peer), ..Services::default() };
    let options = ServerOptions { listen: "127.0.0.1:0".into(), services, calls: None, reflection: false };
    let server = serve(options).await.unwrap();
    let address = format!("http://{}", server.address());
    let mut client = admin::admin_client::AdminClient::connect(address).await.unwrap();
    let status = client.identify(admin::IdentifyRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let mut request = tonic::Request::new(admin::ProbeRequest {});
    request.metadata_mut().insert("lamina-cluster", ClusterId(6).to_string().parse().unwrap());
    let status = client.probe(request).await.unwrap_err();
    assert_eq!(lamina_proto::status::from_status(&status).reason(), Reason::ClusterMismatch);
}

#[tokio::test]
async fn health_names_each_service_and_calls_are_counted() {
    let metrics = Metrics::new();
    let calls = Calls::register(&metrics).unwrap();
    let services = Toy::new().services();
    let options =
        ServerOptions { listen: "127.0.0.1:0".into(), services, calls: Some(calls), reflection: false };
    let server = serve(options).await.unwrap();
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address())).unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.connect().await.unwrap());
    let mut check = async |service: &str| {
        let request = tonic_health::pb::HealthCheckRequest { service: service.to_owned() };
        health.check(request).await.map(|answer| answer.into_inner().status)
    };
    assert_eq!(check("lamina.kv.v1.Kv").await.unwrap(), 1);
    assert!(check("lamina.raft.v1.Raft").await.is_err(), "not offered");
    server.set_serving(false).await;
    assert_eq!(check("lamina.kv.v1.Kv").await.unwrap(), 2);

    let network = GrpcNetwork::new();
    let peer = network.kv(&server.address().to_string());
    peer.call(within(10_000), get(b"a")).await.unwrap();
    unary(&server).await.get(kv::GetRequest { key: "a".into(), at: None }).await.unwrap();
    let text = metrics.encode();
    assert!(text.contains(r#"lamina_rpc_calls_total{port="kv",operation="Get",result="OK"} 2"#), "{text}");
}
