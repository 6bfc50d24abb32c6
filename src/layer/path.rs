//! The path of a request as the client sent it.

use axum::extract::OriginalUri;
use http::Request;

/// NB: inside of `Router::nest` the request's own path has lost the part that was matched.
pub(super) fn full_path<B>(request: &Request<B>) -> &str {
    match request.extensions().get::<OriginalUri>() {
        Some(OriginalUri(uri)) => uri.path(),
        None => request.uri().path(),
    }
}
