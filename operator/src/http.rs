//! `/healthz`, `/readyz` and `/metrics` of the operator.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lamina_env::task;
use lamina_telemetry::Metrics;
use tokio::net::TcpListener;

/// Whether the operator can work: it reaches the API server and knows the definitions. Not whether it holds the lease: who waits
/// for it is well.
#[derive(Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Serves until the process ends.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(listen: &str, readiness: Readiness, metrics: Metrics) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let router = Router::new()
        .route("/healthz", get(|| async { "well\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures))
        .with_state((readiness, metrics));
    drop(task::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the HTTP port has closed by itself");
        }
    }));
    Ok(())
}

async fn ready(State((readiness, _)): State<(Readiness, Metrics)>) -> Response {
    if readiness.0.load(Ordering::Acquire) {
        (StatusCode::OK, "ready\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the API server was not reached yet\n").into_response()
    }
}

async fn figures(State((_, metrics)): State<(Readiness, Metrics)>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.encode()).into_response()
}
