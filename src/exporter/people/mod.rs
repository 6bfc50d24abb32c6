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
    files::{files, is_file},
    live::History,
};
use super::page::Page;

/// What has data in it.
pub(super) fn data() -> Router<Arc<Page>> {
    requests::router().merge(live::router())
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
