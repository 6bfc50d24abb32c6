//! Files for browsers. There is no data in them: they ask for it.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::live;

pub(super) struct File {
    pub(super) path: &'static str,
    pub(super) kind: &'static str,
    pub(super) content: &'static str,
}

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const SCRIPT: &str = "text/javascript; charset=utf-8";
pub(super) const STYLE: &str = "text/css; charset=utf-8";

static FILES: &[File] = &[
    File { path: "/requests", kind: HTML, content: include_str!("assets/requests.html") },
    File { path: "/failures", kind: HTML, content: include_str!("assets/requests.html") },
    File { path: "/assets/requests.js", kind: SCRIPT, content: include_str!("assets/requests.js") },
    File { path: "/assets/table.js", kind: SCRIPT, content: include_str!("assets/table.js") },
    File { path: "/assets/ask.js", kind: SCRIPT, content: include_str!("assets/ask.js") },
    File { path: "/assets/style.css", kind: STYLE, content: include_str!("assets/style.css") },
];

/// Nothing from elsewhere, and nothing that stands in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // NB: another version of it is another page.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

/// Answers with a file where that is what is asked for.
pub(in crate::exporter) async fn files(request: Request, next: Next) -> Response {
    match file(&request) {
        Some(File { kind, content, .. }) => {
            (HEADERS, [(header::CONTENT_TYPE, *kind)], *content).into_response()
        }
        None => next.run(request).await,
    }
}

/// NB: a browser brings a token with what a page asks for, but cannot with the page.
pub(in crate::exporter) fn is_file(request: &Request) -> bool {
    file(request).is_some()
}

fn file(request: &Request) -> Option<&'static File> {
    let file = FILES.iter().chain(live::FILES).find(|file| file.path == request.uri().path())?;
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    (is_read && file.is_for(request.headers())).then_some(file)
}

// === impl File ===

impl File {
    /// NB: who takes anything, as curl does, gets the data of `/requests`, and no page.
    fn is_for(&self, headers: &HeaderMap) -> bool {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        self.kind != HTML || self.path == "/" || accept.is_some_and(|a| a.contains("text/html"))
    }
}
