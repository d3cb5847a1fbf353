//! The HTTP door of a whole store: its metrics are those of the documentation, readiness, the status for the page; and
//! the trace of a request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lamina_client::Client;
use lamina_local::{NodeOptions, StatusPage, Store, UpOptions, run_index};
use lamina_peers::admin::{Figures, Status};
use lamina_types::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::rig::free_address;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");

async fn open(dir: &tempfile::TempDir) -> Store {
    let options = UpOptions {
        listen: Some("127.0.0.1:0".to_owned()),
        admin_listen: Some("127.0.0.1:0".to_owned()),
        page: Some(StatusPage { html: "<p>the page</p>", json: |status: &Status| nodes(status).join(" ") }),
        ..UpOptions::embedded(dir.path().join("store"))
    };
    Store::up(options).await.unwrap()
}

fn nodes(status: &Status) -> Vec<String> {
    status.nodes.iter().map(|node| node.node.to_string()).collect()
}

async fn ask(store: &Store, path: &str) -> String {
    ask_at(&store.endpoints().status[0], path).await.unwrap()
}

async fn ask_at(address: &str, path: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: lamina\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Name and type of everything that is shown, as the documentation calls it.
fn shown(metrics: &str) -> BTreeSet<(String, String)> {
    let families = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    families
        .map(|family| {
            let (name, kind) = family.split_once(' ').unwrap();
            let end = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            (format!("{name}{end}"), kind.to_owned())
        })
        // Shown only by programs that run on jemalloc; tests may.
        .filter(|(name, _)| {
            !["lamina_process_allocated_bytes", "lamina_process_resident_bytes"].contains(&&**name)
        })
        .collect()
}

/// The same of the tables of the documentation, without what only jemalloc tells.
fn documented() -> BTreeSet<(String, String)> {
    let text = std::fs::read_to_string(DOCUMENT).unwrap();
    // The operator is another program, and has a test of its own.
    let elsewhere = |line: &&str| line.contains("(jemalloc only)") || line.starts_with("| `lamina_operator_");
    let rows = text.lines().filter(|line| line.starts_with("| `lamina_") && !elsewhere(line));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let kind = cells[2].split([',', ' ']).next().unwrap();
        (cells[1].trim_matches('`').to_owned(), kind.to_owned())
    })
    .collect()
}

