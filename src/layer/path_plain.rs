//! The path of a request; without axum nothing shortens it.

use http::Request;

pub(super) fn full_path<B>(request: &Request<B>) -> &str {
    request.uri().path()
}
