//! Measures one hop: a closed loop of gets and puts over loopback, client and server as two processes.
//!
//! `hop serve` prints its address; `hop load ADDRESS IN_FLIGHT SECONDS` prints operations per second, latencies and the
//! processor time of both sides.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    reason = "a measuring tool, not the product"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lamina_peers::kv::{
    Found, Get, Got, Hello, KvAnswer, KvRequest, ReadAt, Write, WriteAction, WriteOperation, Written,
};
use lamina_peers::{KvPeer, Network, Port};
use lamina_rpc::{GrpcNetwork, ServerOptions, Services, serve};
use lamina_types::{Error, Reason, RequestContext, Result, Version};
use parking_lot::RwLock;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const KEYS: u64 = 100_000;

struct Memory(Vec<RwLock<BTreeMap<Bytes, Bytes>>>);

#[async_trait]
impl Port<KvRequest, KvAnswer> for Memory {
    async fn call(&self, _: RequestContext, request: KvRequest) -> Result<KvAnswer> {
        let part = |key: &Bytes| &self.0[usize::from(key[key.len() - 1]) % self.0.len()];
        match request {
            KvRequest::Get(get) => {
                let value = part(&get.key).read().get(&get.key).cloned();
                let value = value.map(|value| Found { value, version: Version(1), expires_ms: None });
                Ok(KvAnswer::Get(Got { value, read_at: Version(1) }))
            }
            KvRequest::Write(write) => {
                for operation in write.operations {
                    if let WriteAction::Put { value, .. } = operation.action {
                        let key = Bytes::copy_from_slice(&operation.key);
                        part(&key).write().insert(key, Bytes::copy_from_slice(&value));
                    }
                }
                Ok(KvAnswer::Write(Written { version: Version(2) }))
            }
            // Tells the processor time of this side, in the only text that an error has.
            KvRequest::Hello(_) => {
                Err(Error::new(Reason::NotBuilt, processor_time().as_micros().to_string()))
            }
            _ => Err(Error::new(Reason::NotBuilt, "not measured")),
        }
    }
}

fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn key(n: u64) -> Bytes {
    Bytes::from(format!("key-{:012}", n.wrapping_mul(2_654_435_761) % KEYS))
}

async fn one(peer: &KvPeer, n: u64) -> Duration {
    let since = Instant::now();
    let context = RequestContext::new(u128::from(n) + 1, 10_000);
    if n.is_multiple_of(2) {
        peer.call(context, Get { key: key(n / 2), at: ReadAt::Newest }).await.unwrap();
    } else {
        let action = WriteAction::Put { value: Bytes::from(vec![7; 128]), ttl_ms: None };
        let operations = vec![WriteOperation { key: key(n / 2), action }];
        peer.call(context, Write { request_id: None, operations, conditions: vec![] }).await.unwrap();
    }
    since.elapsed()
}

async fn server_time(peer: &KvPeer) -> Duration {
    let hello = Hello { protocol: 1, cluster: None, required_features: vec![] };
    let told = peer.call(RequestContext::new(1, 10_000), hello).await.unwrap_err();
    Duration::from_micros(told.message().parse().unwrap())
}

async fn load(address: &str, in_flight: u64, seconds: u64) {
    let network = GrpcNetwork::new();
    let peer = network.kv(address);
    let mut n = 0;
    let mut calls = FuturesUnordered::new();
    let next = |n: &mut u64| {
        *n += 1;
        let (peer, n) = (peer.clone(), *n);
        tokio::spawn(async move { one(&peer, n).await })
    };
    calls.extend((0..in_flight).map(|_| next(&mut n)));
    let warm = Instant::now() + Duration::from_millis(500);
    while Instant::now() < warm {
        calls.next().await.unwrap().unwrap();
        calls.push(next(&mut n));
    }
    let (since, own, other) = (Instant::now(), processor_time(), server_time(&peer).await);
    let mut latencies = Vec::new();
    while since.elapsed() < Duration::from_secs(seconds) {
        latencies.push(calls.next().await.unwrap().unwrap());
        calls.push(next(&mut n));
    }
    let elapsed = since.elapsed();
    let (own, other) = (processor_time() - own, server_time(&peer).await - other);
    latencies.sort_unstable();
    let count = latencies.len();
    let per_op = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    println!(
        "{in_flight} in flight: {:.0} op/s, p50 {:?}, p99 {:?}, processor per op: client {:.2} µs, server {:.2} µs",
        count as f64 / elapsed.as_secs_f64(),
        latencies[count / 2],
        latencies[count * 99 / 100],
        per_op(own),
        per_op(other),
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("serve") => {
            let memory = Memory((0..64).map(|_| RwLock::default()).collect());
            let services = Services { kv: Some(KvPeer::new(Arc::new(memory))), ..Services::default() };
            let options =
                ServerOptions { listen: "127.0.0.1:0".into(), services, calls: None, reflection: false };
            let server = serve(options).await.unwrap();
            println!("{}", server.address());
            std::future::pending::<()>().await;
        }
        Some("load") => {
            load(&arguments[2], arguments[3].parse().unwrap(), arguments[4].parse().unwrap()).await
        }
        _ => println!("hop serve | hop load ADDRESS IN_FLIGHT SECONDS"),
    }
}
