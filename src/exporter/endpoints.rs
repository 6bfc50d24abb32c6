//! What the server answers: `/metrics`, `/healthz`, `/readyz`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tower_http::compression::CompressionLayer;

use super::page::Page;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn router(page: Arc<Page>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .layer(CompressionLayer::new().gzip(true))
        .with_state(page)
}

/// NB: rendered on this thread, which does nothing else: two scrapes at once take turns.
async fn metrics(State(page): State<Arc<Page>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TEXT)], page.render())
}

async fn readyz(State(page): State<Arc<Page>>) -> impl IntoResponse {
    let (ready, answer) = page.readiness();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], answer)
}
