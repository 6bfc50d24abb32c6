//! What the server answers: `/metrics`, `/healthz`, `/readyz`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    middleware::from_fn_with_state,
    response::IntoResponse,
    routing::get,
};
use tower_http::compression::CompressionLayer;

use super::{
    page::Page,
    token::{self, Token},
};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// NB: the token is asked for outermost, also for what is not there: a route that is added needs
/// one unless `token` says otherwise.
pub(super) fn router(page: Arc<Page>, token: Option<Token>) -> Router {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .layer(CompressionLayer::new().gzip(true))
        .with_state(page);
    match token {
        Some(token) => router.layer(from_fn_with_state(token, token::guard)),
        None => router,
    }
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
