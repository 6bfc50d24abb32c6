//! Files for browsers. There is no data in them: they ask for it.

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::get,
};

use super::live;
use crate::exporter::page::Page;

pub(super) struct File {
    pub(super) path: &'static str,
    pub(super) kind: &'static str,
    pub(super) content: &'static str,
}

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const SCRIPT: &str = "text/javascript; charset=utf-8";
pub(super) const STYLE: &str = "text/css; charset=utf-8";

/// For browsers, at paths where others get data.
static PAGES: &[File] = &[
    File { path: "/requests", kind: HTML, content: REQUESTS },
    File { path: "/failures", kind: HTML, content: REQUESTS },
];

static FILES: &[File] = &[
    File { path: "/assets/requests.js", kind: SCRIPT, content: include_str!("assets/requests.js") },
    File { path: "/assets/table.js", kind: SCRIPT, content: include_str!("assets/table.js") },
    File { path: "/assets/ask.js", kind: SCRIPT, content: include_str!("assets/ask.js") },
    File { path: "/assets/style.css", kind: STYLE, content: include_str!("assets/style.css") },
];

const REQUESTS: &str = include_str!("assets/requests.html");

/// Nothing from elsewhere, and nothing that stands in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::VARY, HeaderValue::from_static("accept")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // NB: another version of it is another page.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

/// NB: routes, so that they are there also where this router is one of several.
pub(super) fn router() -> Router<Arc<Page>> {
    FILES
        .iter()
        .chain(live::FILES)
        .fold(Router::new(), |router, file| router.route(file.path, get(async || file.answer())))
}

/// Answers browsers with a page where others get data.
pub(in crate::exporter) async fn pages(request: Request, next: Next) -> Response {
    match page(&request) {
        Some(page) => page.answer(),
        None => next.run(request).await,
    }
}

/// Whether a file is asked for, which has no data in it.
///
/// NB: a browser brings a token with what a page asks for, but cannot with the page.
pub(in crate::exporter) fn is_file(request: &Request) -> bool {
    let path = request.uri().path();
    let mut files = FILES.iter().chain(live::FILES);
    page(request).is_some() || (is_read(request) && files.any(|file| file.path == path))
}

fn page(request: &Request) -> Option<&'static File> {
    let page = PAGES.iter().find(|page| page.path == request.uri().path())?;
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    // NB: who takes anything, as curl does, gets the data.
    let is_browser = accept.is_some_and(|accept| accept.contains("text/html"));
    (is_read(request) && is_browser).then_some(page)
}

fn is_read(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

// === impl File ===

impl File {
    fn answer(&self) -> Response {
        (HEADERS, [(header::CONTENT_TYPE, self.kind)], self.content).into_response()
    }
}
