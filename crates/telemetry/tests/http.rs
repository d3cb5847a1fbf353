//! The HTTP door, asked as a browser or a kubelet would.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lamina_telemetry::http::Page;
use lamina_telemetry::{HttpDoor, HttpOptions, Metrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn ask(door: &HttpDoor, path: &str) -> String {
    let mut socket = TcpStream::connect(door.address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: lamina\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_door_tells_life_readiness_metrics_and_shows_a_page() {
    let metrics = Metrics::new();
    metrics.counter("lamina_data_blocks_read_total", "Blocks read").unwrap().inc_by(12);
    let is_ready = Arc::new(AtomicBool::new(false));
    let ready = {
        let is_ready = is_ready.clone();
        move || if is_ready.load(Ordering::SeqCst) { Ok(()) } else { Err("shard 3 is loading".to_owned()) }
    };
    let options = HttpOptions {
        listen: "127.0.0.1:0".into(),
        metrics,
        ready: Arc::new(ready),
        page: Some(Page {
            html: "<h1>the store</h1>",
            status: Arc::new(|| Box::pin(async { Ok("{\"healthy\":true}".to_owned()) })),
        }),
    };
    let door = HttpDoor::open(options).await.unwrap();
    assert_ne!(door.address().port(), 0);
    assert!(ask(&door, "/live").await.starts_with("HTTP/1.1 200"));
    let waiting = ask(&door, "/ready").await;
    assert!(waiting.starts_with("HTTP/1.1 503") && waiting.contains("shard 3 is loading"), "{waiting}");
    is_ready.store(true, Ordering::SeqCst);
    assert!(ask(&door, "/ready").await.starts_with("HTTP/1.1 200"));
    let metrics = ask(&door, "/metrics").await;
    assert!(metrics.contains("lamina_data_blocks_read_total 12"), "{metrics}");
    assert!(metrics.contains("content-type: application/openmetrics-text"), "{metrics}");
    let page = ask(&door, "/").await;
    assert!(page.contains("<h1>the store</h1>"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    assert!(ask(&door, "/status.json").await.ends_with("\r\n\r\n{\"healthy\":true}"));
    assert!(ask(&door, "/elsewhere").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_closed_door_answers_nobody() {
    let options = HttpOptions {
        listen: "127.0.0.1:0".into(),
        metrics: Metrics::new(),
        ready: Arc::new(|| Ok(())),
        page: None,
    };
    let door = HttpDoor::open(options.clone()).await.unwrap();
    let address = door.address();
    assert!(HttpDoor::open(HttpOptions { listen: address.to_string(), ..options }).await.is_err(), "taken");
    drop(door);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while TcpStream::connect(address).await.is_ok() {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
}
