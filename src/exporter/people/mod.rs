//! What people look at: single requests, and a live page.

mod files;
#[cfg(feature = "dashboard")]
mod live;
#[cfg(not(feature = "dashboard"))]
#[path = "no_live.rs"]
mod live;
mod requests;
mod sums;

use std::sync::Arc;

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

pub(super) use self::{
    files::{is_file, pages},
    live::History,
};
use super::page::Page;

/// Data and files.
pub(super) fn router() -> Router<Arc<Page>> {
    requests::router().merge(live::router()).merge(files::router())
}

/// NB: of now, and of nobody else.
fn json(answer: &impl Serialize) -> Response {
    match serde_json::to_string(answer) {
        Ok(json) => {
            let kind = (header::CONTENT_TYPE, "application/json");
            ([kind, (header::CACHE_CONTROL, "no-store")], json).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
