//! The path of a request as it arrives. What an axum router has matched of it is known with the
//! `axum` feature only.

use http::Request;

pub(super) fn full_path<B>(request: &Request<B>) -> &str {
    request.uri().path()
}
