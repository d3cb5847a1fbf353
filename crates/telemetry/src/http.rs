//! The HTTP door for people and machines that watch: `/live`, `/ready`, `/metrics`, and a page at `/` with `/status.json`.
//!
//! It serves no data and changes nothing. It has a port of its own, so that it answers while the service is busy.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use lamina_env::task::{self, JoinHandle};
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Says whether the service is ready; if not, why, in one sentence.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Gives the present state as JSON, or why it cannot.
pub type Status = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<String, String>> + Send>> + Send + Sync>;

/// The page at `/` and what it shows.
#[derive(Clone)]
pub struct Page {
    /// One document without anything from elsewhere; it asks for `status.json` by itself.
    pub html: &'static str,
    /// What is served at `/status.json`.
    pub status: Status,
}

/// The page runs its own script and style, talks to its own door, and takes nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the door shows.
#[derive(Clone)]
pub struct HttpOptions {
    /// Where to listen: `host:port`; port 0 is any free one.
    pub listen: String,
    /// The metrics.
    pub metrics: Metrics,
    /// Whether the service is ready.
    pub ready: Ready,
    /// The page at `/`; `None`: a list of the paths.
    pub page: Option<Page>,
}

/// The open door. Dropping it closes it.
#[derive(Debug)]
pub struct HttpDoor {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl HttpDoor {
    /// Opens the door; it is served by a task of the group of the caller.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn open(options: HttpOptions) -> io::Result<HttpDoor> {
        let listener = TcpListener::bind(&options.listen).await?;
        let address = listener.local_addr()?;
        let router = router(options);
        let task = task::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the HTTP door has closed by itself");
            }
        });
        Ok(HttpDoor { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpDoor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(options: HttpOptions) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/status.json", get(status))
        .with_state(Arc::new(options))
}

async fn page(State(options): State<Arc<HttpOptions>>) -> Response {
    let html = options.page.as_ref().map_or(
        "<p><a href=\"/live\">live</a> <a href=\"/ready\">ready</a> <a href=\"/metrics\">metrics</a></p>",
        |page| page.html,
    );
    ([(header::CONTENT_SECURITY_POLICY, POLICY), (header::CACHE_CONTROL, "no-cache")], Html(html))
        .into_response()
}

async fn status(State(options): State<Arc<HttpOptions>>) -> Response {
    let Some(page) = &options.page else {
        return (StatusCode::NOT_FOUND, "this process shows no status; ask a frontend: lamina status\n")
            .into_response();
    };
    match (page.status)().await {
        Ok(json) => {
            let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
            (headers, json).into_response()
        }
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn ready(State(options): State<Arc<HttpOptions>>) -> Response {
    match (options.ready)() {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics(State(options): State<Arc<HttpOptions>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], options.metrics.encode()).into_response()
}
