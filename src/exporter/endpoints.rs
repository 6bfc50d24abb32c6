//! What the server answers.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode, header},
    middleware::{from_fn, from_fn_with_state, map_response},
    response::{IntoResponse, Response},
    routing::get,
};
use tower_http::compression::CompressionLayer;

use super::{
    page::Page,
    people, scrapes,
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
        .merge(people::router())
        .layer(from_fn(people::pages))
        .layer(CompressionLayer::new().gzip(true))
        // Outside of the compression, where the page ends when its last compressed byte is given.
        .layer(map_response(scrapes::watch))
        .with_state(page);
    match token {
        Some(token) => router.layer(from_fn_with_state(token, token::guard)),
        None => router,
    }
}

/// NB: rendered on the thread of the server: two scrapes at once take turns.
async fn metrics(method: Method, State(page): State<Arc<Page>>) -> Response {
    // Before it is rendered: it has what was counted until now.
    let scrape = (method == Method::GET).then(|| page.scrapes.begin());
    let mut response = ([(header::CONTENT_TYPE, TEXT)], page.render()).into_response();
    if let Some(scrape) = scrape {
        response.extensions_mut().insert(scrape);
    }
    response
}

async fn readyz(State(page): State<Arc<Page>>) -> impl IntoResponse {
    let (ready, answer) = page.readiness();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], answer)
}