/// All samples of a name together, over nodes and groups.
fn sum(metrics: &str, name: &str) -> u64 {
    let samples = metrics.lines().filter(|line| line.starts_with(name));
    samples.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// What is on one side only.
fn differences(metrics: &str) -> String {
    let (shown, documented) = (shown(metrics), documented());
    let undocumented: Vec<_> = shown.difference(&documented).collect();
    let unshown: Vec<_> = documented.difference(&shown).collect();
    format!("not documented: {undocumented:?}; not shown: {unshown:?}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_is_documented_and_every_documented_metric_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let client = Client::connect([store.endpoints().clients[0].clone()]);
    client.put("hello", "world").await.unwrap();
    // Some figures are there only once they were looked at, and nodes hear of assignments and leaders one by one.
    let deadline = Instant::now() + Duration::from_secs(60);
    let metrics = loop {
        let metrics = ask(&store, "/metrics").await;
        let assigned = sum(&metrics, "lamina_index_shards{");
        let told = sum(&metrics, "lamina_frontend_leader_known{");
        // Each of 64 shards to two nodes; each of three replicas of two groups.
        if shown(&metrics) == documented() && (assigned, told) == (64 * 2, 3 * 2) {
            break metrics;
        }
        let differences = differences(&metrics);
        assert!(
            Instant::now() < deadline,
            "{assigned} {told}; docs/metrics.md is not /metrics: {differences}"
        );
        tokio::task::yield_now().await;
    };
    for node in ["frontend-0", "frontend-2", "index-1", "data-2"] {
        assert!(metrics.contains(&format!("node=\"{node}\"")), "{node}");
    }
    assert_eq!(sum(&metrics, "lamina_frontend_writes_total{"), 1, "one write, counted by its leader");
    assert!(
        metrics.contains(r#"lamina_rpc_calls_total{port="kv",operation="Write",result="OK"} 1"#),
        "{metrics}"
    );
    let of = |name: &str| sum(&metrics, name);
    assert_eq!(of("lamina_frontend_leading{"), 2, "one leader of the data group, and one of the meta group");
    assert!(of("lamina_frontend_applied_index{") >= 3, "{metrics}");
    assert!(of("lamina_frontend_log_sync_seconds_count{") > 0, "{metrics}");
    assert_eq!(of("lamina_frontend_log_batch_records_count{"), of("lamina_frontend_log_syncs_total{"));
    assert!(of("lamina_data_volume_free_bytes{") > 0 && of("lamina_frontend_volume_free_bytes{") > 0);
    let version = format!("lamina_process_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(metrics.contains(&version), "{metrics}");
    store.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_serves_is_ready_and_shows_its_page() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    // Index nodes tell that they are complete with their next heartbeat.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let ready = ask(&store, "/ready").await;
        if ready.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(ready.starts_with("HTTP/1.1 503") && Instant::now() < deadline, "{ready}");
        tokio::task::yield_now().await;
    }
    assert!(ask(&store, "/").await.contains("<p>the page</p>"));
    let status = ask(&store, "/status.json").await;
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    let told = nodes(&store.client().status().await.unwrap());
    assert_eq!(told.len(), 9);
    assert!(told.iter().all(|node| status.contains(node)), "{status}");
    store.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_serves_nothing_yet_lives_and_is_not_ready() {
    let admin = free_address();
    let options = NodeOptions {
        name: "index-7".to_owned(),
        dir: "unused".into(),
        listen: "127.0.0.1:0".to_owned(),
        admin_listen: Some(admin.clone()),
        advertise: "127.0.0.1:1".to_owned(),
        // Nobody is there.
        seeds: vec!["127.0.0.1:1".to_owned()],
        zone: String::new(),
        memory_bytes: 1 << 20,
        log_segment_bytes: 0,
        checkpoint_log_bytes: 0,
        version: "1.2.3".to_owned(),
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let node = tokio::spawn(run_index(options, async { drop(stopped.await) }));
    let deadline = Instant::now() + Duration::from_secs(60);
    let live = loop {
        match ask_at(&admin, "/live").await {
            Ok(live) => break live,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    };
    assert!(live.starts_with("HTTP/1.1 200"), "{live}");
    let ready = ask_at(&admin, "/ready").await.unwrap();
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(ready.contains("0 of 1 nodes of the role index serve"), "{ready}");
    let metrics = ask_at(&admin, "/metrics").await.unwrap();
    assert!(metrics.contains("lamina_index_memory_limit_bytes{node=\"index-7\"} 1048576"), "{metrics}");
    assert!(metrics.contains("lamina_process_build_info{version=\"1.2.3\"} 1"), "{metrics}");
    stop.send(()).unwrap();
    node.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_frontend_tells_its_own_figures() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    store.client().put("hello", "world").await.unwrap();
    let status = store.client().status().await.unwrap();
    let frontends: Vec<_> = status
        .nodes
        .iter()
        .filter_map(|node| match &node.figures {
            Figures::Frontend(stats) => Some(*stats),
            _ => None,
        })
        .collect();
    assert_eq!(frontends.len(), status.view.nodes_of(Role::Frontend).count());
    assert!(frontends.iter().all(|stats| stats.log_bytes > 0 && stats.free_bytes > 0), "{frontends:?}");
    assert!(frontends.iter().all(|stats| stats.replicas > 0), "each holds a replica: {frontends:?}");
    assert_eq!(frontends.iter().map(|stats| stats.writes).sum::<u64>(), 1);
    store.down().await;
}

/// Spans of requests, as they are opened.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<BTreeMap<&'static str, String>>>>);

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.name() == "request"
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let mut all = self.0.lock().unwrap();
        all.push(fields.0);
        Id::from_u64(all.len() as u64)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_has_one_span_on_each_node_that_it_comes_to_and_all_have_its_id() {
    let spans = Spans::default();
    // Of the whole process: tasks of the store run on other threads. No other test here looks at spans.
    tracing::subscriber::set_global_default(spans.clone()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    let client = Client::connect([store.endpoints().clients[0].clone()]);
    client.put("hello", "world").await.unwrap();
    client.flush(false).await.unwrap();
    spans.0.lock().unwrap().clear();
    client.get("hello").await.unwrap().unwrap();
    let all = spans.0.lock().unwrap().clone();
    let of = |id: &str| all.iter().filter(|span| span["id"] == id).collect::<Vec<_>>();
    let at = |spans: &[&BTreeMap<_, String>], role: &str, operation: &str| {
        spans.iter().any(|span| span["node"].starts_with(role) && span["operation"] == operation)
    };
    let gets = all.iter().filter(|span| span["operation"] == "Get" && span["node"].starts_with("frontend-"));
    let whole = gets
        .map(|get| of(&get["id"]))
        .find(|same| at(same, "index", "Lookup") && at(same, "data", "ReadBlocks"));
    let same = whole.unwrap_or_else(|| panic!("no get is followed to its blocks: {all:?}"));
    assert_eq!(same[0]["id"].len(), 32, "{same:?}");
    let places: BTreeSet<_> = same.iter().map(|span| (&span["node"], &span["operation"])).collect();
    assert_eq!(places.len(), same.len(), "one span on each node: {same:?}");
    store.down().await;
}
